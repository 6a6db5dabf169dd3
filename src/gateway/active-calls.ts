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

/**
 * What cuts one call. An AbortSignal in a few words: each call makes one, it has one listener at a time, and the platform's own
 * costs ten times as much.
 */
export class CutSwitch {
  #reason: CallCut | undefined
  #listener: ((reason: CallCut) => void) | undefined

  get reason(): CallCut | undefined {
    return this.#reason
  }

  /** The first reason is the one that counts. */
  cut(reason: CutReason): void {
    if (this.#reason) return
    this.#reason = new CallCut(reason)
    this.#listener?.(this.#reason)
  }

  throwIfCut(): void {
    if (this.#reason) throw this.#reason
  }

  /** Replaces the listener; hears at once of a cut that has been. */
  onCut(listener: ((reason: CallCut) => void) | undefined): void {
    this.#listener = listener
    if (this.#reason) listener?.(this.#reason)
  }
}

export type ActiveCall = { readonly cutSwitch: CutSwitch; end(): void }

export class ActiveCalls {
  readonly #byKey = new Map<ApiKeyId, Set<CutSwitch>>()
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
    const cutSwitch = new CutSwitch()
    const ofKey = this.#byKey.get(key) ?? new Set()
    this.#byKey.set(key, ofKey.add(cutSwitch))
    this.#count += 1
    return {
      cutSwitch,
      end: () => {
        if (!ofKey.delete(cutSwitch)) return
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
    for (const cutSwitch of this.#byKey.get(key) ?? []) cutSwitch.cut('revoked')
  }

  /** Waits for the calls in flight; after the deadline the rest are cut, and given a moment to settle. */
  async drain(deadlineMs: number, settleMs: number): Promise<void> {
    if (await this.#idleWithin(deadlineMs)) return
    for (const ofKey of this.#byKey.values()) {
      for (const cutSwitch of ofKey) cutSwitch.cut('shutdown')
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
