/** Key policies. */
import { type ApiError, apiError } from '#contract/errors.ts'
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import type { keyPolicies } from '#contract/key-policies.ts'
import { addressList, plainAddress } from '#core/address.ts'
import type { Queryable } from '#storage/database.ts'
import { findKeyPolicy, type KeyPolicyRow, saveKeyPolicy } from '#storage/key-policies.ts'
import { activeProject } from './active-project.ts'
import { change } from './change.ts'
import { placeOf } from './existing-key.ts'
import type { Call, Handlers } from './handler.ts'
import { readKeySettings } from './key-settings.ts'
import { nothingToChange } from './nothing-to-change.ts'

export const keyPolicyHandlers: Handlers<typeof keyPolicies> = {
  async retrieve({ database }, { grant }) {
    return { object: 'organization.key_policy', ...showPolicy(await findKeyPolicy(database, grant.organizationId)) }
  },

  update(parts, call) {
    const { organizationId } = call.grant
    return change(parts, call, async tx => {
      const row = await save(tx, organizationId, call.body)
      checkAskerStays(row, call.source.address)
      const detail = { changes_requested: { key_policy: call.body } }
      return {
        answer: { object: 'organization.key_policy', ...showPolicy(row) },
        audit: [{ type: 'organization.updated', resourceId: organizationId, detail }],
        affects: [['organization', organizationId]],
      }
    })
  },

  async retrieveForProject({ database }, { grant, params }) {
    const { projectId } = await placeOf(database, grant, params.project_id)
    return { object: 'project.key_policy', ...showPolicy(await findKeyPolicy(database, projectId)) }
  },

  updateForProject(parts, call) {
    return change(parts, call, async tx => {
      const project = await activeProject(tx, call.grant, call.params.project_id)
      const row = await save(tx, project.id, call.body)
      const detail = { changes_requested: { key_policy: call.body } }
      return {
        answer: { object: 'project.key_policy', ...showPolicy(row) },
        audit: [{ type: 'project.updated', project, resourceId: project.id, detail }],
        affects: [['project', project.id]],
      }
    })
  },
}

type Body = Call<typeof keyPolicies.update>['body']

async function save(tx: Queryable, scope: OrganizationId | ProjectId, body: Body): Promise<KeyPolicyRow> {
  if (Object.keys(body).length === 0) throw nothingToChange()
  const { allowedCidrs, allowedOrigins } = await readKeySettings(tx, body)
  return saveKeyPolicy(tx, scope, {
    allowedCidrs,
    allowedOrigins,
    keyLifetimeSecondsMax: body.key_lifetime_seconds_max,
    serviceAccountsOnly: body.service_accounts_only,
  })
}

/** The organization's list holds for admin keys as well: whoever left himself out could not undo it. */
function checkAskerStays({ allowed_cidrs: cidrs }: KeyPolicyRow, address: string): void {
  if (cidrs.length > 0 && !addressList(cidrs).has(address)) throw wouldLockOut(address)
}

const wouldLockOut = (address: string): ApiError =>
  apiError('invalid_parameter', {
    param: 'allowed_cidrs',
    message:
      `This list does not hold the address that you call from, ${plainAddress(address)}: it would lock you out. Add it, ` +
      'or send the request from an address on the list.',
    code: 'would_lock_out',
  })

const showPolicy = ({ key_lifetime_seconds_max: max, ...row }: KeyPolicyRow) => ({
  ...row,
  key_lifetime_seconds_max: max === null ? null : Number(max),
})
