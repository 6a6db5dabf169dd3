/** The money and the usage as the database has them, read beside the running server. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { expect } from 'vitest'
import { makeRunDirectory } from '../../src/storage/run-directory.ts'

export type UsageRow = {
  readonly request_id: string
  readonly endpoint: string
  readonly model: string
  readonly outcome: string
  readonly estimated: boolean
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
  readonly charged_nano_usd: bigint
  readonly overrun_nano_usd: bigint
}

export type Totals = {
  readonly granted: bigint
  readonly credit: bigint
  readonly leased: bigint
  readonly revenue: bigint
  readonly overrun: bigint
  /** Credit that was there until its time was over. */
  readonly expired: bigint
  /** Of the usage rows. */
  readonly charged: bigint
  readonly borne: bigint
  /** Of all ledger entries: zero, or money was made. */
  readonly sum: bigint
}

const waitMs = 8_000
const lookEveryMs = 20

export class Books {
  readonly #client: pg.Client

  private constructor(client: pg.Client) {
    this.#client = client
  }

  /** Waits for a database that is just being started again. */
  static async open(dataDir: string): Promise<Books> {
    for (const deadline = performance.now() + waitMs; ; await sleep(lookEveryMs)) {
      try {
        return await Books.#connect(dataDir)
      } catch (error) {
        if (performance.now() > deadline) throw error
      }
    }
  }

  static async #connect(dataDir: string): Promise<Books> {
    const client = new pg.Client({
      host: makeRunDirectory(dataDir),
      port: 5432,
      user: 'keyhouse',
      database: 'keyhouse',
      ssl: false,
      query_timeout: waitMs,
      types: { getTypeParser: parserOf },
    })
    // The tests stop, and even kill, the server under this connection; the next query tells
    client.on('error', () => undefined)
    await client.connect()
    return new Books(client)
  }

  async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#client.query<Row>(text, [...values])).rows
  }

  close(): Promise<void> {
    return this.#client.end()
  }

  /** The usage row of one call, as soon as it has come out of the journal. */
  async usageOf(requestId: string | null): Promise<UsageRow> {
    const rows = await this.#until(
      () => this.query<UsageRow>('select * from usage_events where request_id = $1', [requestId]),
      found => found.length > 0,
    )
    expect(rows, `one usage row for ${requestId}`).toHaveLength(1)
    // Checked to be there by the line before.
    return rows[0] as UsageRow
  }

  async totals(): Promise<Totals> {
    const [row] = await this.query<Totals>(
      `select -(select balance_nano_usd from ledger_accounts where id = 'platform/funding') as granted,
         (select sum(balance_nano_usd)::bigint from ledger_accounts where kind = 'credit') as credit,
         (select coalesce(sum(balance_nano_usd), 0)::bigint from ledger_accounts where kind = 'leased') as leased,
         (select balance_nano_usd from ledger_accounts where id = 'platform/revenue') as revenue,
         (select -balance_nano_usd from ledger_accounts where id = 'platform/overrun') as overrun,
         (select balance_nano_usd from ledger_accounts where id = 'platform/breakage') as expired,
         (select coalesce(sum(charged_nano_usd), 0)::bigint from usage_events) as charged,
         (select coalesce(sum(overrun_nano_usd), 0)::bigint from usage_events) as borne,
         (select coalesce(sum(amount_nano_usd), 0)::bigint from ledger_entries) as sum`,
    )
    if (!row) throw new Error('no totals')
    return row
  }

  /** Waits until nothing is reserved any more, and checks that every nano-dollar is accounted for. */
  async expectBalanced(): Promise<Totals> {
    const totals = await this.#until(
      () => this.totals(),
      ({ leased }) => leased === 0n,
    )
    expect(totals.leased, 'nothing stays reserved').toBe(0n)
    expect(totals.sum).toBe(0n)
    expect(totals.credit + totals.charged + totals.expired).toBe(totals.granted)
    expect(totals.revenue).toBe(totals.charged + totals.borne)
    expect(totals.overrun).toBe(totals.borne)
    return totals
  }

  /** What remains of each organization's credit grants is its credit and what is leased of it. */
  async expectGrants(): Promise<void> {
    const wrong = await this.query(
      `select organization_id, sum(balance_nano_usd) as account, (select coalesce(sum(remaining_nano_usd), 0)
         from credit_grants g where g.organization_id = a.organization_id) as grants
       from ledger_accounts a where kind in ('credit', 'leased') group by organization_id
       having sum(balance_nano_usd) <> (select coalesce(sum(remaining_nano_usd), 0)
         from credit_grants g where g.organization_id = a.organization_id)`,
    )
    expect(wrong).toEqual([])
  }

  async #until<Found>(look: () => Promise<Found>, isThere: (found: Found) => boolean): Promise<Found> {
    const deadline = performance.now() + waitMs
    let found = await look()
    while (!isThere(found) && performance.now() < deadline) {
      await sleep(lookEveryMs)
      found = await look()
    }
    return found
  }
}

const int8 = 20

function parserOf(oid: number, format?: 'text' | 'binary') {
  return oid === int8 ? BigInt : pg.types.getTypeParser(oid, format as 'text')
}
