/**
 * What must be true of the money, one rule a row: a query that gives what breaks it, in nano-dollars. All of them are asked in
 * one snapshot, in which everything that belongs together is there or nothing of it.
 */
export type LedgerRule = {
  readonly about: string
  /** Gives `subject`, `expected`, `found`, a row for each thing that breaks the rule. */
  readonly text: string
  /** A later run that does not see it any more has looked at it; others look at what is new, or at some. */
  readonly seesAll: boolean
  /** Its $1 is how far usage is added up: as a value, since the planner must know how few rows are beyond. */
  readonly asksMark?: boolean
}

/** Every statement is over within this, so that what began before it has ended, one way or the other. */
const settledAfter = '10 minutes'
/** Windows that one run compares with usage, unless it is a full one. */
const windowsAtOnce = 200
/** Rows that one rule may bring: beyond that the rest is not needed to see that something is wrong. */
const foundMax = 1_000

const since = `(select coalesce(min(verified_until), '-infinity') from ledger_checkpoints)`
const openAmount = 'granted_nano_usd - settled_nano_usd - returned_nano_usd'

/** Of the current and the last month, by the rules of settle_windows: a key's only while it has a budget, and that is what it was. */
const checkableWindows = `select w.scope_id, w.period, w.starts_at, w.spent_nano_usd,
    (w.starts_at at time zone 'UTC' + ('1 ' || w.period)::interval) at time zone 'UTC' as ends_at
  from spend_windows w left join key_budgets b on b.key_id = w.scope_id
  where w.period <> 'total' and w.starts_at >= date_trunc('month', now(), 'UTC') - interval '1 month'
    and w.starts_at >= (select before from usage_dropped)
    and (w.period = 'month' and not exists (select from api_keys k where k.id = w.scope_id)
      or b.period = w.period and w.starts_at >= window_start(w.period, b.updated_at))`

type Place = { readonly organization: string; readonly inGroup: string; readonly inEvent: string }

const keysOf = 'select k.id from api_keys k where k.id = w.scope_id or k.budget_key_id = w.scope_id'
/** Where a window's usage is found: by organization, and there by project or key. */
const places = {
  organization: { organization: 'o.id', inGroup: 'true', inEvent: 'true' },
  project: { organization: 'p.organization_id', inGroup: 'g.project_id = p.id', inEvent: 'u.project_id = p.id' },
  key: {
    organization: 'b.organization_id',
    inGroup: `g.api_key_id in (${keysOf})`,
    inEvent: `u.api_key_id in (${keysOf})`,
  },
} as const satisfies Readonly<Record<string, Place>>

const ofEvents = ({ organization, inEvent }: Place): string => `select sum(u.charged_nano_usd) from usage_events u
  where u.organization_id = ${organization} and u.occurred_at >= w.starts_at and u.occurred_at < w.ends_at and ${inEvent}`

const ofRollup = (table: 'usage_days' | 'usage_not_added_up', { organization, inGroup }: Place): string => `coalesce((
    select sum(r.charged_nano_usd) from usage_organizations n
      join ${table} r on r.organization_number = n.number
      join usage_groups g on g.organization_number = n.number and g.id = r.group_id
    where n.organization_id = ${organization} and r.starts_at >= w.starts_at and r.starts_at < w.ends_at and ${inGroup}), 0)`

/** The same from the days that are added up, and what is not added up yet: as fast for millions of calls. Windows begin at midnight. */
const ofRollups = (place: Place): string => `${ofRollup('usage_days', place)} + ${ofRollup('usage_not_added_up', place)}
  + coalesce((select sum(u.charged_nano_usd) from (select * from usage_events where settled_in >= $1::xid8 offset 0) u
    where u.organization_id = ${place.organization} and u.occurred_at >= w.starts_at and u.occurred_at < w.ends_at
      and ${place.inEvent}), 0)`

/** With the windows that were not compared for the longest time first. */
const chosenWindows = (most: number | null): string => `select w.* from (${checkableWindows}) w
  left join spend_window_checks c using (scope_id, period, starts_at)
  order by c.checked_at nulls first, w.scope_id, w.period, w.starts_at${most === null ? '' : ` limit ${most}`}`

/** @param most windows, by their rollups; null: all, call by call */
function spent(most: number | null): LedgerRule {
  const of = most === null ? ofEvents : ofRollups
  return {
    about: 'what a window says was spent is the sum of its usage',
    seesAll: most === null,
    asksMark: most !== null,
    text: `select * from (
      select w.scope_id || ' ' || w.period || ' ' || to_char(w.starts_at at time zone 'UTC', 'YYYY-MM-DD') as subject,
        coalesce(case when o.id is not null then (${of(places.organization)}) when p.id is not null then (${of(places.project)})
          else (${of(places.key)}) end, 0) as expected,
        w.spent_nano_usd as found
      from (${chosenWindows(most)}) w
        left join organizations o on o.id = w.scope_id left join projects p on p.id = w.scope_id
        left join api_keys b on b.id = w.scope_id) compared
      where expected <> found`,
  }
}

