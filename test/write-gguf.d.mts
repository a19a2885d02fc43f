type Kind = 'u32' | 'i32' | 'f32' | 'string'

export interface WrittenTensor {
  name: string
  shape: number[]
  /** ggml's number of the format. */
  type: number
  data: Buffer
}

export function writeGguf(
  path: string,
  metadata: Record<string, [Kind, number | string | readonly (number | string)[]]>,
  tensors?: WrittenTensor[],
): void
