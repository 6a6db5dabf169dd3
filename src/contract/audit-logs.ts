/** The audit log: who changed what, when and from where. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { listLimitMax, listOf, queryArray, queryBoolean, queryInteger } from './lists.ts'

const limitDefault = 20
const cursor = z.string().max(256).optional()
const texts = queryArray(z.string().min(1).max(320)).optional()
const time = queryInteger(0, 4_102_444_800).optional()

/** The entry's own part stands under a member named like its type. */
export const auditLog = z
  .looseObject({
    id: z.string(),
    type: z.string(),
    effective_at: unixTime,
    project: z.object({ id: z.string(), name: z.string() }).optional(),
    actor: z.looseObject({ type: z.enum(['session', 'api_key']) }),
  })
  .meta({ id: 'AuditLog' })

export const auditLogs = {
  list: {
    method: 'GET',
    path: '/v1/organization/audit_logs',
    summary: 'List what was changed in the organization, newest first.',
    scope: 'api.organization.audit_logs.read',
    query: z.strictObject({
      'effective_at[gt]': time,
      'effective_at[gte]': time,
      'effective_at[lt]': time,
      'effective_at[lte]': time,
      project_ids: texts,
      event_types: texts,
      actor_ids: texts,
      actor_emails: texts,
      resource_ids: texts,
      tenant_only: queryBoolean.optional().describe('Taken for compatibility: there are no tenants here.'),
      limit: queryInteger(1, listLimitMax).default(limitDefault),
      after: cursor,
      before: cursor,
    }),
    answer: listOf(auditLog),
  },
  verify: {
    method: 'GET',
    path: '/v1/organization/audit_logs/verify',
    summary: 'Check that no entry of the audit log is missing or was changed.',
    scope: 'api.organization.audit_logs.read',
    answer: z
      .object({
        object: z.literal('organization.audit_logs.verification'),
        entries: z.int(),
        whole: z.boolean(),
        first_broken: z.int().nullable().describe('The number of the first entry that is not what it was.'),
      })
      .meta({ id: 'AuditLogVerification' }),
  },
} as const satisfies Endpoints
