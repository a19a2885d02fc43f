import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

/** They look at their process as a whole, or change it: its children, its folder, what nobody caught. */
const apart = ['isolation', 'lifecycle', 'package', 'paths', 'server-hostile'].map((name) => `test/${name}.test.ts`)
const all = 'test/**/*.test.ts'

export default defineConfig({
  test: {
    // Generous, because machines are shared: no test measures time.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: availableParallelism(),
    // A process for each file would take a tenth of all time to start and to read the same modules again.
    projects: [
      { extends: true, test: { name: 'together', include: [all], exclude: apart, isolate: false } },
      { extends: true, test: { name: 'apart', include: apart } },
    ],
  },
})
