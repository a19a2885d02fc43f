import { OctavoError } from '../lib/base/errors.ts'

/** The error with which `run` is refused; whatever else it throws is a fault. */
export function refusal(run: () => unknown): OctavoError {
  try {
    run()
  } catch (error) {
    if (error instanceof OctavoError) return error
    throw error
  }
  throw new Error('nothing was refused')
}
