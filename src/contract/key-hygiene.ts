/** What is careless about the keys of an organization, and the step that mends each. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'
import { cursor, listLimitMax, nextListOf, queryInteger } from './lists.ts'

export const hygieneReasons = {
  leaked: 'It was found where others can read it.',
  owner_left: 'Its owner is no longer in the project.',
  never_expires: 'It never expires.',
  idle: 'It was not used for 90 days.',
  all_permissions: 'It may do everything.',
  no_limit: 'Nothing bounds what it can spend.',
  many_networks: 'It is used from many networks.',
} as const

export type HygieneReason = keyof typeof hygieneReasons

const finding = z
  .object({
    object: z.literal('organization.key_finding'),
    reason: z.enum(Object.keys(hygieneReasons) as [HygieneReason, ...HygieneReason[]]),
    key: z.object({
      id: z.string(),
      name: z.string(),
      redacted_value: z.string(),
      kind: z.enum(['project', 'service_account', 'admin', 'test']),
      project: z.object({ id: z.string(), name: z.string() }).nullable(),
    }),
    proof: z.string(),
    mend: z.string().describe('The one step that mends it.'),
  })
  .meta({ id: 'KeyFinding' })

const keysDefault = 50

export const keyHygiene = {
  list: {
    method: 'GET',
    path: '/v1/organization/key_hygiene',
    summary: 'List what is careless about the keys that live: one finding for each key and reason.',
    scope: 'api.organization.projects.api_keys.read',
    query: z.strictObject({
      after: cursor.describe('The `next` of the page before.'),
      limit: queryInteger(1, listLimitMax)
        .default(keysDefault)
        .describe('Keys that are looked at; each has as many findings as it has.'),
    }),
    answer: nextListOf(finding),
  },
} as const satisfies Endpoints
