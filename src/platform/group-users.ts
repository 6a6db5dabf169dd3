/** Who is in a group. Being put into one is being given what it gives. */
import { apiError } from '#contract/errors.ts'
import type { groupUsers } from '#contract/groups.ts'
import type { OrganizationId } from '#contract/ids.ts'
import { requireGrantable } from '#core/granting.ts'
import { permissionsOf } from '#core/roles.ts'
import type { Queryable } from '#storage/database.ts'
import {
  deleteGroupUser,
  findGroup,
  findGroupUser,
  type GroupUserRow,
  insertGroupUser,
  listGroupUsers,
  lockGroup,
  whatGroupGives,
} from '#storage/groups.ts'
import { lockUser } from '#storage/users.ts'
import type { AuditEntry } from './audit-entry.ts'
import { change } from './change.ts'
import { existingGroup } from './groups.ts'
import type { Handlers } from './handler.ts'
import { toNextList } from './page.ts'
import { existingUser } from './users.ts'

export const groupUserHandlers: Handlers<typeof groupUsers> = {
  async list({ database }, { grant, params, query }) {
    const { id } = existingGroup(await findGroup(database, grant.organizationId, params.group_id))
    return toNextList(await listGroupUsers(database, id, query), toGroupUser, row => row.id)
  },

  create(parts, call) {
    const { organizationId } = call.grant
    return change(parts, call, async tx => {
      const { id: group_id } = existingGroup(await lockGroup(tx, organizationId, call.params.group_id))
      requireGrantable(call.grant, permissionsOf({ organizationRole: null, ...(await whatGroupGives(tx, group_id)) }))
      const { id: user_id } = existingUser(await lockUser(tx, organizationId, call.body.user_id))
      if (!(await insertGroupUser(tx, group_id, user_id))) throw memberAlready()
      return {
        answer: { object: 'group.user', user_id, group_id },
        audit: [membershipEntry(group_id, { user_added: user_id })],
        affects: [['organization', organizationId]],
      }
    })
  },

  async retrieve({ database }, { grant, params }) {
    const row = await member(database, grant.organizationId, params)
    return { ...toGroupUser(row), picture: row.picture, is_service_account: false, user_type: 'user' }
  },

  delete(parts, call) {
    const { organizationId } = call.grant
    const { group_id, user_id } = call.params
    return change(parts, call, async tx => {
      const { id } = existingGroup(await lockGroup(tx, organizationId, group_id))
      if (!(await deleteGroupUser(tx, id, user_id))) throw noSuchMember()
      return {
        answer: { object: 'group.user.deleted', deleted: true },
        audit: [membershipEntry(id, { user_removed: user_id })],
        affects: [['organization', organizationId]],
      }
    })
  },
}

/** OpenAI has no event of its own for it. */
const membershipEntry = (group: string, changes_requested: Record<string, string>): AuditEntry => ({
  type: 'group.updated',
  resourceId: group,
  detail: { changes_requested },
})

async function member(
  database: Queryable,
  organization: OrganizationId,
  { group_id, user_id }: { readonly group_id: string; readonly user_id: string },
): Promise<GroupUserRow> {
  const { id } = existingGroup(await findGroup(database, organization, group_id))
  const row = await findGroupUser(database, id, user_id)
  if (!row) throw noSuchMember()
  return row
}

const noSuchMember = (): Error => apiError('not_found', { what: 'user in this group' })

const memberAlready = (): Error => apiError('conflict', { message: 'The user is in this group already.' })

const toGroupUser = ({ id, name, email }: GroupUserRow) => ({ id: id as string, name, email })
