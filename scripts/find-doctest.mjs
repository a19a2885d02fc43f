// Where the C++ tests' framework is.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const has = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined

/** The folder with doctest.h: installed, or unpacked under build/ from Debian's package without being installed. `fail` says why not, and ends. */
export function findDoctest(fail) {
  const unpacked = join(root, 'build', 'doctest')
  const places = ['/usr/include/doctest', '/usr/local/include/doctest', join(unpacked, 'usr/include/doctest')]
  const find = () => places.find((place) => existsSync(join(place, 'doctest.h')))
  if (find()) return find()
  const missing = 'doctest.h is missing; on Debian or Ubuntu: apt-get install doctest-dev'
  if (!has('apt-get') || !has('dpkg')) fail(missing)
  console.log('doctest.h is not installed, unpacking doctest-dev into build/doctest')
  mkdirSync(unpacked, { recursive: true })
  const quiet = { cwd: unpacked, stdio: 'ignore' }
  const download = () => spawnSync('apt-get', ['download', 'doctest-dev'], quiet).status === 0
  if (!download()) {
    spawnSync('apt-get', ['update'], quiet)
    if (!download()) fail(`${missing} (apt-get download failed)`)
  }
  const archive = readdirSync(unpacked).find((name) => name.endsWith('.deb'))
  if (archive === undefined || spawnSync('dpkg', ['-x', archive, '.'], quiet).status !== 0) fail(missing)
  return find() ?? fail(missing)
}
