/** What the scheduler needs of the block manager; small, so that the scheduler runs against a fake. */
import type { HostRequest } from './request.ts'

export interface KvPort {
  readonly totalBlocks: number
  /** A new empty sequence with the request's salt and sampling parameters. */
  create(request: HostRequest): number
  /** Attaches the longest cached prefix; returns its tokens. */
  match(sequence: number, tokens: Int32Array): number
  /** Room for `count` tokens after the committed ones; all or nothing; asking again for the same changes nothing. */
  reserve(sequence: number, count: number): boolean
  /** Draft tokens of the last step that were right: `tokens` from `from` on belong to the sequence now. */
  accept(sequence: number, tokens: Int32Array, from: number, count: number): void
  free(sequence: number): void
  /** Blocks that a reserve could take: free and cached. */
  available(): number
}