/** Remembers which windows a run has compared. To be asked right after it, in its snapshot. */
export const rememberWindows = (full: boolean): string => `insert into spend_window_checks (scope_id, period, starts_at)
  select scope_id, period, starts_at from (${chosenWindows(full ? null : windowsAtOnce)}) chosen
  on conflict (scope_id, period, starts_at) do update set checked_at = now()`

export const forgetOldWindows = `delete from spend_window_checks
  where starts_at < date_trunc('month', now(), 'UTC') - interval '1 month'`

/** Moves the checkpoints on to what cannot be joined by more entries. */
export const moveCheckpoints = `insert into ledger_checkpoints (account_id, sum_nano_usd, verified_until)
  select a.id, coalesce(c.sum_nano_usd, 0) + coalesce(r.amount, 0), now() - interval '${settledAfter}'
  from ledger_accounts a left join ledger_checkpoints c on c.account_id = a.id
    left join (select e.account_id, sum(e.amount_nano_usd) as amount
      from ledger_transactions t join ledger_entries e on e.transaction_id = t.id
      where t.created_at > ${since} and t.created_at <= now() - interval '${settledAfter}'
      group by 1) r on r.account_id = a.id
  on conflict (account_id) do update
    set sum_nano_usd = excluded.sum_nano_usd, verified_until = excluded.verified_until`

const rules = (full: boolean) =>
  ({
    transactions: {
      about: 'the entries of a transaction sum to zero',
      // Older ones are looked at in a full run only
      seesAll: full,
      text: `select t.id::text as subject, 0 as expected, sum(e.amount_nano_usd) as found
        from ledger_transactions t left join ledger_entries e on e.transaction_id = t.id
        where t.created_at > ${since}
        group by t.id having sum(e.amount_nano_usd) is distinct from 0`,
    },
    balances: {
      about: 'a balance is the sum of the entries of its account',
      seesAll: true,
      text: `select * from (
        select a.id as subject, coalesce(c.sum_nano_usd, 0) + coalesce(r.amount, 0) as expected, a.balance_nano_usd as found
        from ledger_accounts a left join ledger_checkpoints c on c.account_id = a.id
          left join (select e.account_id, sum(e.amount_nano_usd) as amount
            from ledger_transactions t join ledger_entries e on e.transaction_id = t.id
            where t.created_at > ${since} group by 1) r on r.account_id = a.id) compared
        where expected <> found`,
    },
    leases: {
      about: "what an organization's nodes have leased is what its open leases hold",
      seesAll: true,
      text: `select a.id as subject, coalesce(l.amount, 0) as expected, a.balance_nano_usd as found
        from ledger_accounts a left join (select organization_id, sum(${openAmount}) as amount from leases
          where closed_at is null and scope_id is null group by 1) l on l.organization_id = a.organization_id
        where a.kind = 'leased' and a.balance_nano_usd <> coalesce(l.amount, 0)`,
    },
    grants: {
      about: 'what is left of the credit grants is the credit and what is leased of it',
      seesAll: true,
      text: `select a.organization_id as subject, sum(a.balance_nano_usd) as expected, coalesce(max(g.amount), 0) as found
        from ledger_accounts a left join (select organization_id, sum(remaining_nano_usd) as amount from credit_grants
          group by 1) g on g.organization_id = a.organization_id
        where a.kind in ('credit', 'leased')
        group by 1 having sum(a.balance_nano_usd) <> coalesce(max(g.amount), 0)`,
    },
    'leased windows': {
      about: 'what is leased of a spend limit is what the open leases on it hold',
      seesAll: true,
      text: `select scope_id || ' ' || period || ' ' || to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD') as subject,
          coalesce(l.amount, 0) as expected, coalesce(w.leased_nano_usd, 0) as found
        from (select * from spend_windows where leased_nano_usd <> 0) w
          full join (select scope_id, period, starts_at, sum(${openAmount}) as amount from leases
            where closed_at is null and scope_id is not null group by 1, 2, 3) l using (scope_id, period, starts_at)
        where coalesce(l.amount, 0) <> coalesce(w.leased_nano_usd, 0)`,
    },
    'spent windows': spent(full ? null : windowsAtOnce),
    'lost leases': {
      about: 'a node that has left, or that nobody knows, has nothing leased a day later',
      seesAll: true,
      text: `select l.id::text as subject, 0 as expected, ${openAmount} as found
        from leases l left join nodes n on n.id = l.node_id
        where l.closed_at is null and (n.left_at < now() - interval '1 day'
          or (n.id is null and l.opened_at < now() - interval '1 day'))`,
    },
  }) as const satisfies Readonly<Record<string, LedgerRule>>

export type LedgerRuleName = keyof ReturnType<typeof rules>

/** By name, each with its bound. Those of a full run begin at the first transaction. */
export const ledgerRules = (full: boolean): readonly (readonly [LedgerRuleName, LedgerRule])[] =>
  Object.entries(rules(full)).map(
    // entries() forgets that these are the names of the table above
    ([name, rule]) => [name as LedgerRuleName, { ...rule, text: `${rule.text} limit ${foundMax}` }] as const,
  )
