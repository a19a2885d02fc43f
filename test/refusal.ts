import { OctavoError as OfPackage } from 'octavo'
import { OctavoError } from '../lib/base/errors.ts'

/** The error with which `run` is refused; whatever else it throws is a fault. The package's entry is bundled, with a class of its own. */
export function refusal(run: () => unknown): OctavoError {
  try {
    run()
  } catch (error) {
    if (error instanceof OctavoError || error instanceof OfPackage) return error
    throw error
  }
  throw new Error('nothing was refused')
}
