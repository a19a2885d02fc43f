/**
 * Which device computes. What was asked for and what there is become candidates, best first; the first on which a load succeeds is
 * it, and the log says why it is no other one. Tokens are the same on all of them (docs/numerics.md), so a choice decides about
 * speed alone.
 */
import { OctavoError } from '../base/errors.ts'
import { type CudaDevice, type CudaStatus, native } from '../base/native.ts'

export type DeviceRequest = 'auto' | 'cpu' | 'reference' | 'cuda' | `cuda:${number}`
export type Backend = 'cpu' | 'reference' | `cuda:${number}`

export interface Candidate {
  backend: Backend
  /** Undefined: weights and cache are in the host's memory. */
  gpu?: CudaDevice
}

export interface DeviceChoice {
  wanted: DeviceRequest
  candidates: Candidate[]
  /** What is none of them, and why. */
  passed: string[]
}

/** An engine may take so much of a GPU as its driver states it; the rest is the driver's and the display's. */
const shareOfAll = 0.94
/** And so much of what is free when it is open: memory comes in pieces, and kernels take some of their own. */
const shareOfFree = 0.97

export const deviceBudget = ({ memoryBytes }: { memoryBytes: number }): number => Math.floor(memoryBytes * shareOfAll)
export const freeBudget = (freeBytes: number): number => Math.floor(freeBytes * shareOfFree)

export function chooseDevice(wanted: DeviceRequest, cuda: () => CudaStatus = () => native().cuda()): DeviceChoice {
  if (wanted === 'cpu' || wanted === 'reference') return { wanted, candidates: [{ backend: wanted }], passed: [] }
  const status = cuda()
  const usable = status.info.filter(({ unusable }) => unusable === '')
  if (wanted === 'auto') return automatic(status, usable)
  const named = wanted === 'cuda' ? usable : usable.filter(({ index }) => `cuda:${index}` === wanted)
  if (named.length === 0) throw unavailable(wanted, status, usable)
  return { wanted, candidates: named.map(onGpu), passed: [] }
}

/** GPUs where they are faster, then the CPU. */
function automatic({ available, wholeSteps, info, reason }: CudaStatus, usable: CudaDevice[]): DeviceChoice {
  const choice = (gpus: CudaDevice[], passed: string[]): DeviceChoice => ({
    wanted: 'auto',
    candidates: [...gpus.map(onGpu), { backend: 'cpu' }],
    passed,
  })
  if (!available) return choice([], [reason])
  if (!wholeSteps) {
    const why = "is used only with device: 'cuda', which takes every operation to it and back"
    return choice([], [`${nameOf(usable[0]!)} ${why}`])
  }
  const tooOld = info.filter(({ unusable }) => unusable !== '')
  return choice(
    usable,
    tooOld.map((gpu) => `${nameOf(gpu)}: ${gpu.unusable}`),
  )
}

const onGpu = (gpu: CudaDevice): Candidate => ({ backend: `cuda:${gpu.index}`, gpu })
const nameOf = ({ index, name }: CudaDevice) => `${name} (cuda:${index})`

/**
 * What `attempt` makes on the first candidate on which it succeeds; `why` is for the log. When none is left, what the first one lacked
 * is thrown; what no other device could change is thrown at once.
 */
export function onFirstDevice<T>(choice: DeviceChoice, attempt: (candidate: Candidate, why: string) => T): T {
  const passed = [...choice.passed]
  let failure: unknown
  for (const candidate of choice.candidates) {
    try {
      return attempt(candidate, reasonFor(choice.wanted, candidate, passed))
    } catch (error) {
      if (candidate.gpu === undefined || !isOfDevice(error)) throw error
      failure ??= error
      passed.push(`${nameOf(candidate.gpu)}: ${inShort(error)}`)
    }
  }
  throw failure
}

const deviceCodes = ['OUT_OF_MEMORY', 'DEVICE_UNAVAILABLE', 'ENGINE_FAILED', 'MODEL_UNSUPPORTED']
/** Native errors carry a code as OctavoErrors do. */
const isOfDevice = (error: unknown): error is Error =>
  error instanceof Error && deviceCodes.includes((error as { code?: string }).code ?? '')

function inShort(error: Error): string {
  const { totalBytes, availableBytes } = (error as Partial<OctavoError>).details ?? {}
  if (typeof totalBytes === 'number' && typeof availableBytes === 'number')
    return `${mebibytes(totalBytes)} are needed, it has ${mebibytes(availableBytes)}`
  return error.message.split('\n')[0]!
}

/** Empty where there was no choice. */
function reasonFor(wanted: DeviceRequest, { gpu }: Candidate, passed: string[]): string {
  if (wanted === 'cpu' || wanted === 'reference') return ''
  const others = passed.join('; ')
  if (gpu === undefined) return `Device '${wanted}' is the CPU: ${others}.`
  const not = passed.length === 0 ? '' : ` Not taken: ${others}.`
  return `Device '${wanted}' is ${gpu.name} (cuda:${gpu.index}, capability ${gpu.capability}).${not}`
}

function unavailable(wanted: DeviceRequest, { info, reason }: CudaStatus, usable: CudaDevice[]): OctavoError {
  const found = usable.map(({ index, name }) => `cuda:${index} (${name})`)
  const named = info.find(({ index }) => `cuda:${index}` === wanted)
  const have = found.length > 0 ? `there ${found.length > 1 ? 'are' : 'is'} ${found.join(', ')}` : reason
  const why = named === undefined ? have : named.unusable
  return new OctavoError('DEVICE_UNAVAILABLE', `Device '${wanted}' cannot be used: ${why}.`, { wanted, found, reason })
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
