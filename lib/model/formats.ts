/** Weight formats as files store them: ggml's type id, and how many weights make a block of how many bytes. */
import type { WeightFormat } from '../base/native.ts'

export const formats: Readonly<Record<WeightFormat, { id: number; group: number; groupBytes: number }>> = {
  f32: { id: 0, group: 1, groupBytes: 4 },
  f16: { id: 1, group: 1, groupBytes: 2 },
  q4_0: { id: 2, group: 32, groupBytes: 18 },
  q4_1: { id: 3, group: 32, groupBytes: 20 },
  q5_0: { id: 6, group: 32, groupBytes: 22 },
  q5_1: { id: 7, group: 32, groupBytes: 24 },
  q8_0: { id: 8, group: 32, groupBytes: 34 },
  q2_k: { id: 10, group: 256, groupBytes: 84 },
  q3_k: { id: 11, group: 256, groupBytes: 110 },
  q4_k: { id: 12, group: 256, groupBytes: 144 },
  q5_k: { id: 13, group: 256, groupBytes: 176 },
  q6_k: { id: 14, group: 256, groupBytes: 210 },
  iq2_xxs: { id: 16, group: 256, groupBytes: 66 },
  iq2_xs: { id: 17, group: 256, groupBytes: 74 },
  iq3_xxs: { id: 18, group: 256, groupBytes: 98 },
  iq1_s: { id: 19, group: 256, groupBytes: 50 },
  iq4_nl: { id: 20, group: 32, groupBytes: 18 },
  iq3_s: { id: 21, group: 256, groupBytes: 110 },
  iq2_s: { id: 22, group: 256, groupBytes: 82 },
  iq4_xs: { id: 23, group: 256, groupBytes: 136 },
  iq1_m: { id: 29, group: 256, groupBytes: 56 },
  bf16: { id: 30, group: 1, groupBytes: 2 },
  mxfp4: { id: 39, group: 32, groupBytes: 17 },
  nvfp4: { id: 40, group: 64, groupBytes: 36 },
}
