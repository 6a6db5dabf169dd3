/** The calls in flight, by key: so that a revoked key's streams can be cut, and a stopping server can wait. */
import type { ApiKeyId } from '#contract/ids.ts'
import type { Outcome } from '#storage/usage.ts'

/** Why a call was cut from our side. */
export type CutReason = Exclude<Outcome, 'complete' | 'upstream_cut'>

export class CallCut extends Error {
  readonly outcome: CutReason
  constructor(outcome: CutReason) {
    super(`the call was cut: ${outcome}`)
    this.name = 'CallCut'
    this.outcome = outcome
  }
}

export type ActiveCall = { readonly signal: AbortSignal; cut(reason: CutReason): void; end(): void }

export class ActiveCalls {
  readonly #byKey = new Map<ApiKeyId, Set<AbortController>>()
  #count = 0
  #refusal: Error | undefined
  #idle: (() => void) | undefined

  get count(): number {
    return this.#count
  }

  /** Until `admit`, no call begins: each is refused with this error. */
  refuse(reason: Error): void {
    this.#refusal = reason
  }

  admit(): void {
    this.#refusal = undefined
  }

  /** @throws what `refuse` was given, while calls are refused */
  begin(key: ApiKeyId): ActiveCall {
    if (this.#refusal) throw this.#refusal
    const controller = new AbortController()
    const ofKey = this.#byKey.get(key) ?? new Set()
    this.#byKey.set(key, ofKey.add(controller))
    this.#count += 1
    return {
      signal: controller.signal,
      cut: reason => controller.abort(new CallCut(reason)),
      end: () => {
        if (!ofKey.delete(controller)) return
        if (ofKey.size === 0 && this.#byKey.get(key) === ofKey) this.#byKey.delete(key)
        this.#count -= 1
        if (this.#count === 0) this.#idle?.()
      },
    }
  }

  keys(): IterableIterator<ApiKeyId> {
    return this.#byKey.keys()
  }

  cutKey(key: ApiKeyId): void {
    for (const controller of this.#byKey.get(key) ?? []) controller.abort(new CallCut('revoked'))
  }

  /** Waits for the calls in flight; after the deadline the rest are cut, and given a moment to settle. */
  async drain(deadlineMs: number, settleMs: number): Promise<void> {
    if (await this.#idleWithin(deadlineMs)) return
    for (const ofKey of this.#byKey.values()) {
      for (const controller of ofKey) controller.abort(new CallCut('shutdown'))
    }
    await this.#idleWithin(settleMs)
  }

  #idleWithin(ms: number): Promise<boolean> {
    if (this.#count === 0) return Promise.resolve(true)
    return new Promise(resolve => {
      const timer = setTimeout(() => resolve(false), ms)
      this.#idle = () => {
        clearTimeout(timer)
        resolve(true)
      }
    })
  }
}
