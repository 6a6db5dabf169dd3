/** The audit log, to be read and to be checked. It is written in change.ts. */

import type { z } from 'zod'
import type { auditLog, auditLogs } from '#contract/audit-logs.ts'
import { type AuditHead, hasAuditHead, listAuditLogs, readAuditHead, verifyAuditLog } from '#storage/audit-logs.ts'
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

  async head({ database }, { grant }) {
    const head = await readAuditHead(database, grant.organizationId)
    return { object: 'organization.audit_logs.head', head: head && headText(head) }
  },

  async verify({ database }, { grant: { organizationId }, query }) {
    const { entries, firstBroken } = await verifyAuditLog(database, organizationId)
    const found = query.head === undefined ? null : await hasAuditHead(database, organizationId, readHead(query.head))
    const head = await readAuditHead(database, organizationId)
    return {
      object: 'organization.audit_logs.verification',
      entries,
      whole: firstBroken === null && found !== false,
      first_broken: firstBroken,
      head: head && headText(head),
      noted_head_found: found,
    }
  },
}

const headText = ({ number, hash }: AuditHead): string => `${number}:${hash}`

/** The contract's pattern has seen to its form. */
function readHead(text: string): AuditHead {
  const [number = '', hash = ''] = text.split(':')
  return { number: Number(number), hash }
}

/** There are no tenants, and so nothing that only they have. */
const nothing = { object: 'list' as const, data: [], first_id: null, last_id: null, has_more: false }
