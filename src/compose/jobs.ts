/** What is done now and then, by one node for all: see platform/jobs/. */
import type { Metrics } from '#observe/metrics.ts'
import { startJobs } from '#platform/jobs/start-jobs.ts'
import type { Config } from '#src/config.ts'
import { applyRetention, showDropped } from '#storage/usage-retention.ts'
import { rollUpUsage, sealUsage } from '#storage/usage-rollups.ts'
import type { Base } from './base.ts'
import type { Storage } from './storage.ts'

/** Where mail goes out, and the address that its links lead to. */
export function mailOf({ values }: Config): { smtpUrl: string; from: string; publicUrl: string } | undefined {
  const { 'smtp-url': smtpUrl, 'mail-from': from, 'public-url': url } = values
  return smtpUrl === '' ? undefined : { smtpUrl, from, publicUrl: url.replace(/\/+$/, '') }
}

export async function openJobs(
  { config, log, closing, troubles }: Base,
  { database, connection, secrets, node }: Storage,
  { metrics, wallClock }: { metrics: Metrics; wallClock: () => number },
): Promise<void> {
  const { values } = config
  const timeoutMs = values['database-timeout-ms']
  const jobs = await startJobs({
    connection,
    connectTimeoutMs: timeoutMs,
    statementTimeoutMs: timeoutMs,
    nodeId: node,
    mail: mailOf(config),
    metrics,
    trouble: job => troubles.of('job_failing', job),
    parts: {
      database,
      secrets,
      log,
      wallClock,
      lostNodeMinutes: values['lost-node-minutes'],
      async rollUpUsage() {
        const { rows } = await rollUpUsage(database)
        await sealUsage(database)
        return rows
      },
      async applyRetention() {
        return showDropped(
          await applyRetention(database, new Date(wallClock()), { usageDays: values['usage-retention-days'] }),
        )
      },
    },
  })
  closing.add('jobs', () => jobs.stop())
}
