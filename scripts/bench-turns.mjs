// Two builds of bench/native/forward.cpp in turns: the time of a whole step, best and median of the turns' medians, and the
// median of the ratios of neighbours. A machine that slows down meanwhile slows both.
//
//   node scripts/bench-turns.mjs OLD NEW [--turns N] -- [arguments of octavo_forward]
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const split = process.argv.indexOf('--')
const own = process.argv.slice(2, split < 0 ? undefined : split)
const rest = split < 0 ? [] : process.argv.slice(split + 1)
const at = own.indexOf('--turns')
const turns = at < 0 ? 10 : Number(own.splice(at, 2)[1])
if (own.length !== 2 || !(turns >= 1)) {
  console.error('bench-turns: expected OLD NEW [--turns N] -- [arguments], got', process.argv.slice(2).join(' '))
  process.exit(2)
}

const builds = own.map((binary) => {
  const child = spawn(binary, ['--paced', ...rest], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.on('error', (error) => {
    console.error(`bench-turns: cannot run ${binary}: ${error.message}`)
    process.exit(1)
  })
  return {
    binary,
    child,
    lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](),
    medians: [],
    bests: [],
  }
})

async function turn({ binary, child, lines, medians, bests }) {
  child.stdin.write('\n')
  const { value, done } = await lines.next()
  if (done) {
    console.error(`bench-turns: ${binary} ended`)
    process.exit(1)
  }
  const [median, best] = value.split(' ').map(Number)
  medians.push(median)
  bests.push(best)
}

const middle = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

for (const build of builds) await turn(build) // the first one warms caches
for (const build of builds) build.medians.length = build.bests.length = 0
for (let i = 0; i < turns; ++i) for (const build of i % 2 ? builds.toReversed() : builds) await turn(build)
for (const { child } of builds) child.stdin.end()

const [old, fresh] = builds
const ratios = old.medians.map((us, i) => us / fresh.medians[i])
console.log(
  JSON.stringify({
    arguments: rest.join(' '),
    oldUs: { median: middle(old.medians), best: Math.min(...old.bests) },
    newUs: { median: middle(fresh.medians), best: Math.min(...fresh.bests) },
    ratio: Number(middle(ratios).toFixed(3)),
    bestRatio: Number((Math.min(...old.bests) / Math.min(...fresh.bests)).toFixed(3)),
  }),
)
