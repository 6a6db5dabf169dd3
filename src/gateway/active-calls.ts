/** The calls in flight, by key: so that what may not go on can be cut, and a stopping server can wait. */
import { type ApiError, apiError } from '#contract/errors.ts'
import type { ApiKeyId } from '#contract/ids.ts'
import type { Scope } from '#contract/scopes.ts'
import type { Model } from '#core/catalogue.ts'
import type { Grant } from '#core/grant.ts'
import type { Outcome } from '#storage/usage.ts'

/** Why a call was cut from our side. */
export type CutReason = Exclude<Outcome, 'complete' | 'upstream_cut'>

export class CallCut extends Error {
  readonly outcome: CutReason
  readonly #refusal: ApiError | undefined

  /** @param refusal what a call that began now would be refused with */
  constructor(outcome: CutReason, refusal?: ApiError) {
    super(`the call was cut: ${outcome}`)
    this.name = 'CallCut'
    this.outcome = outcome
    this.#refusal = refusal
  }

  /** What the caller is told, where one is still there. */
  get told(): ApiError {
    return this.#refusal ?? apiError('server_draining')
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

  /** The first reason is the one that counts; but for a client that left: the end of such a call may still be waited for. */
  cut(outcome: CutReason, refusal?: ApiError): void {
    if (this.#reason && (this.#reason.outcome !== 'client_left' || outcome === 'client_left')) return
    this.#reason = new CallCut(outcome, refusal)
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

/** What a key must still be allowed for a call to go on. */
export type CallNeeds = {
  /** Of its endpoint. */
  readonly scope: Scope
  /** Undefined until the body has been read. */
  readonly model: Model | undefined
}

/** Why a call may not go on; undefined: it may. */
export type Verdict = (needs: CallNeeds) => ApiError | undefined

export type ActiveCall = {
  readonly cutSwitch: CutSwitch
  /** @throws CallCut when the key lost this model while the body was read */
  uses(model: Model): void
  end(): void
}

/** One call in flight, judged again whenever something changed about its key. */
class JudgedCall {
  readonly cutSwitch = new CutSwitch()
  readonly #scope: Scope
  #model: Model | undefined
  #verdict: Verdict | undefined

  constructor(scope: Scope) {
    this.#scope = scope
  }

  judge(refusalOf: Verdict): void {
    this.#verdict = refusalOf
    const refusal = refusalOf({ scope: this.#scope, model: this.#model })
    if (refusal) this.cutSwitch.cut('revoked', refusal)
  }

  /** The latest verdict was about less than is known now. */
  uses(model: Model): void {
    this.#model = model
    if (this.#verdict) this.judge(this.#verdict)
    this.cutSwitch.throwIfCut()
  }
}

/** What is known of a key while it has calls in flight. */
type ActiveKey = { grant: KnownGrant; readonly calls: Set<JudgedCall> }
type KnownGrant = Pick<Grant, 'keyId' | 'redacted' | 'expiresAtMs'>

export class ActiveCalls {
  readonly #byKey = new Map<ApiKeyId, ActiveKey>()
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
  begin(grant: KnownGrant, scope: Scope): ActiveCall {
    if (this.#refusal) throw this.#refusal
    const { keyId } = grant
    const call = new JudgedCall(scope)
    const active = this.#byKey.get(keyId) ?? { grant, calls: new Set() }
    active.grant = grant
    active.calls.add(call)
    this.#byKey.set(keyId, active)
    this.#count += 1
    return {
      cutSwitch: call.cutSwitch,
      uses: model => call.uses(model),
      end: () => {
        if (!active.calls.delete(call)) return
        if (active.calls.size === 0 && this.#byKey.get(keyId) === active) this.#byKey.delete(keyId)
        this.#count -= 1
        if (this.#count === 0) this.#idle?.()
      },
    }
  }

  keys(): IterableIterator<ApiKeyId> {
    return this.#byKey.keys()
  }

  /** Cuts the key's calls that may not go on. @param grant what the key is now, where that was read anew */
  judge(key: ApiKeyId, refusalOf: Verdict, grant?: KnownGrant): void {
    const active = this.#byKey.get(key)
    if (!active) return
    if (grant) active.grant = grant
    for (const call of active.calls) call.judge(refusalOf)
  }

  /** Cuts the calls of keys whose time is over: nobody changes such a key, so no change tells of it. */
  cutExpired(nowMs: number): void {
    for (const [key, { grant }] of this.#byKey) {
      const { redacted, expiresAtMs } = grant
      if (expiresAtMs === null || expiresAtMs > nowMs) continue
      const refusal = apiError('key_expired', { redacted, expiredAt: new Date(expiresAtMs).toISOString() })
      this.judge(key, () => refusal)
    }
  }

  /** Waits for the calls in flight; after the deadline the rest are cut, and given a moment to settle. */
  async drain(deadlineMs: number, settleMs: number): Promise<void> {
    if (await this.#idleWithin(deadlineMs)) return
    for (const { calls } of this.#byKey.values()) {
      for (const { cutSwitch } of calls) cutSwitch.cut('shutdown')
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
