/**
 * The one way to change anything: in one transaction the change itself, its entry in the audit log, and the event that makes
 * every node forget what it knew. A handler that changes something without an entry does not compile.
 */
import { newId, type OrganizationId, type UserId } from '#contract/ids.ts'
import type { Grant } from '#core/grant.ts'
import { maskKeys } from '#core/key-format.ts'
import { describeActor } from '#storage/actors.ts'
import { appendAuditLog } from '#storage/audit-logs.ts'
import { type AuthSubject, recordAuthEvent } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import type { AuditEntry } from './audit-entry.ts'
import { withdrawUnbacked } from './invite-senders.ts'
import type { PlatformParts } from './platform.ts'

/** From where a request came. */
export type Source = { readonly address: string; readonly userAgent: string | undefined }

export type Caller = { readonly grant: Grant; readonly source: Source }

/** A person who has no key yet: one who accepts an invitation. */
export type Newcomer = {
  readonly session: {
    readonly organizationId: OrganizationId
    readonly user: { readonly id: UserId; readonly email: string | null }
  }
  readonly source: Source
}

/** A job: nobody asked for what it does, and it came from nowhere. */
export type System = { readonly system: { readonly organizationId: OrganizationId; readonly job: string } }

export type Change<Answer> = {
  readonly answer: Answer
  readonly audit: readonly [AuditEntry, ...AuditEntry[]]
  /** Whose grants, or which catalogue, must be read again. */
  readonly affects: readonly (readonly [kind: AuthSubject, id: string])[]
}

export function change<Answer>(
  { database, wallClock }: Pick<PlatformParts, 'database' | 'wallClock'>,
  caller: Caller | Newcomer | System,
  work: (tx: Queryable) => Promise<Change<Answer>>,
): Promise<Answer> {
  return database.transaction(async tx => {
    const { answer, audit, affects } = await work(tx)
    const organization = organizationOf(caller)
    // Whatever concerns all keys of the organization may have taken somebody's right to what they sent
    const concernsAll = affects.some(([kind, id]) => kind === 'organization' && id === organization)
    const withdrawn = concernsAll ? await withdrawUnbacked(tx, organization, new Date(wallClock())) : []
    for (const entry of [...audit, ...withdrawn]) await record(tx, caller, entry, wallClock())
    // Last, because it takes a lock that is held until the commit
    for (const [kind, id] of affects) await recordAuthEvent(tx, kind, id)
    return answer
  })
}

function organizationOf(caller: Caller | Newcomer | System): OrganizationId {
  if ('system' in caller) return caller.system.organizationId
  return 'session' in caller ? caller.session.organizationId : caller.grant.organizationId
}

/** One entry, for a change whose transaction is not ours. */
export async function record(
  tx: Queryable,
  caller: Caller | Newcomer | System,
  entry: AuditEntry,
  nowMs: number,
): Promise<void> {
  const { type, project = null, resourceId, detail = {} } = entry
  const id = newId('audit_log')
  const effectiveAt = new Date(Math.floor(nowMs / 1000) * 1000)
  const { organizationId, actorId, actorKeyId, actorEmail, actor } = await actorOf(tx, caller)
  await appendAuditLog(tx, {
    organizationId,
    id,
    type,
    effectiveAt,
    projectId: project?.id ?? null,
    projectName: project?.name ?? null,
    actorKind: actor.type,
    actorId,
    actorKeyId,
    actorEmail,
    resourceId,
    entry: {
      id,
      type,
      effective_at: effectiveAt.getTime() / 1000,
      ...(project && { project: { id: project.id, name: project.name } }),
      actor,
      [type]: { id: resourceId, ...detail },
    },
  })
}

async function actorOf(tx: Queryable, caller: Caller | Newcomer | System) {
  if ('system' in caller) {
    const { organizationId, job } = caller.system
    const actor = { type: 'system', system: { job } } as const
    return { organizationId, actorId: null, actorKeyId: null, actorEmail: null, actor }
  }
  const { address, userAgent } = caller.source
  const from = {
    ip_address: address,
    ...(userAgent !== undefined && { user_agent: maskKeys(userAgent).slice(0, 500) }),
  }
  if ('session' in caller) {
    const { organizationId, user } = caller.session
    const actor = { type: 'session', session: { user: shown(user), ...from } } as const
    return { organizationId, actorId: user.id, actorKeyId: null, actorEmail: user.email, actor }
  }
  const { organizationId, userId, serviceAccountId, keyId } = caller.grant
  const described = await describeActor(tx, caller.grant)
  const user = described.user && { user: shown(described.user) }
  const actor = { type: 'api_key', api_key: { id: keyId, ...described, ...user, ...from } } as const
  const actorId = userId ?? serviceAccountId ?? keyId
  return { organizationId, actorId, actorKeyId: keyId, actorEmail: described.user?.email ?? null, actor }
}

/** OpenAI's schema has no null here: who has no address has no such member. */
const shown = ({ id, email }: { readonly id: string; readonly email: string | null }) => ({
  id,
  ...(email !== null && { email }),
})
