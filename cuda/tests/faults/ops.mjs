/** Faults in the kernels of the operations besides linear. */
const rows = 'device: norm*,device: rope*,device: gate*'
const attention = 'device: attention of many*'
const cache = 'device: kv_write*'
const draws = 'device: draws*'
const fed = 'feed:*,flight: a step is given*,flight: what follows*'
const kernel = (name, tests) => ({ file: `kernels/${name}.cu`, unit: { path: `kernels/${name}.cu` }, tests })
const shared = (header, name, tests) => ({ ...kernel(name, tests), file: `kernels/${header}` })

export const faults = [
  // ---- order and rounding
  {
    class: 'order',
    name: 'norm: the tree of 16 lanes from its other end',
    ...shared('lanes.cuh', 'norm', rows),
    from: 'for (int half = sum_lanes / 2; half >= 1; half /= 2) lane = __fadd_rn',
    to: 'for (int half = 1; half < sum_lanes; half *= 2) lane = __fadd_rn',
  },
  {
    class: 'order',
    name: 'rope: the other product is rounded',
    ...kernel('rope', rows),
    from: '__fmaf_rn(u, c, -__fmul_rn(v, s))',
    to: '__fmaf_rn(-v, s, __fmul_rn(u, c))',
  },
  {
    class: 'order',
    name: 'gate: multiplied before it is divided',
    ...kernel('gate', rows),
    from: '__fmul_rn(__fdiv_rn(g, __fadd_rn(1.0f, exp_spec(-g))), u)',
    to: '__fdiv_rn(__fmul_rn(g, u), __fadd_rn(1.0f, exp_spec(-g)))',
  },
  {
    class: 'order',
    name: 'kv_write: scales are rounded down',
    ...kernel('attention/kv_write', cache),
    from: 'return (bits >> 16) + ((bits & 0xFFFFu) != 0 ? 1 : 0);',
    to: 'return bits >> 16;',
  },
  {
    class: 'order',
    name: 'kv_write: of equal gains the last dimension is turned',
    ...kernel('attention/kv_write', cache),
    from: 'gain << 9 | static_cast<unsigned>(511 - d)',
    to: 'gain << 9',
  },
  {
    class: 'order',
    name: 'attention, float: one chain of even and odd dimensions',
    ...kernel('attention/attention_float', attention),
    from: 'odd[r] = __fmaf_rn(c[i + 1], q.y, odd[r]);',
    to: 'even[r] = __fmaf_rn(c[i + 1], q.y, even[r]);',
  },
  {
    class: 'order',
    name: 'attention, merge: what is new is multiplied exactly',
    ...shared('attention/attention.cuh', 'attention/attention_merge', attention),
    from: 'o = __fmaf_rn(o, merge.old, __fmul_rn(o_c, merge.now))',
    to: 'o = __fmaf_rn(o_c, merge.now, __fmul_rn(o, merge.old))',
  },
  {
    class: 'order',
    name: 'attention, int8: lanes of the sum meet in another order',
    ...kernel('attention/attention_int8', attention),
    from: 'x[e] = __fadd_rn(x[e], __shfl_xor_sync(all_lanes, x[e], 2))',
    to: 'x[e] = __fadd_rn(x[e], __shfl_xor_sync(all_lanes, x[e], 1))',
  },
  {
    class: 'order',
    name: 'draw: a logarithm of a few terms',
    ...shared('sampling/noise.cuh', 'sampling/sample', draws),
    from: 'for (int i = 12; i >= 1; --i) p = __dmul_rn',
    to: 'for (int i = 2; i >= 1; --i) p = __dmul_rn',
  },
  // ---- masks and limits
  {
    class: 'tail',
    name: 'attention, float: a token does not see itself',
    ...shared('attention/attention.cuh', 'attention/attention_float', attention),
    from: 'return key <= position &&',
    to: 'return key < position &&',
  },
  {
    class: 'tail',
    name: 'attention, int8: the last block is not read',
    ...kernel('attention/attention_int8', attention),
    from: 'const bool used = key <= walk.last &&',
    to: 'const bool used = key + 16 <= walk.last &&',
  },
  {
    class: 'tail',
    name: 'draw: top-k keeps one more',
    ...kernel('sampling/sample', draws),
    from: '[k](Sum sum) { return sum >= k; }',
    to: '[k](Sum sum) { return sum > k; }',
  },
  {
    class: 'tail',
    name: 'draw: the highest id on a tie',
    ...shared('sampling/sample_block.cuh', 'sampling/sample', draws),
    from: 'other.token < token',
    to: 'other.token > token',
    equivalent: 'scores of two tokens are equal only if their noise is, of 52 bits each',
  },
  {
    class: 'tail',
    name: 'feed: what is no token is fed as it is',
    ...kernel('sampling/feed', fed),
    from: 'max(p.tokens[feed.row], 0)',
    to: 'p.tokens[feed.row]',
  },
  // ---- layouts
  {
    class: 'fragment',
    name: 'kv_write, int8: keys of tokens 8 to 15 before the others',
    ...shared('attention/kv_layout.h', 'attention/kv_write', attention),
    from: 'token / 8 * (full ? 8 : 4) + in / 16 * 4',
    to: '(1 - token / 8) * (full ? 8 : 4) + in / 16 * 4',
  },
  {
    class: 'fragment',
    name: 'feed: a token gets the row of its own number',
    ...kernel('sampling/feed', fed),
    from: 'p.tokens[feed.row]',
    to: 'p.tokens[i]',
  },
  {
    class: 'fragment',
    name: 'attention, int8: weights of the two blocks of a product exchanged',
    ...kernel('attention/attention_int8', attention),
    from: 'out.high[b / 2][b % 2 * 2 + r]',
    to: 'out.high[b / 2][(1 - b % 2) * 2 + r]',
  },
  // ---- barriers
  {
    class: 'barrier',
    name: 'norm: the next tile is not waited for',
    ...kernel('norm', rows),
    from: '    __syncthreads();\n    const int next',
    to: '    const int next',
  },
  {
    class: 'barrier',
    name: 'attention, float: weights are not waited for',
    ...kernel('attention/attention_float', attention),
    from: 'softmax<Kind>(w, chunk);\n    __syncthreads();',
    to: 'softmax<Kind>(w, chunk);',
  },
  {
    class: 'barrier',
    name: 'attention, int8: blocks of a chunk are not waited for',
    ...kernel('attention/attention_int8', attention),
    from: '* kv_head_bytes(kv_int8, p.head_size) : nullptr;\n  }\n  __syncwarp();',
    to: '* kv_head_bytes(kv_int8, p.head_size) : nullptr;\n  }',
  },
  {
    class: 'barrier',
    name: 'draw: counts are taken before all are there',
    ...shared('sampling/sample_changes.cuh', 'sampling/sample', draws),
    from: 'atomicAdd(&counts[history[i]], 1);\n  __syncthreads();',
    to: 'atomicAdd(&counts[history[i]], 1);',
  },
  {
    class: 'barrier',
    name: 'draw: a histogram is read before it is whole',
    ...shared('sampling/select.cuh', 'sampling/sample', draws),
    from: '    __syncthreads();\n    find_digit',
    to: '    find_digit',
  },
]
