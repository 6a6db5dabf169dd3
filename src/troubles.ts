/** What is wrong now: said once when it begins, once when it is over, and told meanwhile to whoever asks. */
import { type Trouble, type TroubleKind, type TroubleRow, troubleKinds, troubles } from '#contract/troubles.ts'
import type { Log } from '#observe/log.ts'

export type OpenTrouble = {
  readonly kind: TroubleKind
  /** Which provider, job and so on; empty where there is but one. */
  readonly about: string
  readonly sinceMs: number
  /** As met last. */
  readonly reason: string
}

type Open = { readonly kind: TroubleKind; about: string; sinceMs: number; seenMs: number; reason: string }

export class Troubles {
  readonly #log: Log
  readonly #wallClock: () => number
  readonly #open = new Map<string, Open>()

  constructor(log: Log, wallClock: () => number) {
    this.#log = log
    this.#wallClock = wallClock
  }

  of(kind: TroubleKind, about = ''): Trouble {
    const id = `${kind} ${about}`
    return {
      began: error => this.#began(id, { kind, about, error }),
      over: () => {
        if (this.#open.size > 0) this.#over(id)
      },
    }
  }

  /** The oldest first. */
  list(): readonly OpenTrouble[] {
    const now = this.#wallClock()
    for (const [id, { kind, seenMs }] of this.#open) {
      const { quietMs = Number.POSITIVE_INFINITY }: TroubleRow = troubles[kind]
      if (now - seenMs > quietMs) this.#over(id)
    }
    return [...this.#open.values()]
  }

  /** How many of each kind are open. */
  counts(): ReadonlyMap<TroubleKind, number> {
    const counts = new Map(troubleKinds.map(kind => [kind, 0]))
    for (const { kind } of this.list()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
    return counts
  }

  #began(id: string, { kind, about, error }: { kind: TroubleKind; about: string; error: unknown }): void {
    const seenMs = this.#wallClock()
    const reason = error instanceof Error ? error.message : String(error)
    const open = this.#open.get(id)
    if (open) return void Object.assign(open, { seenMs, reason })
    this.#open.set(id, { kind, about, sinceMs: seenMs, seenMs, reason })
    this.#log.error({ trouble: kind, ...(about !== '' && { about }), err: error }, troubles[kind].message)
  }

  #over(id: string): void {
    const open = this.#open.get(id)
    if (!open) return
    this.#open.delete(id)
    const { kind, about, sinceMs } = open
    const lasted = Math.round((this.#wallClock() - sinceMs) / 1000)
    const since = new Date(sinceMs).toISOString()
    // Whoever sees the beginning is to see the end
    this.#log.warn(
      { trouble: kind, ...(about !== '' && { about }), since, lasted_s: lasted },
      `over: ${troubles[kind].message.replace(/[:,.] .*/s, '')}`,
    )
  }
}
