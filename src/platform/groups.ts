/** Groups. A change of one may concern keys in any project, so it is told as a change of the organization. */
import { apiError } from '#contract/errors.ts'
import type { groups } from '#contract/groups.ts'
import { newId } from '#contract/ids.ts'
import { deleteGroup, findGroup, type GroupRow, insertGroup, listGroups, renameGroup } from '#storage/groups.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { toNextList, unixSeconds } from './page.ts'

export const groupHandlers: Handlers<typeof groups> = {
  async list({ database }, { grant, query }) {
    return toNextList(await listGroups(database, grant.organizationId, query), toGroup, row => row.id)
  },

  create(parts, call) {
    const { organizationId } = call.grant
    const { name } = call.body
    return change(parts, call, async tx => {
      const row = await insertGroup(tx, { id: newId('group'), organizationId, name })
      const detail = { data: { group_name: name } }
      // Nobody is in it yet: no key may do more or less
      return { answer: toGroup(row), audit: [{ type: 'group.created', resourceId: row.id, detail }], affects: [] }
    })
  },

  async retrieve({ database }, { grant, params }) {
    return toGroup(existingGroup(await findGroup(database, grant.organizationId, params.group_id)))
  },

  update(parts, call) {
    const { organizationId } = call.grant
    const { name } = call.body
    return change(parts, call, async tx => {
      const row = existingGroup(await renameGroup(tx, organizationId, { id: call.params.group_id, name }))
      const detail = { changes_requested: { group_name: name } }
      return { answer: toGroup(row), audit: [{ type: 'group.updated', resourceId: row.id, detail }], affects: [] }
    })
  },

  delete(parts, call) {
    const { organizationId } = call.grant
    return change(parts, call, async tx => {
      const { id } = existingGroup(await deleteGroup(tx, organizationId, call.params.group_id))
      return {
        answer: { id, object: 'group.deleted', deleted: true },
        audit: [{ type: 'group.deleted', resourceId: id }],
        affects: [['organization', organizationId]],
      }
    })
  },
}

/** @throws ApiError not_found, for one of another organization as for one that never was */
export function existingGroup(row: GroupRow | undefined): GroupRow {
  if (!row) throw apiError('not_found', { what: 'group' })
  return row
}

const toGroup = ({ id, name, created_at }: GroupRow) => ({
  id,
  name,
  created_at: unixSeconds(created_at),
  is_scim_managed: false as const,
  group_type: 'group' as const,
})
