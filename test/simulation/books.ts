/** The money of one organization as the database has it, read in one statement, so in one snapshot. */
import type { Period } from '#core/spending.ts'
import { only, prepared, type Queryable, sql } from '#storage/database.ts'
import { windowName } from './oracle.ts'

export type Window = { name: string; scope: string; period: Period; startsAtMs: number; spent: bigint; leased: bigint }
export type OpenLease = { id: string; node: string; account: string; open: bigint }

export type Books = {
  readonly credit: bigint
  readonly leased: bigint
  /** Of all accounts together, of this and of every other organization: zero, or money was made. */
  readonly sum: bigint
  readonly revenue: bigint
  readonly overrun: bigint
  readonly remaining: bigint
  /** Taken by the ends of grants. */
  readonly ended: bigint
  /** What has ended and remains, because it is leased or nobody has looked yet. */
  readonly ending: bigint
  readonly events: number
  readonly cost: bigint
  readonly charged: bigint
  readonly windows: readonly Window[]
  readonly leases: readonly OpenLease[]
  /** What was charged for calls whose lease was taken back, by their id. */
  readonly late: ReadonlyMap<string, bigint>
}

const text = `select
  (select json_object_agg(id, balance_nano_usd::text) from ledger_accounts
    where organization_id = $1 or organization_id is null) as balances,
  (select sum(balance_nano_usd)::text from ledger_accounts) as sum,
  (select json_build_object('remaining', coalesce(sum(remaining_nano_usd), 0)::text,
      'ended', coalesce(sum(ended_nano_usd), 0)::text,
      'ending', coalesce(sum(remaining_nano_usd) filter (where expires_at <= now() or revoked_at is not null), 0)::text)
    from credit_grants where organization_id = $1) as grants,
  (select json_build_object('events', count(*), 'cost', coalesce(sum(charged_nano_usd + overrun_nano_usd), 0)::text,
      'charged', coalesce(sum(charged_nano_usd), 0)::text)
    from usage_events where organization_id = $1) as usage,
  (select coalesce(json_agg(json_build_object('scope', scope_id, 'period', period, 'starts', extract(epoch from starts_at),
      'spent', spent_nano_usd::text, 'leased', leased_nano_usd::text)), '[]')
    from spend_windows where scope_id = any ($2)) as windows,
  (select coalesce(json_agg(json_build_object('id', id, 'node', node_id, 'scope', scope_id, 'period', period,
      'starts', extract(epoch from starts_at),
      'open', (granted_nano_usd - settled_nano_usd - returned_nano_usd)::text)), '[]')
    from leases where coalesce(scope_id, organization_id) = any ($2) and closed_at is null) as leases,
  (select coalesce(json_agg(json_build_object('id', id, 'charged', charged_nano_usd::text)), '[]')
    from usage_events where organization_id = $1 and lease_id = any ($3::uuid[])) as late`
const read = prepared('read_simulated_books', text)

type Amounts = Record<string, string>
type Place = { scope: string | null; period: Period | null; starts: number | null }
type Row = {
  balances: Amounts
  sum: string
  grants: Amounts
  usage: { events: number; cost: string; charged: string }
  windows: { scope: string; period: Period; starts: number; spent: string; leased: string }[]
  leases: (Place & { id: string; node: string; open: string })[]
  late: { id: string; charged: string }[]
}

/** @param scopes the organization, its projects and its keys @param lost leases that were taken back */
export async function readBooks(
  database: Queryable,
  scopes: readonly string[],
  lost: readonly string[],
): Promise<Books> {
  const [organization = ''] = scopes
  const { balances, grants, usage, ...row } = only(await database.query<Row>(read, [organization, scopes, lost]))
  const amount = (of: Amounts, name: string): bigint => BigInt(of[name] ?? 0)
  return {
    credit: amount(balances, `${organization}/credit`),
    leased: amount(balances, `${organization}/leased`),
    sum: BigInt(row.sum),
    revenue: amount(balances, 'platform/revenue'),
    overrun: amount(balances, 'platform/overrun'),
    remaining: amount(grants, 'remaining'),
    ended: amount(grants, 'ended'),
    ending: amount(grants, 'ending'),
    events: usage.events,
    cost: BigInt(usage.cost),
    charged: BigInt(usage.charged),
    windows: row.windows.map(({ scope, period, starts, spent, leased }) => {
      const startsAtMs = starts * 1_000
      const name = windowName(scope, period, startsAtMs)
      return { name, scope, period, startsAtMs, spent: BigInt(spent), leased: BigInt(leased) }
    }),
    leases: row.leases.map(({ id, node, open, ...place }) => ({
      id,
      node,
      account: accountOf(place),
      open: BigInt(open),
    })),
    late: new Map(row.late.map(({ id, charged }) => [id, BigInt(charged)])),
  }
}

const accountOf = ({ scope, period, starts }: Place): string =>
  scope === null || period === null || starts === null ? 'credit' : windowName(scope, period, starts * 1_000)

/** What is looked at when a history has ended: each row is something wrong. */
const audits = {
  'a transaction does not sum to zero': `select e.transaction_id::text as subject from ledger_entries e
    where e.transaction_id in (select transaction_id from ledger_entries where account_id like $1 || '/%')
    group by 1 having sum(e.amount_nano_usd) <> 0`,
  'a balance is not the sum of its entries': `select a.id as subject from ledger_accounts a
    left join ledger_entries e on e.account_id = a.id where a.organization_id = $1
    group by a.id having a.balance_nano_usd <> coalesce(sum(e.amount_nano_usd), 0)`,
  'a closed lease holds something': `select id::text as subject from leases where organization_id = $1
    and closed_at is not null and granted_nano_usd <> settled_nano_usd + returned_nano_usd`,
  'a grant that has ended remains': `select id as subject from credit_grants where organization_id = $1
    and (expires_at <= now() or revoked_at is not null) and remaining_nano_usd > 0`,
  'a grant ended before its time': `select id as subject from credit_grants where organization_id = $1
    and coalesce(expires_at > now(), true) and revoked_at is null and ended_nano_usd > 0`,
} as const satisfies Readonly<Record<string, string>>

export async function audit(database: Queryable, organization: string): Promise<string[]> {
  const wrong: string[] = []
  for (const [rule, query] of Object.entries(audits)) {
    for (const { subject } of await database.query<{ subject: string }>(sql(query), [organization])) {
      wrong.push(`${rule}: ${subject}`)
    }
  }
  return wrong
}

/** What every call was charged, and what the platform bore of it. */
export async function chargesOf(database: Queryable, organization: string): Promise<Map<string, [bigint, bigint]>> {
  const query =
    'select id, charged_nano_usd as charged, overrun_nano_usd as borne from usage_events where organization_id = $1'
  const rows = await database.query<{ id: string; charged: bigint; borne: bigint }>(sql(query), [organization])
  return new Map(rows.map(({ id, charged, borne }) => [id, [charged, borne]]))
}
