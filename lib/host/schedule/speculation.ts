/**
 * Draft tokens: guesses at what a request will draw next, computed together with its last token and kept as far as the draws turn
 * out equal (Leviathan et al. 2023, Chen et al. 2023). A draw is a function of seed, position and tokens alone, so that guesses change
 * how many steps a generation takes and nothing else, at every temperature.
 */
import type { HostRequest } from './request.ts'

/** Most draft tokens of one request in one step. */
export const maxDrafts = 16

/** Where guesses come from. Must be cheap beside a step, and a function of the request alone. */
export interface Drafter {
  /**
   * Writes at most `most` guesses at what follows the request's tokens into `out`; returns how many. Ids must be of the vocabulary.
   */
  draft(request: HostRequest, out: Int32Array, most: number): number
}
