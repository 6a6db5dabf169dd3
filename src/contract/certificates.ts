/** Certificates for mutual TLS: once one is active, calls must come with a client certificate that verifies against it. */
import { z } from 'zod'
import { type Endpoints, givenName, unixTime } from './endpoint.ts'
import { listOf, listQuery, queryArray } from './lists.ts'

const shape = {
  id: z.string(),
  name: z.string().nullable(),
  created_at: unixTime,
}
const dates = { valid_at: unixTime, expires_at: unixTime }

export const certificate = z
  .object({
    object: z.literal('certificate'),
    ...shape,
    certificate_details: z.object({ ...dates, content: z.string().optional().describe('PEM, where asked for.') }),
  })
  .meta({ id: 'Certificate' })

const inScope = <const Kind extends string>(object: Kind) =>
  z.object({
    object: z.literal(object),
    ...shape,
    certificate_details: z.object(dates),
    active: z.boolean().describe('Here; it may be active elsewhere as well.'),
  })
export const organizationCertificate = inScope('organization.certificate').meta({ id: 'OrganizationCertificate' })
const projectCertificate = inScope('organization.project.certificate').meta({ id: 'ProjectCertificate' })

const activatedAtOnceMax = 10
const pemCharactersMax = 20_000

const listed = listQuery.extend({ order: z.enum(['asc', 'desc']).default('desc').describe('By time of upload.') })
const toggle = z.strictObject({ certificate_ids: z.array(z.string().min(1).max(256)).min(1).max(activatedAtOnceMax) })
const toggled = <const Kind extends string, Item extends z.ZodType>(object: Kind, item: Item) =>
  z.object({ object: z.literal(object), data: z.array(item) })

export const certificates = {
  list: {
    method: 'GET',
    path: '/v1/organization/certificates',
    summary: "List the organization's certificates.",
    scope: 'api.organization.certificates.read',
    query: listed,
    answer: listOf(organizationCertificate),
  },
  upload: {
    method: 'POST',
    path: '/v1/organization/certificates',
    summary: 'Upload a certificate. It does nothing until it is activated.',
    scope: 'api.organization.certificates.write',
    body: z.strictObject({
      name: givenName.optional(),
      certificate: z
        .string()
        .max(pemCharactersMax)
        .describe('PEM: of the authority that signs your client certificates, or of one client certificate itself.'),
    }),
    answer: certificate,
  },
  activate: {
    method: 'POST',
    path: '/v1/organization/certificates/activate',
    summary: 'From now on, calls in all projects need a client certificate that verifies. All of them, or none.',
    scope: 'api.organization.certificates.write',
    body: toggle,
    answer: toggled('organization.certificate.activation', organizationCertificate),
  },
  deactivate: {
    method: 'POST',
    path: '/v1/organization/certificates/deactivate',
    summary: 'Deactivate certificates of the organization. All of them, or none.',
    scope: 'api.organization.certificates.write',
    body: toggle,
    answer: toggled('organization.certificate.deactivation', organizationCertificate),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/certificates/{certificate_id}',
    summary: 'Retrieve a certificate.',
    scope: 'api.organization.certificates.read',
    query: z.strictObject({ include: queryArray(z.literal('content')).optional() }),
    answer: certificate,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/certificates/{certificate_id}',
    summary: 'Rename a certificate.',
    scope: 'api.organization.certificates.write',
    body: z.strictObject({ name: givenName.optional() }),
    answer: certificate,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/certificates/{certificate_id}',
    summary: 'Delete a certificate. It must be active nowhere.',
    scope: 'api.organization.certificates.write',
    answer: z.object({ object: z.literal('certificate.deleted'), id: z.string() }),
  },
} as const satisfies Endpoints

export const projectCertificates = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/certificates',
    summary: "List the organization's certificates, and whether each is active for this project by itself.",
    scope: 'api.organization.certificates.read',
    query: listed,
    answer: listOf(projectCertificate),
  },
  activate: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/certificates/activate',
    summary: 'From now on, calls in this project need a client certificate that verifies. All of them, or none.',
    scope: 'api.organization.certificates.write',
    body: toggle,
    answer: toggled('organization.project.certificate.activation', projectCertificate),
  },
  deactivate: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/certificates/deactivate',
    summary: 'Deactivate certificates of a project. All of them, or none.',
    scope: 'api.organization.certificates.write',
    body: toggle,
    answer: toggled('organization.project.certificate.deactivation', projectCertificate),
  },
} as const satisfies Endpoints
