/** How this node is: for `keyhouse doctor`, and for whoever asks whether it is ready. */

import { within } from '#core/within.ts'
import type { Gateway } from '#gateway/gateway.ts'
import type { Inference } from '#inference/inference.ts'
import { maskCredentials } from '#observe/log.ts'
import type { Config } from '#src/config.ts'
import type { Troubles } from '#src/troubles.ts'
import { version } from '#src/version.ts'
import type { DataDirectory } from '#storage/data-directory.ts'
import { type Database, sql } from '#storage/database.ts'

export type StatusParts = {
  readonly config: Config
  readonly directory: DataDirectory
  readonly database: Database
  readonly gateway: Gateway
  readonly inference: Inference
  readonly startedAtMs: number
  readonly troubles: Troubles
}

/** Characters of what a trouble was met with. */
const reasonMax = 500
/** A database that takes longer cannot check keys in time: calls are refused, and the balancer is to know it at once. */
const readyMsMax = 1_000

/** Reasons for a load balancer to send nothing here. A full journal or a stale node refuses calls, so it is not ready. */
export async function unready(
  { gateway, database, troubles }: Pick<StatusParts, 'gateway' | 'database' | 'troubles'>,
  draining: boolean,
): Promise<string[]> {
  const reasons: string[] = []
  if (draining) reasons.push('the server is shutting down')
  if (gateway.journal.refusal) reasons.push(gateway.journal.refusal)
  if (troubles.list().some(({ kind }) => kind === 'secrets_differ'))
    reasons.push('the secrets are not those of this database')
  if (!gateway.grants.fresh) {
    const answers = await within(readyMsMax, askDatabase(database)).then(
      ({ ok }) => ok,
      () => false,
    )
    if (!answers) reasons.push('the database cannot be reached')
  }
  return reasons
}

export async function readStatus({
  config,
  directory,
  database,
  gateway,
  inference,
  startedAtMs,
  troubles,
}: StatusParts) {
  const { waiting, bytes, refusal, lastSinkError } = gateway.journal.report()
  const models = (await inference.list()).map(({ name, state }) => [name, state] as const)
  return {
    object: 'platform.status',
    version,
    node_version: process.versions.node,
    uptime_seconds: Math.round((gateway.now() - startedAtMs) / 1000),
    data_dir: directory.path,
    database: {
      kind: config.values['database-url'] === '' ? 'embedded' : 'external',
      ...(await askDatabase(database)),
    },
    journal: { waiting, bytes, refusal: refusal ?? null, last_error: lastSinkError ?? null },
    cluster: { nodes: gateway.cluster.current().count, rate_limits: gateway.counters.mode },
    auth_staleness_ms: Math.round(gateway.grants.stalenessMs),
    troubles: troubles.list().map(({ kind, about, sinceMs, reason }) => ({
      kind,
      about,
      since: Math.floor(sinceMs / 1000),
      reason: maskCredentials(reason).slice(0, reasonMax),
    })),
    calls_active: gateway.active.count,
    models: Object.fromEntries(models),
  }
}

type DatabaseStatus = { ok: boolean; version: string | null; latency_ms: number; size_bytes: number | null }

async function askDatabase(database: Database): Promise<DatabaseStatus> {
  const askedAtMs = performance.now()
  const latency = (): number => Math.round((performance.now() - askedAtMs) * 10) / 10
  try {
    const [row] = await database.query<{ version: string; size: bigint }>(
      sql("select current_setting('server_version') as version, pg_database_size(current_database()) as size"),
    )
    return { ok: true, version: row?.version ?? null, latency_ms: latency(), size_bytes: Number(row?.size ?? 0) }
  } catch {
    return { ok: false, version: null, latency_ms: latency(), size_bytes: null }
  }
}
