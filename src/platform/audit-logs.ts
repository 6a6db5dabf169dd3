/** The audit log, to be read and to be checked. It is written in change.ts. */

import type { z } from 'zod'
import type { auditLog, auditLogs } from '#contract/audit-logs.ts'
import { listAuditLogs, verifyAuditLog } from '#storage/audit-logs.ts'
import type { Handlers } from './handler.ts'
import { toList } from './page.ts'

export const auditLogHandlers: Handlers<typeof auditLogs> = {
  async list({ database }, { grant, query }) {
    if (query.tenant_only) return nothing
    const page = await listAuditLogs(database, grant.organizationId, {
      effectiveAt: {
        ...(query['effective_at[gt]'] !== undefined && { gt: query['effective_at[gt]'] }),
        ...(query['effective_at[gte]'] !== undefined && { gte: query['effective_at[gte]'] }),
        ...(query['effective_at[lt]'] !== undefined && { lt: query['effective_at[lt]'] }),
        ...(query['effective_at[lte]'] !== undefined && { lte: query['effective_at[lte]'] }),
      },
      projectIds: query.project_ids,
      eventTypes: query.event_types,
      actorIds: query.actor_ids,
      actorEmails: query.actor_emails,
      resourceIds: query.resource_ids,
      limit: query.limit,
      after: query.after,
      before: query.before,
    })
    // What we wrote ourselves, kept as text because the text is what was hashed
    return toList(
      page,
      row => JSON.parse(row.entry) as z.output<typeof auditLog>,
      row => row.id,
    )
  },

  async verify({ database }, { grant }) {
    const { entries, firstBroken } = await verifyAuditLog(database, grant.organizationId)
    const whole = firstBroken === null
    return { object: 'organization.audit_logs.verification', entries, whole, first_broken: firstBroken }
  },
}

/** There are no tenants, and so nothing that only they have. */
const nothing = { object: 'list' as const, data: [], first_id: null, last_id: null, has_more: false }
