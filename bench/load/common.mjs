// What the load shows share: arguments, an engine, its twin driven from C++, percentiles, and results written as JSON.
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { native } from '../../dist/native.js'

export const blockTokens = 16

/** Numbers stay numbers. `defaults` names every argument. */
export function args(defaults) {
  const options = Object.fromEntries(Object.keys(defaults).map((name) => [name, { type: 'string' }]))
  const { values } = parseArgs({ options })
  return Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => {
      const given = values[name] ?? value
      return [name, typeof value === 'number' ? Number(given) : given]
    }),
  )
}

export const machine = (threads) => ({ cpu: native().cpu().model, isa: native().cpu().isa, threads })
export const threads = () => native().cpu().cpus

/** Bytes of a KV cache for so many tokens. */
export function kvBytes(model, tokens) {
  const { desc } = openCheckpoint(model)
  const blocks = Math.ceil(tokens / blockTokens) + 1
  return blocks * blockTokens * 2 * 2 * desc.layers * desc.kvHeads * desc.headSize
}

/** An engine without a host: `use` drives it, then it is closed. */
export function withNative(model, tokens, use) {
  const { desc } = openCheckpoint(model)
  const nativeModel = new (native().Model)(desc, 'cpu', null)
  for (let i = 0; i < nativeModel.tensorCount; i++) nativeModel.loadTensor(i)
  nativeModel.finishLoad()
  const options = { threads: threads(), maxStepTokens: 512, prefixCache: false }
  const engine = new (native().Engine)(nativeModel, { ...options, kvBlocks: Math.ceil(tokens / blockTokens) + 1 })
  try {
    return use(engine, desc)
  } finally {
    engine.close()
    nativeModel.close()
  }
}

export function save(name, result) {
  const folder = fileURLToPath(new URL('../results/', import.meta.url))
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}load-${name}.json`, `${JSON.stringify(result, null, 1)}\n`)
  console.log(`bench/results/load-${name}.json`)
}

export const round = (value, digits = 1) => Number(value.toFixed(digits))
