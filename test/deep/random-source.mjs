/** Seeded uniform integers from `low` to `high`: a counter, mixed as in MurmurHash3's finaliser (Appleby). */
export function randomSource(seed) {
  let state = seed >>> 0
  return (low, high) => {
    state = (state + 0x9e3779b9) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return low + (((z ^ (z >>> 16)) >>> 0) % (high - low + 1))
  }
}
