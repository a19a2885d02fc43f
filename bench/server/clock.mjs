// Milliseconds of the clock that all processes of a machine share: `originMs + performance.now()`.

/** Time passes between the two readings, and only makes the difference less. */
const difference = () => Number(process.hrtime.bigint()) / 1e6 - performance.now()
export const originMs = Math.max(...Array.from({ length: 100 }, difference))
export const sharedMs = () => originMs + performance.now()
