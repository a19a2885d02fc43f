/** `octavo devices`: what can compute here, why a GPU is not among it, and what device: 'auto' begins with. */
import type { Command } from 'commander'
import { native } from '../base/native.ts'
import { chooseDevice } from '../host/device.ts'
import { printJson, visible } from './output.ts'

export function addDevices(program: Command): void {
  program
    .command('devices')
    .description('list what can compute: the CPU, and GPUs or why there are none')
    .option('--json', 'print one JSON document')
    .action(({ json }: { json?: boolean }) => {
      const { model, isa, cpus, memoryAvailable } = native().cpu()
      const status = native().cuda()
      const { candidates, passed } = chooseDevice('auto', () => status)
      const { backend } = candidates[0]!
      const cpu = { model, isa, cpus, memoryAvailable }
      const cuda = { driver: status.driver, devices: status.info, reason: status.reason }
      if (json) return printJson({ cpu, cuda, auto: { device: backend, passed } })
      const row = (name: string, text: string) => console.log(`${name.padEnd(8)}${visible(text)}`)
      row('cpu', `${model}: ${cpus} CPUs, ${isa}, ${gibibytes(memoryAvailable)} available`)
      for (const { index, name, capability, multiprocessors, memoryBytes, unusable } of status.info) {
        const facts = [
          `capability ${capability}`,
          `${multiprocessors} multiprocessors`,
          gibibytes(memoryBytes),
          `driver of CUDA ${status.driver}`,
        ]
        row(`cuda:${index}`, `${name}: ${facts.join(', ')}${unusable === '' ? '' : `; not used: ${unusable}`}`)
      }
      if (!status.available) row('cuda', `none: ${status.reason}`)
      const others = passed.length === 0 ? '' : `: ${passed.join('; ')}`
      row('auto', gpuFirst(backend) ? `${backend}, where a model fits${others}` : `${backend}${others}`)
    })
}

const gpuFirst = (backend: string) => backend.startsWith('cuda')
const gibibytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`
