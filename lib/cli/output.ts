/**
 * What the commands print, and where: results on stdout (text, tables or JSON, never mixed), everything else on stderr.
 */
import { once } from 'node:events'
import Table from 'cli-table3'
import pc from 'picocolors'
import type { Generation } from '../index.ts'

/** Writes to stdout, waiting when the reader of a pipe is slower than we are. */
export async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain')
}

export const printLine = (text: string): Promise<void> => print(`${text}\n`)

/** Text that may come out of a model file: what a terminal would obey instead of showing becomes `?`. Line ends stay. */
export const visible = (text: string): string => text.replace(/(?!\n)\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu, '?')

/** Prints a value as one line of JSON; a 64-bit integer that a number cannot hold becomes a string. */
export function printJson(value: unknown): Promise<void> {
  return printLine(JSON.stringify(value, (_key, item) => (typeof item === 'bigint' ? String(item) : item)))
}

/** A prompt as the model gets it: on stderr, or with `json` as a line of its own on stdout. */
export async function showPrompt(prompt: { text: string; tokens?: number[] }, json = false): Promise<void> {
  if (json) await printJson({ prompt })
  else note(visible(prompt.text))
}

/** A remark to the person at the terminal; dim, on stderr. */
export function note(text: string): void {
  process.stderr.write(`${process.stderr.isTTY ? pc.dim(text) : text}\n`)
}

/** Prints an answer as it comes: its text on stdout; what the model thinks before it, dim, on stderr, when that is a terminal. */
export async function printAnswer(generation: Generation): Promise<void> {
  let thinking = false
  for await (const { text, reasoning = '' } of generation) {
    if (reasoning !== '' && process.stderr.isTTY) {
      process.stderr.write(pc.dim(visible(reasoning)))
      thinking = true
    }
    if (text === '') continue
    if (thinking) process.stderr.write('\n\n')
    thinking = false
    await print(text)
  }
  await printLine('')
}

let shown = ''

/** A line on stderr that replaces itself, when stderr is a terminal; nothing otherwise. */
export function statusLine(text: string): void {
  if (!process.stderr.isTTY || text === shown) return
  shown = text
  process.stderr.write(`\r\u001b[2K${pc.dim(text)}`)
}

export function clearStatusLine(): void {
  if (shown !== '') process.stderr.write('\r\u001b[2K')
  shown = ''
}

/** A Markdown table: reads well in a terminal and pastes into an issue. Columns named in `right` are right-aligned. */
export function markdownTable(head: string[], rows: string[][], right: string[] = []): string {
  const align = head.map((name) => (right.includes(name) ? 'right' : 'left'))
  const none = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '' }
  const bottom = { bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' }
  const middle = { 'left-mid': '', mid: '', 'mid-mid': '', 'right-mid': '' }
  const table = new Table({
    head: [],
    colAligns: align,
    style: { head: [], border: [], compact: true, 'padding-left': 1, 'padding-right': 1 },
    chars: { ...none, ...bottom, ...middle, left: '|', right: '|', middle: '|' },
  })
  const width = (column: number) => Math.max(3, head[column]!.length, ...rows.map((row) => row[column]!.length))
  const rule = align.map((side, column) => {
    const dashes = '-'.repeat(width(column) - 1)
    return side === 'right' ? `${dashes}:` : `${dashes}-`
  })
  table.push(head, rule, ...rows)
  return table.toString()
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

/** 134515008 -> '134.52 M' */
export function formatCount(count: number): string {
  const scale: [number, string][] = [
    [1e9, 'B'],
    [1e6, 'M'],
    [1e3, 'k'],
  ]
  for (const [size, letter] of scale) if (count >= size) return `${(count / size).toFixed(2)} ${letter}`
  return String(count)
}

export const formatPercent = (share: number): string => `${(100 * share).toFixed(1)}%`

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
