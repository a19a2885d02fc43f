#!/usr/bin/env node
/**
 * The three scripts for a GPU on the driver of cuda/fake, with tiny sizes: everything is run as it will be there, nothing that comes out
 * is a measurement. Needs what `npm run build` and `npm run test:cuda` build.
 *
 *   node bench/gpu/rehearse.mjs [--only run,node,case-study]
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'build/gpu-rehearsal')
const out = join(folder, 'results')
const { values } = parseArgs({ options: { only: { type: 'string', default: 'run,node,case-study' } } })

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, OUT: out } })
  if (status !== 0) fail(`${args.join(' ')} ended with ${status}`)
}
function fail(what) {
  console.error(`rehearse: ${what}`)
  process.exit(1)
}
const result = (name) => JSON.parse(readFileSync(join(out, name), 'utf8'))
const check = (holds, what) => holds || fail(what)

/** What each script leaves behind. */
const left = {
  run() {
    const { tiny, figures, goals } = result('run.json')
    const wanted = [
      'limit.read',
      'conformance.dots',
      'shapes.equal',
      'rows.norm.share',
      'sample.allowed.us',
      'model.tokens',
    ]
    for (const name of wanted) check(figures[name]?.value > 0, `run.json has no ${name}`)
    check(tiny && goals.length > 20 && goals.some(({ met }) => met !== null), 'run.json has no goals')
    return `${Object.keys(figures).length} figures, ${goals.length} goals`
  },
  node() {
    const { loads, equal, speed } = result('node.json')
    check(
      loads.length >= 3 && equal.length > 0 && speed.every((row) => row.tokensPerSecond > 0),
      'node.json is incomplete',
    )
    return `${equal[0].requests} requests equal, ${speed.length} speeds`
  },
  'case-study'() {
    const { found, ladder } = result('case-study.json')
    check(found.length === 8 && ladder.length === 7, 'case-study.json is incomplete')
    return `${found.length} configurations`
  },
}

const names = values.only.split(',')
for (const name of names) check(Object.hasOwn(left, name), `--only: expected some of ${Object.keys(left)}, got ${name}`)
run('node', ['bench/gpu/build.mjs', '--rehearsal'])
mkdirSync(out, { recursive: true })
const said = []
for (const name of names) {
  run('bash', [join(folder, `${name}.sh`), '--tiny'])
  said.push(`${name}.sh: ${left[name]()}`)
}
console.log(`summary: ${said.join('; ')}`)
