// What the load benchmarks share: arguments, the size of a KV cache, an engine without a host, results written as JSON.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { deserialize } from 'node:v8'
import { Engine } from 'octavo'
import { blocksFor, kvBlockTokens } from '../../dist/base/kv-blocks.js'
import { native } from '../../dist/base/native.js'
import { drive } from '../../dist/load/drive.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { kvBytes as bytesOf } from '../../dist/model/memory.js'

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

/** Bytes of a KV cache for so many tokens, and one block to spare. */
export const kvBytes = (model, tokens) => bytesOf(openCheckpoint(model).desc, tokens + kvBlockTokens, 'f16')

/**
 * `total` requests of a closed loop against an engine that records its steps. `before(engine)` runs ahead of them, `after(engine)`
 * behind; what it returns comes back with the run and the record.
 */
export async function recordedRun({ model, workload, kvTokens, clients, total, seed, random, before, after }) {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-'))
  try {
    const recordFile = join(folder, 'steps')
    const engine = await Engine.load({
      model,
      contextTokens: workload.contextTokens,
      kv: { memory: kvBytes(model, kvTokens) },
      prefixCache: false,
      speculation: 'off',
      internal: { recordFile },
    })
    await before?.(engine)
    const run = await drive(engine, workload, {
      arrivals: { clients },
      ...{ warmupSeconds: 0, seconds: 3600, requests: Number.POSITIVE_INFINITY, total },
      options: { temperature: 0.8, seed },
      random,
    })
    const told = await after?.(engine)
    await engine.close()
    return { run, told, record: deserialize(readFileSync(recordFile)) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** An engine without a host: `use` drives it, then it is closed. */
export function withNative(model, tokens, use) {
  const { desc } = openCheckpoint(model)
  const nativeModel = new (native().Model)(desc, 'cpu', null)
  for (let i = 0; i < nativeModel.tensorCount; i++) nativeModel.loadTensor(i)
  nativeModel.finishLoad()
  const options = { threads: threads(), maxStepTokens: 512, prefixCache: false }
  const engine = new (native().Engine)(nativeModel, { ...options, kvBlocks: blocksFor(tokens) + 1 })
  try {
    return use(engine, desc)
  } finally {
    engine.close()
    nativeModel.close()
  }
}

/** As bench/results/<name>.json. */
export function save(name, result) {
  const folder = fileURLToPath(new URL('../results/', import.meta.url))
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}${name}.json`, `${JSON.stringify(result, null, 1)}\n`)
  console.log(`bench/results/${name}.json`)
}

export const round = (value, digits = 1) => Number(value.toFixed(digits))
