/** Certificates for mutual TLS: uploaded once, then active for the organization, for projects, or for nobody. */
import type { X509Certificate } from 'node:crypto'
import type { certificates, projectCertificates } from '#contract/certificates.ts'
import { apiError } from '#contract/errors.ts'
import { newId, type OrganizationId } from '#contract/ids.ts'
import { readCertificate, validFromMs, validToMs } from '#core/certificate.ts'
import {
  activateCertificates,
  type CertificateRow,
  countCertificates,
  deactivateCertificates,
  deleteCertificate,
  findCertificates,
  insertCertificate,
  listCertificates,
  lockCertificates,
  renameCertificate,
  scopesWhereActive,
} from '#storage/certificates.ts'
import type { Queryable } from '#storage/database.ts'
import { change } from './change.ts'
import type { Call, Handlers } from './handler.ts'
import { toList, unixSeconds } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { changePlace, type KeyCaller, readPlace } from './setting-place.ts'

/** Each active one is read with every key of the organization, and tried at every call. */
const certificatesMax = 50

export const certificateHandlers: Handlers<typeof certificates> = {
  async list({ database }, { grant: { organizationId }, query }) {
    return toList(await listCertificates(database, organizationId, organizationId, query), inOrganization, idOf)
  },

  async upload(parts, call) {
    const { organizationId } = call.grant
    const { name = null, certificate: pem } = call.body
    const certificate = readUpload(pem, parts.wallClock())
    return change(parts, call, async tx => {
      const id = await insert(tx, organizationId, name, certificate)
      const row = await existing(tx, organizationId, id)
      return { answer: toCertificate(row), audit: [{ type: 'certificate.created', ...told(row) }], affects: [] }
    })
  },

  async activate(parts, call) {
    const rows = await toggle(parts, { ...call, params: {} }, 'activated')
    return { object: 'organization.certificate.activation', data: rows.map(inOrganization) }
  },

  async deactivate(parts, call) {
    const rows = await toggle(parts, { ...call, params: {} }, 'deactivated')
    return { object: 'organization.certificate.deactivation', data: rows.map(inOrganization) }
  },

  async retrieve({ database }, { grant, params, query }) {
    const row = await existing(database, grant.organizationId, params.certificate_id)
    return query.include?.includes('content') ? withContent(row) : toCertificate(row)
  },

  update(parts, call) {
    const { organizationId } = call.grant
    return change(parts, call, async tx => {
      const { id } = await existing(tx, organizationId, call.params.certificate_id)
      if (call.body.name !== undefined) await renameCertificate(tx, id, call.body.name)
      const row = await existing(tx, organizationId, id)
      return { answer: toCertificate(row), audit: [{ type: 'certificate.updated', ...told(row) }], affects: [] }
    })
  },

  delete(parts, call) {
    const { organizationId } = call.grant
    return change(parts, call, async tx => {
      await lockCertificates(tx, organizationId)
      const row = await existing(tx, organizationId, call.params.certificate_id)
      const scopes = await scopesWhereActive(tx, row.id)
      if (scopes.length > 0) throw stillActive(row.id, scopes)
      await deleteCertificate(tx, row.id)
      const { resourceId, detail } = told(row)
      const audited = {
        type: 'certificate.deleted',
        resourceId,
        detail: { ...detail, certificate: row.content },
      } as const
      return { answer: { object: 'certificate.deleted' as const, id: row.id }, audit: [audited], affects: [] }
    })
  },
}

export const projectCertificateHandlers: Handlers<typeof projectCertificates> = {
  async list({ database }, { grant, params, query }) {
    const { id } = await readPlace(database, grant, params)
    return toList(await listCertificates(database, grant.organizationId, id, query), inProject, idOf)
  },

  async activate(parts, call) {
    const rows = await toggle(parts, call, 'activated')
    return { object: 'organization.project.certificate.activation', data: rows.map(inProject) }
  },

  async deactivate(parts, call) {
    const rows = await toggle(parts, call, 'deactivated')
    return { object: 'organization.project.certificate.deactivation', data: rows.map(inProject) }
  },
}

function readUpload(pem: string, nowMs: number): X509Certificate {
  const read = readCertificate(pem)
  if (!read.ok) throw invalid(read.reason)
  const expiredAtMs = validToMs(read.certificate)
  if (expiredAtMs <= nowMs)
    throw invalid(`it expired at ${new Date(expiredAtMs).toISOString()}. Send one that is valid.`)
  return read.certificate
}

