/** One tenant: what it was given so far, and its requests that wait. tenants.ts decides between several. */
export class Tenant<Request> {
  readonly name: string
  readonly weight: number
  /** Those that could be admitted: neither paused nor waiting for another's prefix. By urgency. */
  readonly queue: Request[] = []
  virtualTime = 0
  /** Tokens of those that wait. */
  queuedTokens = 0
  /** All requests, those that run, and those that wait for whatever reason. */
  requests = 0
  running = 0
  readonly counts = { requests: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0 }
  /** Scratch of whoever compares what tenants hold. */
  held = 0

  constructor(name: string, weight: number) {
    this.name = name
    this.weight = weight
  }

  get waiting(): number {
    return this.requests - this.running
  }

  charge(tokens: number): void {
    this.virtualTime += tokens / this.weight
  }
}
