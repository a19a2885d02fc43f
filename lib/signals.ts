/**
 * Abort signals: one listener a signal, however many requests hang on it, so that Node has no reason to warn of many, and none once
 * the last of them has ended. A signal is what Node's own functions take for one: `aborted` and the methods of an event target; it may
 * come from another realm or a polyfill.
 */

interface Watched {
  listeners: Set<() => void>
  onAbort: () => void
}

const watched = new WeakMap<AbortSignal, Watched>()

export function isAbortSignal(value: unknown): value is AbortSignal {
  if (typeof value !== 'object' || value === null) return false
  const { aborted, addEventListener, removeEventListener } = value as Partial<AbortSignal>
  return (
    typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof removeEventListener === 'function'
  )
}

/** Calls back once when the signal aborts. Gives the function that ends this; afterwards nothing hangs on the signal. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  // Of its own, so that one function may be given twice.
  const listener = () => callback()
  const { listeners } = watched.get(signal) ?? watch(signal)
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) unwatch(signal, listeners)
  }
}

function watch(signal: AbortSignal): Watched {
  const listeners = new Set<() => void>()
  const entry = {
    listeners,
    onAbort: () => {
      unwatch(signal, listeners)
      for (const listener of [...listeners]) if (listeners.delete(listener)) listener()
    },
  }
  watched.set(signal, entry)
  signal.addEventListener('abort', entry.onAbort)
  return entry
}

function unwatch(signal: AbortSignal, listeners: Set<() => void>): void {
  const entry = watched.get(signal)
  if (entry?.listeners !== listeners) return
  watched.delete(signal)
  signal.removeEventListener('abort', entry.onAbort)
}

/** What an aborted signal says why; old polyfills say nothing. */
export function abortReason(signal: AbortSignal): unknown {
  return signal.reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : signal.reason
}

/** As the promise goes, or rejects with the signal's reason. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const ignore = onAbort(signal, () => reject(abortReason(signal)))
    promise.then(resolve, reject).finally(ignore)
  })
}
