/** `octavo devices`: what can compute here, and why a GPU is not among it. */
import type { Command } from 'commander'
import { native } from '../base/native.ts'
import { printJson } from './output.ts'

export function addDevices(program: Command): void {
  program
    .command('devices')
    .description('list what can compute: the CPU, and GPUs or why there are none')
    .option('--json', 'print one JSON document')
    .action(({ json }: { json?: boolean }) => {
      const { model, isa, cpus, memoryAvailable } = native().cpu()
      const { info, reason } = native().cuda()
      if (json) return printJson({ cpu: { model, isa, cpus, memoryAvailable }, cuda: { devices: info, reason } })
      const row = (name: string, text: string) => console.log(`${name.padEnd(8)}${text}`)
      row('cpu', `${model}: ${cpus} CPUs, ${isa}, ${gibibytes(memoryAvailable)} available`)
      for (const { index, name, capability, multiprocessors, memoryBytes } of info)
        row(
          `cuda:${index}`,
          `${name}: capability ${capability}, ${multiprocessors} multiprocessors, ${gibibytes(memoryBytes)}`,
        )
      if (info.length === 0) row('cuda', `none: ${reason}`)
    })
}

const gibibytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`
