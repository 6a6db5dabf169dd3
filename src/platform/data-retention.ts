/** Data retention: kept, shown and audited here. Zero data retention, chosen by name, rules
 * the capture of payloads out; an organization that has chosen nothing keeps nothing until a project turns capture on. */
import type {
  OrganizationRetention,
  organizationDataRetention,
  projectDataRetention,
} from '#contract/data-retention.ts'
import { readRetention, setRetention } from '#storage/data-retention.ts'
import { findProject } from '#storage/projects.ts'
import { activeProject, existing } from './active-project.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'

/** What is true of an organization that has chosen nothing. */
const usual: OrganizationRetention = 'zero_data_retention'

export const organizationDataRetentionHandlers: Handlers<typeof organizationDataRetention> = {
  async retrieve({ database }, { grant }) {
    const type = (await readRetention(database, grant.organizationId)) ?? usual
    return { object: 'organization.data_retention', type }
  },

  update(parts, call) {
    const { organizationId } = call.grant
    const type = call.body.retention_type
    return change(parts, call, async tx => {
      await setRetention(tx, organizationId, type)
      const detail = { changes_requested: { data_retention: type } }
      return {
        answer: { object: 'organization.data_retention' as const, type },
        audit: [{ type: 'organization.updated', resourceId: organizationId, detail }],
        affects: [],
      }
    })
  },
}

export const projectDataRetentionHandlers: Handlers<typeof projectDataRetention> = {
  async retrieve({ database }, { grant, params }) {
    const { id } = existing(await findProject(database, grant.organizationId, params.project_id))
    return { object: 'project.data_retention', type: (await readRetention(database, id)) ?? 'organization_default' }
  },

  update(parts, call) {
    const type = call.body.retention_type
    return change(parts, call, async tx => {
      const project = await activeProject(tx, call.grant, call.params.project_id)
      await setRetention(tx, project.id, type)
      const detail = { changes_requested: { data_retention: type } }
      return {
        answer: { object: 'project.data_retention' as const, type },
        audit: [{ type: 'project.updated', project, resourceId: project.id, detail }],
        affects: [],
      }
    })
  },
}
