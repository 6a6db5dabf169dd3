/**
 * An invitation is worth what the person who sent it may still give: whoever is removed, demoted or loses a role must not come
 * back by what they sent to themselves. One that was sent with a key that belongs to no person stands by itself.
 */
import type { OrganizationId } from '#contract/ids.ts'
import { coversAll } from '#core/granting.ts'
import { organizationPermissions, permissionsOf, projectPermissions, rolesAllow } from '#core/roles.ts'
import type { Queryable } from '#storage/database.ts'
import { findHeldRoles } from '#storage/held-roles.ts'
import { type Gift, pendingGifts, withdrawInvites } from '#storage/invites.ts'
import type { AuditEntry } from './audit-entry.ts'

/** May the sender invite now, and give what the invitation gives? */
export const mayStillSend = (database: Queryable, gift: Gift): Promise<boolean> => judge(database)(gift)

/**
 * To be called once a change is made that may have taken rights from people of the organization.
 * @returns what to tell of those that were withdrawn
 */
export async function withdrawUnbacked(
  tx: Queryable,
  organizationId: OrganizationId,
  now: Date,
): Promise<AuditEntry[]> {
  const maySend = judge(tx)
  const unbacked: string[] = []
  for (const { ids, ...gift } of await pendingGifts(tx, organizationId, now)) {
    if (!(await maySend(gift))) unbacked.push(...ids)
  }
  if (unbacked.length === 0) return []
  const detail = { data: { reason: 'the sender may not give this any more' } }
  const withdrawn = await withdrawInvites(tx, unbacked)
  return withdrawn.map(resourceId => ({ type: 'invite.deleted', resourceId, detail }))
}

/** Asks the database once for each sender and project. */
function judge(database: Queryable): (gift: Gift) => Promise<boolean> {
  const known = new Map<string, ReadonlySet<string>>()
  async function permissionsIn(gift: Gift, userId: string, project: string | null): Promise<ReadonlySet<string>> {
    const key = `${userId} ${project}`
    const found = known.get(key)
    if (found) return found
    const held = await findHeldRoles(database, { organizationId: gift.organization_id, userId, project })
    const permissions: ReadonlySet<string> = held ? permissionsOf(held) : new Set()
    known.set(key, permissions)
    return permissions
  }
  return async gift => {
    const { invited_by: sender, role, projects } = gift
    if (sender === null) return true
    const own = await permissionsIn(gift, sender, null)
    if (!rolesAllow(own, 'api.organization.invites.write')) return false
    if (!coversAll(own, organizationPermissions(role))) return false
    for (const { id, role: inProject } of projects) {
      if (!coversAll(await permissionsIn(gift, sender, id), projectPermissions(inProject))) return false
    }
    return true
  }
}
