/**
 * What is true of the money at any moment, under load or not, and what is true when nothing runs: each rule a query that
 * gives what breaks it. Written apart from the rules by which `keyhouse ledger verify` works, so that each is a check on the other.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Books } from './books.ts'

type Rules = Readonly<Record<string, string>>

const perOrganization = `select o.id,
    coalesce((select sum(amount_nano_usd - ended_nano_usd) from credit_grants where organization_id = o.id), 0) as granted,
    coalesce((select sum(remaining_nano_usd) from credit_grants where organization_id = o.id), 0) as remaining,
    coalesce((select sum(balance_nano_usd) from ledger_accounts where organization_id = o.id), 0) as balance,
    coalesce((select balance_nano_usd from ledger_accounts where organization_id = o.id and kind = 'leased'), 0) as leased,
    coalesce((select sum(charged_nano_usd) from usage_events where organization_id = o.id), 0) as charged,
    coalesce((select sum(granted_nano_usd - settled_nano_usd - returned_nano_usd) from leases
      where organization_id = o.id and scope_id is null and closed_at is null), 0) as open
  from organizations o`

const spentByScope = `select scope, period, starts_at, sum(charged) as spent from (
    select organization_id as scope, 'month' as period, date_trunc('month', occurred_at, 'UTC') as starts_at,
      charged_nano_usd as charged from usage_events
    union all select project_id, 'month', date_trunc('month', occurred_at, 'UTC'), charged_nano_usd from usage_events
    union all select b.key_id, b.period,
        case b.period when 'total' then to_timestamp(0) else date_trunc(b.period, u.occurred_at, 'UTC') end, u.charged_nano_usd
      from usage_events u join api_keys k on k.id = u.api_key_id join key_budgets b on b.key_id = coalesce(k.budget_key_id, k.id)
  ) parts group by 1, 2, 3`

const always: Rules = {
  'every ledger transaction sums to zero': `select transaction_id, sum(amount_nano_usd) from ledger_entries
    group by 1 having sum(amount_nano_usd) <> 0`,
  'a balance is the sum of its entries': `select a.id, a.balance_nano_usd, sum(e.amount_nano_usd) from ledger_accounts a
    left join ledger_entries e on e.account_id = a.id group by a.id
    having a.balance_nano_usd <> coalesce(sum(e.amount_nano_usd), 0)`,
  'credit + leased + charged = granted - expired - revoked': `select * from (${perOrganization}) o
    where balance + charged <> granted`,
  'what remains of the grants is credit + leased': `select * from (${perOrganization}) o where remaining <> balance`,
  'leased is what the open leases hold': `select * from (${perOrganization}) o where leased <> open`,
  'revenue and overrun are what usage says': `select * from (select
      (select balance_nano_usd from ledger_accounts where id = 'platform/revenue') as revenue,
      -(select balance_nano_usd from ledger_accounts where id = 'platform/overrun') as overrun,
      coalesce(sum(charged_nano_usd), 0) as charged, coalesce(sum(overrun_nano_usd), 0) as borne from usage_events) sums
    where revenue <> charged + borne or overrun <> borne`,
  'no call is charged twice': 'select request_id, count(*) from usage_events group by 1 having count(*) > 1',
  'a window has spent what its usage says': `select * from (${spentByScope}) u
    full join (select scope_id as scope, period, starts_at, spent_nano_usd from spend_windows) w using (scope, period, starts_at)
    where coalesce(u.spent, 0) <> coalesce(w.spent_nano_usd, 0)`,
  'what is leased of a window is what its open leases hold': `select * from
      (select scope_id, period, starts_at, leased_nano_usd from spend_windows where leased_nano_usd <> 0) w
    full join (select scope_id, period, starts_at, sum(granted_nano_usd - settled_nano_usd - returned_nano_usd) as open
      from leases where closed_at is null and scope_id is not null group by 1, 2, 3) l using (scope_id, period, starts_at)
    where coalesce(w.leased_nano_usd, 0) <> coalesce(l.open, 0)`,
  'a closed lease holds nothing': `select id from leases
    where closed_at is not null and granted_nano_usd <> settled_nano_usd + returned_nano_usd`,
  'a node that has left has no lease': `select l.id from leases l join nodes n on n.id = l.node_id
    where l.closed_at is null and n.left_at is not null`,
}

const idle: Rules = {
  'no credit is leased': `select id, balance_nano_usd from ledger_accounts where kind = 'leased' and balance_nano_usd <> 0`,
  'nothing of a spend limit is leased': 'select * from spend_windows where leased_nano_usd <> 0',
  'no lease is open': 'select * from leases where closed_at is null',
}

const lookEveryMs = 50

async function broken(books: Books, rules: Rules): Promise<string[]> {
  const found: string[] = []
  for (const [rule, text] of Object.entries(rules)) {
    const rows = await books.query(text)
    if (rows.length > 0) found.push(`${rule}: ${JSON.stringify(rows.slice(0, 3), plain)}`)
  }
  return found
}

const plain = (_name: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)

/** At any moment: each rule is asked in one statement, which sees one snapshot. */
export async function expectMoneyHolds(books: Books, context: string): Promise<void> {
  expect(await broken(books, always), context).toEqual([])
}

/** Once nothing runs, within this time all that is held and leased has gone back. */
export async function expectNothingHeld(books: Books, context: string, waitMs: number): Promise<void> {
  const deadline = performance.now() + waitMs
  let found = await broken(books, idle)
  while (found.length > 0 && performance.now() < deadline) {
    await sleep(lookEveryMs)
    found = await broken(books, idle)
  }
  expect(found, context).toEqual([])
}
