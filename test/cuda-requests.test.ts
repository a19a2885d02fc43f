/**
 * The same requests on the CPU and on a GPU, which is the driver of cuda/fake: a sample of test/deep/cuda-requests.ts, which says what
 * is compared. The interpreter takes some 20 million instructions a second, so the model is small and the answers are short.
 */
import { describe, expect, it } from 'vitest'
import { isBuilt, lastLineOfScript } from './fake-gpu.ts'

describe.skipIf(!isBuilt)('requests on the fake driver (npm run test:cuda builds it)', () => {
  it('12 random requests and sessions carried over both ways give the tokens of the CPU', async () => {
    const args = ['test/deep/cuda-requests.ts', '--requests', '12', '--seed', '7']
    const counts = (await lastLineOfScript(args)) as Record<string, number>
    expect(counts).toMatchObject({ requests: 12, sessions: 4 })
    for (const n of Object.values(counts)) expect(n).toBeGreaterThan(0)
  }, 180_000)
})
