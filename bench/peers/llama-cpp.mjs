// Builds a program, llama-cpp.cpp if none is named, against the llama.cpp that node-llama-cpp ships: its libraries as they are, its headers out of the git
// bundle of the release's sources. Wants git and g++; without them the benchmark goes on without this peer.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const benchmark = fileURLToPath(new URL('llama-cpp.cpp', import.meta.url))

/** {program, libraries}, or {reason}: why there is none. */
export function buildLlamaCpp(folder, source = benchmark) {
  const platform = `linux-${process.arch}`
  const libraries = join(folder, 'node_modules', '@node-llama-cpp', platform, 'bins', platform)
  const bundle = join(folder, 'node_modules', 'node-llama-cpp', 'llama', 'gitRelease.bundle')
  for (const path of [libraries, bundle]) if (!existsSync(path)) return { reason: `${path} is missing` }
  const work = join(folder, 'llama-cpp')
  const program = join(work, basename(source, '.cpp'))
  const run = (command, ...args) =>
    execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28 })
  try {
    if (!existsSync(work)) {
      run('git', 'clone', '--quiet', '--no-checkout', bundle, work)
      run('git', '-C', work, 'checkout', '--quiet', 'HEAD', '--', 'include', 'ggml/include')
    }
    mkdirSync(work, { recursive: true })
    const shared = readdirSync(libraries).filter((name) => /^lib(llama\.|ggml\.|ggml-base).*so$/.test(name))
    run(
      'g++',
      ...[
        '-std=c++20',
        '-O2',
        `-I${join(work, 'include')}`,
        `-I${join(work, 'ggml', 'include')}`,
        source,
        '-o',
        program,
      ],
      ...[`-L${libraries}`, ...shared.map((name) => `-l:${name}`), `-Wl,-rpath,${libraries}`],
    )
  } catch (error) {
    return { reason: error.stderr?.toString().trim().split('\n')[0] || error.message }
  }
  return { program, libraries }
}
