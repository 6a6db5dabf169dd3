/** A key was found in the open: if it is ours and lives, it is disabled, and the audit log says where it was found. */
import { newId } from '#contract/ids.ts'
import type { Grant } from '#core/grant.ts'
import { maskKeys, parseKey } from '#core/key-format.ts'
import { findApiKey } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { findGrant } from '#storage/grants.ts'
import { disableLeakedKey, insertLeakReport, isNewLeak, type LeakReport } from '#storage/leak-reports.ts'
import { ownerAddresses } from '#storage/mails.ts'
import { findProject } from '#storage/projects.ts'
import { hashKey } from '#storage/secrets.ts'
import { change, type Source } from './change.ts'
import { affectedBy } from './existing-key.ts'
import { queueMail } from './mail/queue-mail.ts'
import type { PlatformParts } from './platform.ts'

type Parts = Pick<PlatformParts, 'database' | 'secrets' | 'wallClock'>
type Found = { readonly key: string; readonly source: string; readonly url: string | null; readonly from: Source }

/** True when it is a key of ours, alive or not. Whoever hands it in has shown that they hold it. */
export async function reportLeak(parts: Parts, { key: given, from, ...place }: Found): Promise<boolean> {
  const key = given.trim()
  if (!parseKey(key).ok) return false
  const grant = await findGrant(parts.database, hashKey(parts.secrets, key))
  if (!grant) return false
  // The place may hold the key as well, as an URL with a query does
  const url = place.url === null || place.url === '' ? null : maskKeys(place.url)
  const report = { keyId: grant.keyId, source: maskKeys(place.source), url }
  if (isLive(grant, parts.wallClock()) || (await isNewLeak(parts.database, report))) {
    await keep(parts, { grant, report, from })
  }
  return true
}

/** One that sleeps, or whose owner is away, could wake. */
const isLive = ({ state, expiresAtMs }: Grant, nowMs: number): boolean =>
  state !== 'revoked' && state !== 'disabled' && (expiresAtMs === null || expiresAtMs > nowMs)

/** The found key is the actor: nothing else is known of who handed it in, but that they hold it, and from where. */
function keep(
  parts: Parts,
  { grant, report, from }: { grant: Grant; report: LeakReport; from: Source },
): Promise<void> {
  return change(parts, { grant, source: from }, async tx => {
    const { keyId, organizationId, projectId } = grant
    const project = projectId === null ? null : ((await findProject(tx, organizationId, projectId)) ?? null)
    const affects = projectId === null ? [['api_key', keyId] as const] : await affectedBy(tx, projectId, keyId)
    const disabled = await disableLeakedKey(tx, keyId)
    await insertLeakReport(tx, { ...report, id: newId('leak_report'), wasLive: disabled })
    await tellOwners(tx, { grant, report, project: project?.name ?? null, disabled })
    const leak = { source: report.source, url: report.url }
    const detail = { changes_requested: disabled ? { disabled, leak } : { leak } }
    return {
      answer: undefined,
      audit: [{ type: 'api_key.updated', project, resourceId: keyId, detail }],
      affects: disabled ? affects : [],
    }
  })
}

async function tellOwners(
  tx: Queryable,
  found: { grant: Grant; report: LeakReport; project: string | null; disabled: boolean },
): Promise<void> {
  const { organizationId, projectId, keyId, redacted } = found.grant
  const key = await findApiKey(tx, { organizationId, projectId }, keyId)
  const { source, url } = found.report
  await queueMail(tx, 'key_leaked', {
    organizationId,
    to: await ownerAddresses(tx, organizationId),
    about: { keyId, redacted, name: key?.name ?? keyId, project: found.project, source, url, disabled: found.disabled },
  })
}
