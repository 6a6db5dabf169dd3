/** What callers saw of their calls over many rounds, against what the database says was charged. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Books } from './books.ts'
import type { Ending, Sent } from './mixed-load.ts'

/** A journal tries a database that was away again after five seconds at the most. */
const deliveryMsMax = 12_000
const lookEveryMs = 50

export class CallRecord {
  readonly #endings = new Map<string, Ending>()

  add(sent: readonly Sent[]): void {
    for (const { requestId, ending } of sent) if (requestId !== null) this.#endings.set(requestId, ending)
  }

  count(ending: Ending): number {
    return this.#with(ending).length
  }

  /** What was seen whole is charged once, what was refused is not charged, and nothing is charged twice. */
  async expectCharged(books: Books, context: string): Promise<void> {
    const whole = this.#with('whole')
    const deadline = performance.now() + deliveryMsMax
    let charged = await chargedCalls(books)
    while (whole.some(id => !charged.has(id)) && performance.now() < deadline) {
      await sleep(lookEveryMs)
      charged = await chargedCalls(books)
    }
    expect(
      whole.filter(id => !charged.has(id)),
      `${context}: answered whole and not charged`,
    ).toEqual([])
    expect(
      [...charged].filter(([, rows]) => rows !== 1n),
      `${context}: charged twice`,
    ).toEqual([])
    expect(
      this.#with('refused').filter(id => charged.has(id)),
      `${context}: refused and charged`,
    ).toEqual([])
  }

  #with(ending: Ending): string[] {
    return [...this.#endings].filter(([, each]) => each === ending).map(([id]) => id)
  }
}

async function chargedCalls(books: Books): Promise<Map<string, bigint>> {
  const text = 'select request_id, count(*) as rows from usage_events group by request_id'
  const rows = await books.query<{ request_id: string; rows: bigint }>(text)
  return new Map(rows.map(row => [row.request_id, row.rows]))
}
