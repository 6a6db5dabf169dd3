/** What organizations, projects and keys have spent of a period, and what nodes have leased of the rest of their limits. */
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'
import { largerUsd, type NanoUsd, nanoUsd, zeroUsd } from '#core/money.ts'
import { type Period, periodEnd } from '#core/spending.ts'
import { only, type Queryable, sql } from './database.ts'

export type SpendWindow = {
  readonly startsAt: Date
  /** Undefined: what was spent once is spent for ever. */
  readonly endsAt: Date | undefined
  readonly spent: NanoUsd
  readonly leased: NanoUsd
  /** The tightest that holds; undefined: none. */
  readonly limit: NanoUsd | undefined
  /** What the limit leaves; nothing where more is spent. */
  readonly remaining: NanoUsd | undefined
}

type WindowRow = { starts_at: Date; spent: bigint; leased: bigint; most: bigint | null }

/** The current window, by the database's clock. */
export async function readSpendWindow(
  database: Queryable,
  scope: OrganizationId | ProjectId | ApiKeyId,
  period: Period,
): Promise<SpendWindow> {
  const text = `select n.starts_at, coalesce(w.spent_nano_usd, 0)::bigint as spent,
      coalesce(w.leased_nano_usd, 0)::bigint as leased, spend_limit_of($1, $2) as most
    from (select window_start($2, now()) as starts_at) n
      left join spend_windows w on w.scope_id = $1 and w.period = $2 and w.starts_at = n.starts_at`
  return toWindow(only(await database.query<WindowRow>(sql(text), [scope, period])), period)
}

function toWindow({ starts_at: startsAt, spent, leased, most }: WindowRow, period: Period): SpendWindow {
  const endsAtMs = periodEnd(period, startsAt.getTime())
  return {
    startsAt,
    endsAt: endsAtMs === undefined ? undefined : new Date(endsAtMs),
    spent: nanoUsd(spent),
    leased: nanoUsd(leased),
    limit: most === null ? undefined : nanoUsd(most),
    remaining: most === null ? undefined : largerUsd(zeroUsd, nanoUsd(most - spent - leased)),
  }
}

/** The monthly cap of the organization's usage tier; undefined: none. */
export async function readUsageCap(database: Queryable, organization: OrganizationId): Promise<NanoUsd | undefined> {
  const text = 'select usage_cap_nano_usd as cap from organizations where id = $1'
  const { cap } = only(await database.query<{ cap: bigint | null }>(sql(text), [organization]))
  return cap === null ? undefined : nanoUsd(cap)
}
