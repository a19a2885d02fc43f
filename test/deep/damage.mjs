// A model file cut at every 1% and with random bytes of its header changed, opened each time as a load opens it. Every file must
// be refused with a typed error or load; a crash, a hang or memory beyond the limit fails.
//
//   node test/deep/damage.mjs FILE [--flips 2000] [--cuts 100] [--seed 1]
import { fork } from 'node:child_process'
import {
  closeSync,
  constants,
  copyFileSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { native } from '../../dist/base/native.js'

const child = fileURLToPath(new URL('./damage-child.mjs', import.meta.url))
/** Per file; the machine may be shared. */
const deadlineMs = 120_000
const heapMb = 1024

/** One process that opens files; replaced when it dies. */
class Opener {
  #process

  open(path) {
    this.#process ??= fork(child, {
      execArgv: [`--max-old-space-size=${heapMb}`],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const running = this.#process
    return new Promise((resolve) => {
      const end = (outcome, peakBytes = 0) => {
        clearTimeout(timer)
        running.removeAllListeners()
        if (peakBytes === 0) this.close()
        resolve({ outcome, peakBytes })
      }
      const timer = setTimeout(() => end('unexpected: no answer before the deadline'), deadlineMs)
      running.once('message', ({ outcome, peakBytes }) => end(outcome, peakBytes))
      running.once('exit', (code, signal) => end(`unexpected: the process ended with ${signal ?? code}`))
      running.send(path)
    })
  }

  close() {
    this.#process?.kill('SIGKILL')
    this.#process = undefined
  }
}

function generator(seed) {
  let state = BigInt(seed) * 0x9e3779b97f4a7c15n + 1n
  const mask = (1n << 64n) - 1n
  return (below) => {
    state = (state ^ (state << 13n)) & mask
    state ^= state >> 7n
    state = (state ^ (state << 17n)) & mask
    return Number((state >> 11n) % BigInt(below))
  }
}

/** Counts by outcome, the worst memory beyond what the whole file took, and what must not have happened. */
export async function damage({ file, flips, cuts, seed }) {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-damage-'))
  const path = join(folder, 'model.gguf')
  copyFileSync(file, path, constants.COPYFILE_FICLONE)
  const { tensors, fileBytes } = native().ggufRead(path)
  const headerBytes = Math.min(...tensors.map((tensor) => tensor.offset))
  const descriptor = openSync(path, 'r+')
  const opener = new Opener()
  const counts = {}
  const broken = []
  const whole = await opener.open(path)
  if (whole.outcome !== 'loaded') broken.push(`the whole file: ${whole.outcome}`)
  let peakBytes = whole.peakBytes
  const attempt = async (what, allowed) => {
    const { outcome, peakBytes: peak } = await opener.open(path)
    peakBytes = Math.max(peakBytes, peak)
    const kind = outcome.startsWith('unexpected') ? 'unexpected' : outcome
    counts[kind] = (counts[kind] ?? 0) + 1
    if (!allowed(kind)) broken.push(`${what}: ${outcome}`)
  }
  try {
    const random = generator(seed)
    const byte = Buffer.alloc(1)
    for (let i = 0; i < flips; i++) {
      const at = random(headerBytes)
      const change = 1 + random(255)
      readSync(descriptor, byte, 0, 1, at)
      writeSync(descriptor, Buffer.of(byte[0] ^ change), 0, 1, at)
      await attempt(`byte ${at} changed by ${change}`, (kind) => kind !== 'unexpected')
      writeSync(descriptor, byte, 0, 1, at)
    }
    for (let i = cuts - 1; i >= 0; i--) {
      const bytes = Math.floor((fileBytes * i) / cuts)
      ftruncateSync(descriptor, bytes)
      await attempt(`cut to ${bytes} bytes`, (kind) => kind === 'MODEL_INVALID')
    }
  } finally {
    opener.close()
    closeSync(descriptor)
    rmSync(folder, { recursive: true })
  }
  return { counts, broken, peakBytes, wholeBytes: whole.peakBytes, headerBytes }
}

/** More than the whole model took: copies of the header, and tables of a vocabulary that is not there. */
export const extraBytes = 768 * 2 ** 20

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      flips: { type: 'string', default: '2000' },
      cuts: { type: 'string', default: '100' },
      seed: { type: 'string', default: '1' },
    },
  })
  const [flips, cuts, seed] = [values.flips, values.cuts, values.seed].map(Number)
  const { counts, broken, peakBytes, wholeBytes } = await damage({ file: positionals[0], flips, cuts, seed })
  for (const line of broken) console.log(line)
  const outcomes = Object.entries(counts)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(', ')
  const mebibytes = (bytes) => Math.round(bytes / 2 ** 20)
  console.log(
    `summary: ${flips} changed bytes, ${cuts} cuts (seed ${seed}): ${outcomes}; ${broken.length} broken; peak ${mebibytes(peakBytes)} MiB, whole file ${mebibytes(wholeBytes)} MiB`,
  )
  process.exit(broken.length > 0 || peakBytes > wholeBytes + extraBytes ? 1 : 0)
}
