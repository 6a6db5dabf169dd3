/** The outbox: what was sent, what waits and why, for the operator. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { cursor, listLimitMax, listOf, queryInteger } from './lists.ts'

const limitDefault = 20
const mailStates = ['queued', 'held', 'sent', 'failed'] as const

const mailEnvelope = z.object({
  object: z.literal('platform.mail'),
  id: z.string(),
  organization_id: z.string().nullable(),
  kind: z.string(),
  recipient: z.string(),
  subject: z.string(),
  state: z.enum(mailStates).describe('held: no mail server is set.'),
  tries: z.int(),
  created_at: unixTime,
  sent_at: unixTime.nullable(),
  next_try_at: unixTime.nullable(),
  failure: z.string().nullable().describe('Of the last try.'),
})

export const mail = mailEnvelope.meta({ id: 'Mail' })

export const mails = {
  list: {
    method: 'GET',
    path: '/v1/platform/mails',
    summary: 'List mails, newest first.',
    scope: 'api.platform.read',
    operatorOnly: true,
    query: z.strictObject({
      state: z.enum(mailStates).optional(),
      after: cursor,
      limit: queryInteger(1, listLimitMax).default(limitDefault),
    }),
    answer: listOf(mail),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/platform/mails/{mail_id}',
    summary: 'Retrieve a mail with its text. A link that opens something is shown as {link}.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: mailEnvelope.extend({ text: z.string() }).meta({ id: 'MailWithText' }),
  },
  test: {
    method: 'POST',
    path: '/v1/platform/mails/test',
    summary: 'Queue a mail that says that mail works.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z.strictObject({ to: z.email().max(320) }),
    answer: mail,
  },
} as const satisfies Endpoints
