/**
 * Draft tokens: guesses at what a request will draw next, computed together with its last token and kept as far as the draws turn
 * out equal (Leviathan et al. 2023, Chen et al. 2023). A draw is a function of seed, position and tokens alone, so that guesses change
 * how many steps a generation takes and nothing else, at every temperature.
 *
 * The engine's own drafters live in native code, where they serve every step of a run (cpp/drafts/): the sequence's own text, texts
 * of the same tenant, a draft model. A `Drafter` is one that is given from outside, asked between two steps.
 */
import type { HostRequest } from './request.ts'

/** Where guesses come from. Must be cheap beside a step, and a function of the request alone. */
export interface Drafter {
  /**
   * Writes at most `most` guesses at what follows the request's tokens into `out`; returns how many. Ids must be of the vocabulary.
   */
  draft(request: HostRequest, out: Int32Array, most: number): number
}
