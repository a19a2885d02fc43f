/**
 * `octavo trace <model>`: a short load with a step trace, written as a file that ui.perfetto.dev opens; where the time of the
 * steps went, as a table.
 */
import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { Trace, TraceSummary } from '../index.ts'
import { addLoadFlags, type LoadFlags, runLoad } from './load-flags.ts'
import { formatPercent, markdownTable, note, printJson, printLine } from './output.ts'

interface TraceFlags extends LoadFlags {
  out: string
  json?: boolean
}

export function addTrace(program: Command): void {
  const command = program
    .command('trace')
    .description('record the steps of a short load for ui.perfetto.dev')
    .argument('<model>', "a GGUF file, 'stories' or 'synthetic:<preset>'")
    .option('-o, --out <file>', 'the file to write', 'octavo-trace.json')
  addLoadFlags(command, { seconds: 5, warmup: 0 })
    .option('--json', 'print the summary as one JSON document')
    .action(trace)
}

async function trace(model: string, flags: TraceFlags): Promise<void> {
  let document: Trace | undefined
  await runLoad(model, flags, {
    before: (engine) => engine.startTrace(),
    after: async (engine) => {
      document = await engine.stopTrace()
    },
  })
  writeFileSync(flags.out, JSON.stringify(document))
  const summary = document!.otherData
  if (flags.json) await printJson(summary)
  else await printLine(table(summary))
  note(`${flags.out}: ${document!.traceEvents.length} events; open it at ui.perfetto.dev`)
}

function table(summary: TraceSummary): string {
  const { steps, stepSeconds, nativeSeconds, planSeconds, commitSeconds, postSeconds, betweenSeconds } = summary
  const busy = stepSeconds + betweenSeconds
  const rest = stepSeconds - nativeSeconds - planSeconds - commitSeconds - postSeconds
  const rows: [string, number][] = [
    ['native code', nativeSeconds],
    ['planning', planSeconds],
    ['calling native code', rest],
    ['committing, text', commitSeconds],
    ['posting', postSeconds],
    ['reading messages', betweenSeconds],
  ]
  const cells = rows.map(([what, seconds]) => [
    what,
    ((1e6 * seconds) / Math.max(1, steps)).toFixed(1),
    formatPercent(seconds / Math.max(1e-9, busy)),
  ])
  return markdownTable([`${steps} steps`, 'us a step', 'share'], cells, ['us a step', 'share'])
}
