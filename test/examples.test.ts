/** Every program in examples/: those that serve, start threads or are the first one's, run as a user would, the others in one process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { EngineStats } from 'octavo'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Programs } from './programs.ts'

const folder = fileURLToPath(new URL('../examples/', import.meta.url))
const story = 'Tell a story about a shy owl named Luna and a golden kite.'

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

function start(name: string, ...args: string[]) {
  const child = spawn(process.execPath, [`${folder}${name}`, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text
  })
  const ended = once(child, 'close').then(([code, signal]) => ({ ...output, code, signal }))
  return { child, output, ended }
}

let programs: Programs
beforeAll(() => {
  programs = new Programs()
})
afterAll(async () => expect(await programs.close()).toBe(0))

const alone = ['basic.mjs', 'serve.mjs', 'worker.mjs']

async function run(name: string, ...args: string[]): Promise<string> {
  const ended = alone.includes(name) ? start(name, ...args).ended : programs.run(`${folder}${name}`, args)
  const { code, stderr, stdout } = await ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

it('tests every example', () => {
  const streams = ['basic.mjs', 'batch.mjs', 'chat.mjs', 'server.mjs', 'worker.mjs']
  const tested = [
    'agent.mjs',
    'ai-sdk.mjs',
    'classify.mjs',
    'extract.mjs',
    'langchain.mjs',
    'serve.mjs',
    ...streams,
  ].sort()
  expect(readdirSync(folder).filter((name) => name.endsWith('.mjs'))).toEqual(tested)
})

it.each(readdirSync(folder).filter((name) => name.endsWith('.mjs')))('%s closes its engine however it ends', (name) => {
  const source = readFileSync(folder + name, 'utf8')
  // The server waits for signals instead: the tests below see it end.
  expect(source).toMatch(name === 'server.mjs' ? /\.close\(\)/ : /finally \{\s*await (engine|server)\.close\(\)/)
})

it('basic: streams a story', async () => {
  expect(await run('basic.mjs')).toMatch(/Luna[\s\S]*\d+ tokens \(stop\), \d+ tokens\/s/)
})

it('chat: the second turn finds the first one in the cache', async () => {
  expect(await run('chat.mjs')).toMatch(
    /> What color was the kite\?\n.+\n\([1-9]\d* of \d+ prompt tokens were cached\)/,
  )
})

it('agent: calls a tool with arguments that fit, and answers with what it gave', async () => {
  const output = await run('agent.mjs')
  const [, name, args, result] = /^-> (\w+)\((.*)\)\n<- (.*)\n/.exec(output)!
  const { city, celsius } = JSON.parse(args!)
  const degrees: Record<string, number> = { Rome: 31, Oslo: 12, Lima: 19 }
  if (name === 'weather') expect(JSON.parse(result!)).toEqual({ city, celsius: degrees[city] })
  else expect([name, result]).toEqual(['toFahrenheit', String(Math.round(celsius * 1.8 + 32))])
  expect(output).toMatch(/[3-9] messages came of it, the last one ended with '(stop|length)'\n$/)
})

it('classify: each mail has one of the labels', async () => {
  expect(await run('classify.mjs')).toMatch(/(?:'(?:order|complaint|question|thanks)'[^']*'?[\s\S]*){4}/)
})

it('extract: each mail is a row of the table', async () => {
  const rows = (await run('extract.mjs'))
    .split('\n')
    .filter((line) => /'(kite|string|repair)' .*(true|false)/.test(line))
  expect(rows.length).toBe(3)
})

it('serve: two tenants, one of which may have one request at a time', async () => {
  const output = await run('serve.mjs')
  expect(output).toMatch(/Luna[\s\S]*\{ name: '[^']{0,12}', kind: '(owl|fox|bear)' \}/)
  expect(output).toMatch(/^answered$/m)
  expect(output).toMatch(/^429 rate_limit_exceeded: again in [1-9]\d* ms$/m)
})

it('batch: one answer a prompt, in order', async () => {
  const prompts = readFileSync(`${folder}prompts.txt`, 'utf8').split('\n').filter(Boolean)
  const answers = (await run('batch.mjs', `${folder}prompts.txt`))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(answers.map(({ prompt }) => prompt)).toEqual(prompts)
  for (const { text } of answers) expect(text.length).toBeGreaterThan(50)
})

it.each(['ai-sdk.mjs', 'langchain.mjs'])('%s: a story, and an object of its schema', async (name) => {
  expect(await run(name)).toMatch(/Luna[\s\S]*\{ name: '.{1,20}', animal: '(owl|fox|bear)' \}\n$/)
})

it('worker: an engine in each of two worker threads', async () => {
  expect(await run('worker.mjs')).toMatch(/Otto, \d+ tokens: [\s\S]*Mila, \d+ tokens: /)
})

describe('server', () => {
  async function serve() {
    const server = start('server.mjs', 'stories', '0')
    while (!server.output.stdout.includes('http://')) {
      await Promise.race([once(server.child.stdout!, 'data'), server.ended])
      expect(server.output.stderr).toBe('')
    }
    const url = /http:\/\/\S+/.exec(server.output.stdout)![0]
    const stats = async () => (await (await fetch(`${url}/stats`)).json()) as EngineStats
    return { ...server, url, stats }
  }
  const chat = (url: string, body: unknown) =>
    fetch(`${url}/chat`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const messages = [{ role: 'user', content: story }]

  /** Starts an answer and waits for its first events; the raw request, so that a test can drop it. */
  async function begin(url: string) {
    const client = request(`${url}/chat`, { method: 'POST', headers: { 'content-type': 'application/json' } })
    client.on('error', () => {})
    client.end(JSON.stringify({ messages, seed: 1 }))
    const [response] = await once(client, 'response')
    let text = ''
    response.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    const closed = new Promise((resolve) => response.once('close', resolve))
    await once(response, 'data')
    return { client, closed, text: () => text }
  }

  it('streams an answer, refuses a bad request and ends on Ctrl-C', async () => {
    const { url, child, ended, stats } = await serve()
    const answer = await chat(url, { messages, seed: 1 })
    expect(answer.headers.get('content-type')).toMatch('text/event-stream')
    const events = (await answer.text()).trim().split('\n\n')
    // Of so small a model an event has up to 16 tokens, and the answer has more than a hundred.
    expect(events.length).toBeGreaterThan(6)
    expect(events.at(-1)).toMatch(/^event: done\ndata: .*"finishReason":"stop"/)
    const parts = events.slice(0, -1).map((event) => JSON.parse(/^event: text\ndata: (.*)$/.exec(event)![1]!).text)
    expect(parts.join('')).toMatch(/Luna/)

    const refused = await chat(url, { messages: [{ role: 'user' }] })
    expect({ status: refused.status, code: ((await refused.json()) as { code: string }).code }).toEqual({
      status: 400,
      code: 'INVALID_ARGUMENT',
    })
    expect((await stats()).requests).toMatchObject({ running: 0, waiting: 0 })

    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 0, signal: null, stderr: '' })
  })

  it('says so when its port is taken', async () => {
    const other = createServer().listen(0)
    await once(other, 'listening')
    const { code, stderr } = await start('server.mjs', 'stories', String((other.address() as AddressInfo).port)).ended
    other.close()
    expect(code).toBe(1)
    expect(stderr).toMatch('EADDRINUSE')
  })

  // Enough answers at a time that they cannot all be complete before anything is done to them.
  const crowd = (url: string) => Promise.all(Array.from({ length: 24 }, () => begin(url)))

  it('cancels the generation of a client that goes away', async () => {
    const { url, stats } = await serve()
    await (await chat(url, { messages, seed: 1 })).text()
    const { generatedTokens: whole } = await stats()
    for (const { client } of await crowd(url)) client.destroy()
    await expect.poll(async () => (await stats()).requests).toMatchObject({ running: 0, waiting: 0 })
    const { kv, generatedTokens } = await stats()
    expect(kv.freeBlocks + kv.cachedBlocks).toBe(kv.totalBlocks)
    expect(generatedTokens).toBeLessThan(whole + 24 * whole)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('ends running answers on %s with an event that says so', async (signal) => {
    const { url, child, ended } = await serve()
    const answers = await crowd(url)
    child.kill(signal)
    await Promise.all(answers.map(({ closed }) => closed))
    const last = answers.map(({ text }) => text().trim().split('\n\n').at(-1))
    for (const event of last) expect(event).toMatch(/^event: (done|error)\ndata: /)
    expect(last).toContain('event: error\ndata: {"code":"ENGINE_CLOSED","message":"The engine is closed."}')
    expect(await ended).toMatchObject({ code: 0, signal: null, stderr: '' })
  })
})
