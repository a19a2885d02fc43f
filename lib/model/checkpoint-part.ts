/** What a model is read from: files (checkpoint.ts), or the plan of one that does not exist (synthesize.ts). */
import type { GgufFile, GgufTensor } from '../base/native.ts'

/** One file's header and where to read its data. */
export interface CheckpointPart {
  /** Absent: synthetic; a tensor's offset is then its number. */
  path?: string
  gguf: GgufFile
  read(tensor: GgufTensor): Uint8Array
}
