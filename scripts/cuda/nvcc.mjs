import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** nvcc as cuda/CMakeLists.txt looks for it, { path, version }; undefined where there is none. */
export function findNvcc() {
  const folders = [...process.env.PATH.split(':'), join(process.env.CUDA_HOME ?? '/usr/local/cuda', 'bin')]
  for (const path of folders.map((folder) => join(folder, 'nvcc')).filter(existsSync)) {
    const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    if (status === 0) return { path, version: /V(\d+\.\d+\.\d+)/.exec(stdout)[1] }
  }
  return undefined
}
