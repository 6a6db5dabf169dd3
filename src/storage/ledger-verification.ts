/** Asks every rule of the ledger in one snapshot, and keeps what breaks them. */
import { type Database, only, type Queryable, sql } from './database.ts'
import {
  forgetOldWindows,
  type LedgerRule,
  type LedgerRuleName,
  ledgerRules,
  moveCheckpoints,
  rememberWindows,
} from './ledger-rules.ts'
import { onOwnConnection } from './own-connection.ts'

export type LedgerFinding = {
  rule: string
  subject: string
  /** Nano-dollars, as text: they may be beyond what an amount can be. */
  expected: string | null
  found: string | null
  found_at: Date
  seen_at: Date
}

const partTimeoutMs = 60_000
const fullTimeoutMs = 15 * 60_000
const lockKey = 4150927006

/**
 * @param full from the first transaction and over all windows; else what is new since the last run, and some windows
 * @returns what is wrong now, the news first
 */
export function verifyLedger(database: Database, full: boolean): Promise<{ findings: LedgerFinding[]; fresh: number }> {
  return onOwnConnection(database, full ? fullTimeoutMs : partTimeoutMs, async session => {
    // Before the transaction: what it sees must be what is there once nobody else verifies
    await session.query(sql('select pg_advisory_lock($1)'), [lockKey])
    await session.query(sql('begin isolation level repeatable read'))
    if (full) await session.query(sql('delete from ledger_checkpoints'))
    let fresh = 0
    const marks = await session.query<{ mark: string }>(sql('select settled_before::text as mark from usage_rolled_up'))
    for (const [name, rule] of ledgerRules(full)) fresh += await check(session, { name, rule, mark: only(marks).mark })
    await session.query(sql(rememberWindows(full)))
    await session.query(sql(forgetOldWindows))
    await session.query(sql(moveCheckpoints))
    await session.query(sql('commit'))
    return { findings: await openLedgerFindings(session), fresh }
  })
}

type Broken = { subject: string; expected: string | null; found: string | null }

/** @returns how many things break the rule that did not before */
async function check(
  session: Queryable,
  { name, rule, mark }: { name: LedgerRuleName; rule: LedgerRule; mark: string },
): Promise<number> {
  const broken = await session.query<Broken>(sql(rule.text), rule.asksMark ? [mark] : [])
  const rows = JSON.stringify(
    broken.map(({ subject, expected, found }) => ({ subject, expected: `${expected ?? ''}`, found: `${found ?? ''}` })),
  )
  const kept = await session.query<{ is_new: boolean }>(sql(keep), [name, rows])
  if (rule.seesAll) await session.query(sql(close), [name, broken.map(({ subject }) => subject)])
  return kept.filter(row => row.is_new).length
}

const keep = `insert into ledger_findings (rule, subject, expected, found)
  select $1, subject, nullif(expected, '')::numeric, nullif(found, '')::numeric
  from json_to_recordset($2) as b (subject text, expected text, found text)
  on conflict (rule, subject) where gone_at is null do update
    set seen_at = now(), expected = excluded.expected, found = excluded.found
  returning xmax = 0 as is_new`

const close = `update ledger_findings set gone_at = now() where rule = $1 and gone_at is null and subject <> all($2)`

const findingsShownMax = 1_000

/** Those of now, newest first. */
export function openLedgerFindings(database: Queryable): Promise<LedgerFinding[]> {
  const text = `select rule, subject, expected::text, found::text, found_at, seen_at from ledger_findings
    where gone_at is null order by found_at desc, id desc limit ${findingsShownMax}`
  return database.query<LedgerFinding>(sql(text))
}

export async function countLedgerFindings(database: Queryable): Promise<number> {
  const text = 'select count(*) as count from ledger_findings where gone_at is null'
  return Number(only(await database.query<{ count: bigint }>(sql(text))).count)
}
