import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  // Generous, because machines are shared: no test measures time.
  test: { include: ['test/**/*.test.ts'], testTimeout: 60_000, maxWorkers: availableParallelism() },
})