async function insert(
  tx: Queryable,
  organizationId: OrganizationId,
  name: string | null,
  certificate: X509Certificate,
): Promise<string> {
  await lockCertificates(tx, organizationId)
  if ((await countCertificates(tx, organizationId)) >= certificatesMax) throw tooMany()
  const id = newId('certificate')
  const inserted = await insertCertificate(tx, {
    id,
    organizationId,
    name,
    // As we would write it: without the comments and attributes that stood around it
    content: certificate.toString(),
    fingerprint: certificate.fingerprint256,
    validAt: new Date(validFromMs(certificate)),
    expiresAt: new Date(validToMs(certificate)),
  })
  if (!inserted) throw uploadedBefore()
  return id
}

type ToggleCall = KeyCaller & {
  readonly params: { readonly project_id?: string }
  readonly body: Call<typeof certificates.activate>['body']
}

/** All of the named certificates, or none; those that are so already stay so. */
const toggle = (parts: PlatformParts, call: ToggleCall, become: 'activated' | 'deactivated') =>
  change(parts, call, async tx => {
    const { organizationId } = call.grant
    const place = await changePlace(tx, call.grant, call.params)
    await lockCertificates(tx, organizationId)
    const ids = [...new Set(call.body.certificate_ids)]
    const rows = await allExisting(tx, organizationId, ids)
    if (become === 'activated') {
      for (const row of rows) checkAlive(row, parts.wallClock())
      await activateCertificates(tx, place.id, ids)
    } else await deactivateCertificates(tx, place.id, ids)
    const named = rows.map(({ id, name }) => ({ id, ...(name !== null && { name }) }))
    const { id: resourceId, project } = place
    return {
      answer: rows.map(row => ({ ...row, active: become === 'activated' })),
      audit: [{ type: `certificates.${become}`, project, resourceId, detail: { certificates: named } }],
      affects: [[project ? 'project' : 'organization', resourceId]],
    }
  })

/** In the order of the ids. @throws ApiError not_found when one is not there */
async function allExisting(tx: Queryable, organization: OrganizationId, ids: readonly string[]) {
  const rows = await findCertificates(tx, organization, organization, ids)
  return ids.map(id => found(rows.find(row => row.id === id)))
}

async function existing(database: Queryable, organization: OrganizationId, id: string): Promise<CertificateRow> {
  const [row] = await findCertificates(database, organization, organization, [id])
  return found(row)
}

function found(row: CertificateRow | undefined): CertificateRow {
  if (!row) throw apiError('not_found', { what: 'certificate' })
  return row
}

/** Nobody could make a call with it any more. */
function checkAlive({ id, expires_at }: CertificateRow, nowMs: number): void {
  if (expires_at.getTime() > nowMs) return
  const message = `The certificate \`${id}\` expired at ${expires_at.toISOString()}. Upload its successor and activate that.`
  throw apiError('conflict', { message })
}

const told = ({ id, name }: CertificateRow) => ({ resourceId: id, detail: name === null ? {} : { name } })

const idOf = ({ id }: CertificateRow): string => id

const common = ({ id, name, created_at }: CertificateRow) => ({ id, name, created_at: unixSeconds(created_at) })
const datesOf = ({ valid_at, expires_at }: CertificateRow) => ({
  valid_at: unixSeconds(valid_at),
  expires_at: unixSeconds(expires_at),
})

const toCertificate = (row: CertificateRow) => ({
  object: 'certificate' as const,
  ...common(row),
  certificate_details: datesOf(row),
})

const withContent = (row: CertificateRow) => ({
  ...toCertificate(row),
  certificate_details: { ...datesOf(row), content: row.content },
})

const inScope =
  <const Kind extends string>(object: Kind) =>
  (row: CertificateRow) => ({ object, ...common(row), certificate_details: datesOf(row), active: row.active })
const inOrganization = inScope('organization.certificate')
const inProject = inScope('organization.project.certificate')

const invalid = (reason: string): Error =>
  apiError('invalid_parameter', {
    param: 'certificate',
    message: `Invalid 'certificate': ${reason}`,
    code: 'invalid_value',
  })

const uploadedBefore = (): Error =>
  apiError('conflict', {
    message: 'The organization has this very certificate already. The list of certificates shows it.',
  })

const tooMany = (): Error =>
  apiError('conflict', { message: `The organization has ${certificatesMax} certificates already. Delete one first.` })

const stillActive = (id: string, scopes: readonly string[]): Error =>
  apiError('conflict', {
    message: `The certificate \`${id}\` is active for ${scopes.join(', ')}. Deactivate it there first.`,
  })
