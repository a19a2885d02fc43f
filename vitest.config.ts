import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { isDistMade } from './scripts/library/sources.mjs'

const files = (...names: string[]) => names.map((name) => `test/${name}.test.ts`)

/** They look at their process as a whole, or change it: its children, its folder, what nobody caught. */
const apart = files('isolation', 'lifecycle', 'package', 'paths', 'server-hostile')
const all = 'test/**/*.test.ts'

/** Short texts that take long. */
const long = files(
  ...['conversations', 'cuda-device', 'cuda-faults', 'cuda-requests'],
  ...['examples', 'shared-weights', 'speculation'],
)

/**
 * Where no file has been seen to run, vitest begins with those apart and goes on from the largest to the smallest: what is short and
 * takes long goes before, so that no CPU waits for it at the end.
 */
class LongFirst extends BaseSequencer {
  override async sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ project, moduleId }: TestSpecification) =>
      project.name === 'apart' ? 0 : long.some((name) => moduleId.endsWith(name)) ? 1 : 2
    return (await super.sort(specifications)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/** What is compiled is tested, whatever a test imports: as what users load, and once for all files of a process. */
if (!isDistMade()) throw new Error('npm run build:ts first: dist/ is not of these sources')
const compiled = { find: /^(?:\.\.\/)+lib\/(.*)\.ts$/, replacement: `${import.meta.dirname}/dist/$1.js` }

export default defineConfig({
  resolve: { alias: [compiled] },
  test: {
    server: { deps: { external: [/\/dist\//] } },
    // Generous, because machines are shared: no test measures time.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: availableParallelism(),
    sequence: { sequencer: LongFirst },
    // A process for each file would take a tenth of all time to start and to read the same modules again.
    projects: [
      { extends: true, test: { name: 'together', include: [all], exclude: apart, isolate: false } },
      { extends: true, test: { name: 'apart', include: apart } },
    ],
  },
})
