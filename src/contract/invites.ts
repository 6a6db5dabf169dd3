/** Invitations to the organization: the way in for people. By mail where there is a mail server; else by hand. */
import { z } from 'zod'
import { type Endpoints, givenName, unixTime } from './endpoint.ts'
import { deleted, listOf, listQuery } from './lists.ts'
import { emailAddress, organizationRole, organizationUser } from './users.ts'

const inviteProjectsMax = 100
const inviteProject = z.strictObject({ id: z.string(), role: z.enum(['member', 'owner']) })
export type InviteProject = z.output<typeof inviteProject>

export const invite = z
  .object({
    object: z.literal('organization.invite'),
    id: z.string(),
    email: z.string(),
    role: organizationRole,
    status: z.enum(['accepted', 'expired', 'pending']),
    created_at: unixTime,
    expires_at: unixTime,
    accepted_at: unixTime.nullable(),
    projects: z.array(inviteProject),
  })
  .meta({ id: 'Invite' })

export const invites = {
  list: {
    method: 'GET',
    path: '/v1/organization/invites',
    summary: 'List invitations.',
    scope: 'api.organization.invites.read',
    query: listQuery,
    answer: listOf(invite),
  },
  create: {
    method: 'POST',
    path: '/v1/organization/invites',
    summary: 'Invite somebody. The answer carries the token with which the invitation is accepted, once.',
    scope: 'api.organization.invites.write',
    body: z.strictObject({
      email: emailAddress,
      role: organizationRole,
      projects: z.array(inviteProject).max(inviteProjectsMax).optional().describe('Left out: none.'),
    }),
    answer: invite
      .extend({ token: z.string().describe('Ours, beyond OpenAI: shown once, valid until the invitation expires.') })
      .meta({ id: 'InviteCreated' }),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/invites/{invite_id}',
    summary: 'Retrieve an invitation.',
    scope: 'api.organization.invites.read',
    answer: invite,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/invites/{invite_id}',
    summary: 'Withdraw an invitation that was not accepted.',
    scope: 'api.organization.invites.write',
    answer: deleted('organization.invite.deleted'),
  },
  acceptPage: {
    method: 'GET',
    path: '/v1/organization/invites/accept',
    summary: 'The page that the link of an invitation opens, with the token behind the #.',
    scope: null,
    answer: { contentType: 'text/html; charset=utf-8', about: 'A form that accepts the invitation.' },
  },
  accept: {
    method: 'POST',
    path: '/v1/organization/invites/accept',
    summary: 'Accept an invitation: makes the person a member, with the role and the projects of the invitation.',
    scope: null,
    body: z.strictObject({ token: z.string().min(1).max(200), name: givenName }),
    answer: organizationUser,
  },
} as const satisfies Endpoints
