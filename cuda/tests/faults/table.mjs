/** docs/cuda-faults.md: what each execution noticed of each fault. */
import { writeFileSync } from 'node:fs'

const classes = {
  fragment: 'which thread has which number',
  order: 'order of additions, rounding',
  barrier: 'barriers, waits, stages that are filled too early',
  tail: 'ends, masks, what is not there',
  'inline asm': 'instructions that the kernels write themselves',
  'host API': 'calls of the driver',
  limits: 'what a device can do',
}
const isReal = (fault) => fault.equivalent === undefined

/** Writes the page; returns the exit status: 1 while something is not known. */
export function writeTable(path, faults, results, executions) {
  const unknown = faults.filter(({ name, executions: own = executions }) =>
    own.some((kind) => results[name]?.[kind] === undefined),
  )
  for (const { name } of unknown) console.error(`faults: ${name} has not been run in every execution`)
  const found = (fault, kind) => (fault.executions?.includes(kind) === false ? undefined : results[fault.name]?.[kind])
  const cell = (fault, kind) => {
    const said = found(fault, kind)
    return said === undefined ? '' : said === null ? '-' : said.replace(/ in function.*|\|/g, '').slice(0, 60)
  }
  const commitsOf = ({ name }) => [...new Set(Object.values(results[name]?.commits ?? {}))].join(' ')
  const noticed = (fault) => executions.some((kind) => found(fault, kind))
  const real = faults.filter(isReal)
  const counts = Object.keys(classes).map((name) => {
    const own = real.filter((fault) => fault.class === name)
    const by = executions.map((kind) => own.filter((fault) => found(fault, kind)).length)
    return `| ${name}: ${classes[name]} | ${own.length} | ${by.join(' | ')} | ${own.filter((fault) => !noticed(fault)).length} |`
  })
  const rows = faults.map((fault) => {
    const why = fault.equivalent ?? fault.survives
    return `| ${fault.class} | ${fault.name}${why ? ` (${why})` : ''} | ${executions.map((kind) => cell(fault, kind)).join(' | ')} | ${commitsOf(fault)} |`
  })
  writeFileSync(
    path,
    `# Planted faults

\`node cuda/tests/faults/run.mjs\` plants these faults into the CUDA half, one at a time, and runs the tests on each: \`plain\`, the bits on
the emulator, in twelve schedules for faults of barriers, else in three; \`checked\`, its checker; \`ptx\`, what nvcc compiles, in the plugin on the driver of cuda/fake. A number is
how many faults of a class an execution notices; a fault that is no part of what an execution runs is not counted for it.
\`--table\` writes this page; runs add up, each row names the commits they were made on.

${faults.length} faults, of which ${real.length} change results or break a rule; ${real.filter(noticed).length} of
them are noticed. Beside each of the others stands why nothing can notice it, or why nothing does.

| class | faults | ${executions.join(' | ')} | by none |
| --- | --- | ${executions.map(() => '---').join(' | ')} | --- |
${counts.join('\n')}

| class | fault | ${executions.join(' | ')} | run on |
| --- | --- | ${executions.map(() => '---').join(' | ')} | --- |
${rows.join('\n')}
`,
  )
  return unknown.length === 0 ? 0 : 1
}
