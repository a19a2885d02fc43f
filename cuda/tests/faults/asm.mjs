/** Faults in the instructions that the kernels write themselves (kernels/device_ptx.cuh): a host compiler never sees them. */
import { inDecode, inHalves, inQuantise, inTile } from './linear.mjs'

const asm = { class: 'inline asm', file: 'kernels/device_ptx.cuh', executions: ['ptx'] }

export const faults = [
  {
    ...inDecode,
    ...asm,
    name: 'mma of whole numbers: codes of weights without a sign',
    from: 'row.col.s32.s8.s8.s32',
    to: 'row.col.s32.u8.s8.s32',
  },
  {
    ...inDecode,
    ...asm,
    name: 'mma of whole numbers: registers of the input exchanged',
    from: '"r"(b[0]), "r"(b[1]), "r"(c[0])',
    to: '"r"(b[1]), "r"(b[0]), "r"(c[0])',
  },
  {
    ...inTile,
    ...asm,
    name: 'mma of whole numbers: registers of the result exchanged',
    from: '"=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])',
    to: '"=r"(d[0]), "=r"(d[2]), "=r"(d[1]), "=r"(d[3])',
  },
  {
    ...inHalves,
    ...asm,
    name: 'mma of halves: registers of weights exchanged',
    from: '"r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0])',
    to: '"r"(a[0]), "r"(a[2]), "r"(a[1]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0])',
  },
  {
    ...inTile,
    ...asm,
    name: 'cp.async: what is not there is read instead of filled with zeros',
    survives: 'what lies behind a weight is of the same allocation, and what is computed of it goes nowhere',
    from: 'const int bytes = present ? 16 : 0;',
    to: 'const int bytes = 16;',
  },
  {
    ...inTile,
    ...asm,
    name: 'cp.async.wait_group: one group more may be in flight',
    from: '"n"(groups)',
    to: '"n"(groups + 1)',
  },
  {
    ...inDecode,
    ...asm,
    name: 'cp.async.commit_group left out',
    from: 'asm volatile("cp.async.commit_group;" ::: "memory");',
    to: '',
  },
  {
    ...inDecode,
    ...asm,
    name: 'bar.arrive waits',
    equivalent: 'the warp that it would let pass comes to the same barrier: only time is lost',
    from: 'bar.arrive %0, %1;',
    to: 'bar.sync %0, %1;',
  },
  {
    ...inDecode,
    ...asm,
    name: 'bar.sync does not wait',
    from: 'bar.sync %0, %1;',
    to: 'bar.arrive %0, %1;',
  },
  {
    ...inHalves,
    ...asm,
    name: 'fma of halves: factor and summand exchanged',
    from: 'fma.rn.f16x2 %0, %1, %2, %3;',
    to: 'fma.rn.f16x2 %0, %1, %3, %2;',
  },
  {
    ...inQuantise,
    ...asm,
    unit: { path: 'kernels/attention/kv_write.cu' },
    tests: 'device: kv_write*',
    name: 'cvt to halves: towards zero',
    from: 'cvt.rn.f16.f32',
    to: 'cvt.rz.f16.f32',
  },
]
