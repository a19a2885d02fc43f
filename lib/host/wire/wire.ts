/** A running host as the main thread sees it: a thread (thread-wire.ts), a child process (process-wire.ts), a fake in tests. */
import type { ErrorData } from '../../base/errors.ts'
import type { FromHost, ToHost } from './protocol.ts'

export interface HostWire {
  post(message: ToHost): void
  /** Whether it keeps the process alive. */
  setRef(ref: boolean): void
  onMessage(listener: (message: FromHost) => void): void
  /** The host is gone, for whatever reason; called once, after the last message. */
  onExit(listener: (error: ErrorData | undefined) => void): void
  /** The host computes nothing more; a step in flight is discarded. */
  halt(): void
  /** Discards a step in flight if it is long, because a request in it was cancelled. */
  discardLongStep(): void
  /** This process exits, and must not wait for what the host does. */
  abandon(): void
}
