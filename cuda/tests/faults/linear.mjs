/** Faults in the kernels of linear. `equivalent`: why nothing can notice it. */
const decode = (...packings) => ({
  path: 'kernels/linear_decode.cu',
  text: `#include "kernels/linear_decode.cuh"\n${packings.map((name) => `OCTAVO_LINEAR_DECODE(${name})\n`).join('')}`,
})
const tile = (form, ...packings) => ({
  path: `kernels/linear_tile_${form}.cu`,
  text: `#include "kernels/linear_tile.cuh"\n${packings.map((name) => `OCTAVO_LINEAR_TILE(${name}, ${form}, 1)\n`).join('')}`,
})
const tests = 'linear equals*'
const inDecode = { file: 'kernels/linear_decode.cuh', unit: decode('q4_0'), formats: 'q4_0', tests }
const inTile = { file: 'kernels/linear_tile.cuh', unit: tile('s8', 'q4_0'), formats: 'q4_0', tests }
const inHalves = { ...inTile, unit: tile('f16', 'q4_0') }
const inUnpack = { file: 'kernels/unpack.cuh', tests }
const inQuantise = { file: 'kernels/quantise.cu', unit: { path: 'kernels/quantise.cu' }, formats: 'q4_0', tests }

export const faults = [
  // ---- fragments and layouts
  { class: 'layout', name: 'decode: rows of the output 4 apart', ...inDecode, file: 'kernels/store_linear.cuh', from: '+ 8 * (e / 2), token', to: '+ 4 * (e / 2), token' },
  { class: 'layout', name: 'decode: scales of rows and of tokens exchanged', ...inDecode, from: 'own.scale[half][e / 2], e % 2 == 0', to: 'own.scale[half][e % 2], e / 2 == 0' },
  { class: 'layout', name: 'unpack: registers of the two rows exchanged', ...inUnpack, unit: decode('q4_0'), formats: 'q4_0', from: 'a[2 * i] = move_bits<0, shift>(w[i], mask);\n      a[2 * i + 1] = move_bits<4, shift>(w[i], mask);', to: 'a[2 * i + 1] = move_bits<0, shift>(w[i], mask);\n      a[2 * i] = move_bits<4, shift>(w[i], mask);' },
  { class: 'layout', name: 'unpack: the plane of the other group of a pair', ...inUnpack, unit: decode('q5_0'), formats: 'q5_0', from: 'a[3] |= move_bits<4 * group + 3, to>', to: 'a[3] |= move_bits<7 - 4 * group, to>' },
  { class: 'layout', name: 'unpack: a table looked up with the sign of its codes', ...inUnpack, unit: decode('iq4_nl'), formats: 'iq4_nl', from: '__byte_perm(table[2], table[3], codes & 0x7777u)', to: '__byte_perm(table[2], table[3], codes)' },
  { class: 'layout', name: 'tile on halves: the halves of a register exchanged', ...inHalves, from: 'part == 0 ? 0x4140 : 0x4342', to: 'part == 0 ? 0x4041 : 0x4243' },
  { class: 'layout', name: 'tile: the token tiles of the other half of a block', ...inTile, from: 'const int tile = h * tile_token_tiles + warp_column * warp_tiles + t', to: 'const int tile = h * tile_token_tiles + (1 - warp_column) * warp_tiles + t' },
  { class: 'layout', name: 'quantise: the order of bytes in a fragment', ...inQuantise, file: 'kernels/fragments.h', from: 'return {token * 4 + element % 16 / 4, element / 16, element % 4};', to: 'return {token * 4 + element % 16 / 4, element / 16, 3 - element % 4};' },
  // ---- order and rounding
  { class: 'order', name: 'decode: the groups of a turn descending', ...inDecode, from: 'sum = __fmaf_rn(terms.dot[k][i][r][t][e], terms.scale[k][i][r][t][e], sum);', to: 'sum = __fmaf_rn(terms.dot[count - 1 - k][i][r][t][e], terms.scale[count - 1 - k][i][r][t][e], sum);' },
  { class: 'order', name: 'decode: the minimum before the dot', ...inDecode, unit: decode('q5_1'), formats: 'q5_1', from: 'sum = __fmaf_rn(terms.dot[k][i][r][t][e], terms.scale[k][i][r][t][e], sum);', to: 'sum = __fmaf_rn(terms.minimum[k][0][r][e / 2], terms.sum[k][0][t][e % 2], sum), sum = __fmaf_rn(terms.dot[k][i][r][t][e], terms.scale[k][i][r][t][e], sum), sum = __fmaf_rn(-terms.minimum[k][0][r][e / 2], terms.sum[k][0][t][e % 2], sum);' },
  { class: 'order', name: 'tile: dot times dw, then times da', ...inTile, from: 'sum = __fmaf_rn(dots[i][e], __fmul_rn(own[r].scale[i][e / 2], e % 2 == 0 ? d.x : d.y), sum);', to: 'sum = __fmaf_rn(__fmul_rn(dots[i][e], own[r].scale[i][e / 2]), e % 2 == 0 ? d.x : d.y, sum);' },
  { class: 'order', name: 'tile: product and sum rounded apart', ...inTile, from: 'sum = __fmaf_rn(dots[i][e], __fmul_rn(own[r].scale[i][e / 2], e % 2 == 0 ? d.x : d.y), sum);', to: 'sum = __fadd_rn(__fmul_rn(dots[i][e], __fmul_rn(own[r].scale[i][e / 2], e % 2 == 0 ? d.x : d.y)), sum);' },
  { class: 'order', name: 'quantise: times 1 / 127', ...inQuantise, from: '__fdiv_rn(magnitude, 127.0f)', to: '__fmul_rn(magnitude, 1.0f / 127.0f)' },
  { class: 'order', name: 'quantise: divides each number', ...inQuantise, from: '__fmul_rn(x, __fdiv_rn(127.0f, magnitude))', to: '__fdiv_rn(__fmul_rn(x, 127.0f), magnitude)' },
  { class: 'order', name: 'norm: the mean square by a product', ...inQuantise, file: 'kernels/linear_input.cuh', from: '__fdiv_rn(sum, __int2float_rn(k))', to: '__fmul_rn(sum, __fdiv_rn(1.0f, __int2float_rn(k)))' },
  { class: 'order', name: 'store: the bias is where the sum begins', ...inDecode, file: 'kernels/store_linear.cuh', from: '*out = add != 0 ? __fadd_rn(*out, y) : y;', to: '*out = add != 0 ? __fadd_rn(__fadd_rn(*out, acc), bias != nullptr ? bias[n] : 0.0f) : y;' },
  { class: 'order', name: 'float weights: two chains', file: 'kernels/linear_float.cu', unit: { path: 'kernels/linear_float.cu' }, formats: 'bf16', tests, from: 'acc[t] = __fmaf_rn(w, x[(c * chunk + i) * tokens + t], acc[t]);', to: 'acc[t] = __fadd_rn(__fmul_rn(w, x[(c * chunk + i) * tokens + t]), acc[t]);' },
  // ---- synchronisation
  { class: 'barrier', name: 'decode: no barrier before a turn', ...inDecode, from: '      barrier_sync(1 + warp, 64);\n', to: '' },
  { class: 'barrier', name: 'decode: arrives before its sums are stored', ...inDecode, from: '    if (round + 1 < rounds || warp + 1 < decode_warps) {\n', to: '    if (round + 1 < rounds || warp + 1 < decode_warps) {\n      barrier_arrive(1 + (warp + 1) % decode_warps, 64);\n      if (false)\n' },
  { class: 'barrier', name: 'decode: no __syncwarp behind the wait', ...inDecode, from: '    __syncwarp();\n', to: '' },
  { class: 'barrier', name: 'decode: one group of copies too many in flight', ...inDecode, from: 'wait_copies<S::stages - 2>();', to: 'wait_copies<S::stages - 1>();' },
  { class: 'barrier', name: 'decode: refills the stage that is read', ...inDecode, from: 'load(round + S::stages - 1);', to: 'load(round + S::stages);' },
  { class: 'barrier', name: 'tile: no __syncthreads', ...inTile, from: '    __syncthreads();  // all', to: '    // all' },
  { class: 'barrier', name: 'tile: one group of copies too many in flight', ...inTile, from: 'wait_copies<S::stages - 2>();', to: 'wait_copies<S::stages - 1>();' },
  { class: 'barrier', name: 'tile: commits only what it copied', ...inTile, from: '    if (pair < pairs) load_pair<P, form>(p, ring + pair % S::stages * S::bytes, pair, first_block, first_tile);\n    commit_copies();', to: '    if (pair >= pairs) return;\n    load_pair<P, form>(p, ring + pair % S::stages * S::bytes, pair, first_block, first_tile);\n    commit_copies();' },
  { class: 'barrier', name: 'tile: waits for nothing at its end', ...inTile, from: '  wait_copies<0>();\n', to: '', equivalent: 'groups behind the last pair are empty' },
  { class: 'barrier', name: 'norm: no barrier behind the sum', ...inQuantise, file: 'kernels/linear_input.cuh', from: '  __syncthreads();\n  return result[0];', to: '  return result[0];' },
  { class: 'barrier', name: 'float weights: values overwritten while they are read', file: 'kernels/linear_float.cu', unit: { path: 'kernels/linear_float.cu' }, formats: 'bf16', tests, from: '    __syncthreads();  // the values before are no longer read\n', to: '' },
  // ---- tails and limits
  { class: 'tail', name: 'decode: the last group of a turn left out', ...inDecode, from: 'min(quad, p.weight.groups -', to: 'min(quad, p.weight.groups - 1 -' },
  { class: 'tail', name: 'decode: row blocks behind the last are read', ...inDecode, from: 'min(first_block + r, blocks - 1)', to: 'first_block + r' },
  { class: 'tail', name: 'decode: quads behind the last are read', ...inDecode, from: 'if (index < quads) load_quad', to: 'load_quad' },
  { class: 'tail', name: 'store: rows that are not there', ...inDecode, file: 'kernels/store_linear.cuh', from: 'if (n < p.weight.n && token < p.m)', to: 'if (token < p.m)' },
  { class: 'tail', name: 'store: tokens that are not there', ...inDecode, file: 'kernels/store_linear.cuh', from: 'if (n < p.weight.n && token < p.m)', to: 'if (n < p.weight.n)' },
  { class: 'tail', name: 'tile: a group of padding is added', ...inTile, from: 'if (2 * pair + 1 < p.weight.groups) add_group', to: 'if (2 * pair + 1 < p.weight.groups + 1) add_group', equivalent: 'its scales are 0, and no sum of these tests is -0' },
  { class: 'tail', name: 'tile: rows that are not there are read', ...inTile, from: 'const bool there = row < present;', to: 'const bool there = true;' },
  { class: 'tail', name: 'quantise: padding is left as it was', ...inQuantise, from: 'g < min(first + p.groups_per_block, padded)', to: 'g < min(first + p.groups_per_block, p.k / group_size)' },
  { class: 'tail', name: 'decode: a stage of shared memory too few', ...inDecode, file: 'ops/linear.cpp', unit: { path: 'ops/linear.cpp' }, from: 'static_cast<unsigned>(shape.shared_bytes)', to: 'static_cast<unsigned>(shape.shared_bytes - shape.stage_bytes)' },
  { class: 'tail', name: 'repack: the scale of the row 8 further', ...inDecode, file: 'ops/repack.cpp', unit: { path: 'ops/repack.cpp' }, from: '* 2 + row / 8) * bytes', to: '* 2 + 1 - row / 8) * bytes' },
]
