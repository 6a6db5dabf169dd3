/** The audit log: who changed what, when and from where. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { cursor, listLimitMax, listOf, queryArray, queryBoolean, queryInteger } from './lists.ts'

const limitDefault = 20
const texts = queryArray(z.string().min(1).max(320)).optional()
const time = queryInteger(0, 4_102_444_800).optional()

/** The entry's own part stands under a member named like its type. */
export const auditLog = z
  .looseObject({
    id: z.string(),
    type: z.string(),
    effective_at: unixTime,
    project: z.object({ id: z.string(), name: z.string() }).optional(),
    actor: z.looseObject({ type: z.enum(['session', 'api_key', 'system']).describe('system is ours: a job.') }),
  })
  .meta({ id: 'AuditLog' })

const head = z
  .string()
  .regex(/^[1-9]\d{0,15}:[0-9a-f]{64}$/, 'expected NUMBER:HASH, as `keyhouse audit head` prints it')
  .describe("An entry's number and its SHA-256, which is over all entries before it too.")

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
      tenant_only: queryBoolean.default(false).describe('Taken for compatibility: there are no tenants here.'),
      limit: queryInteger(1, listLimitMax).default(limitDefault),
      after: cursor,
      before: cursor,
    }),
    answer: listOf(auditLog),
  },
  head: {
    method: 'GET',
    path: '/v1/organization/audit_logs/head',
    summary: 'The newest entry in short. Noted elsewhere, it shows later that nothing before it was changed.',
    scope: 'api.organization.audit_logs.read',
    answer: z
      .object({ object: z.literal('organization.audit_logs.head'), head: head.nullable().describe('Null: no entry.') })
      .meta({ id: 'AuditLogHead' }),
  },
  verify: {
    method: 'GET',
    path: '/v1/organization/audit_logs/verify',
    summary: 'Check that no entry of the audit log is missing or was changed.',
    scope: 'api.organization.audit_logs.read',
    query: z.strictObject({ head: head.optional().describe('As it was noted: is that entry still the same?') }),
    answer: z
      .object({
        object: z.literal('organization.audit_logs.verification'),
        entries: z.int(),
        whole: z.boolean().describe('False also where the noted head is not in the log.'),
        first_broken: z.int().nullable().describe('The number of the first entry that is not what it was, or is gone.'),
        head: head.nullable(),
        noted_head_found: z.boolean().nullable().describe('Null: none was sent.'),
      })
      .meta({ id: 'AuditLogVerification' }),
  },
} as const satisfies Endpoints
