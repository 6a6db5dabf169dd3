/**
 * Who is asking, and may they. Each request reads its key from the database, so a revoked key is refused at once: the
 * control plane is not so busy that it would have to remember anything.
 */
import type { IncomingMessage } from 'node:http'
import type { Endpoint } from '#contract/endpoint.ts'
import { apiError } from '#contract/errors.ts'
import { checkKey, requireScope } from '#core/access.ts'
import { readCredential } from '#core/credential.ts'
import type { Grant } from '#core/grant.ts'
import { parseKey, redactKey } from '#core/key-format.ts'
import { findGrant } from '#storage/grants.ts'
import { hashKey } from '#storage/secrets.ts'
import { keyIsUnknown, keyWasFound, lookUpWait } from '#storage/unknown-keys.ts'
import type { PlatformParts } from './platform.ts'

/** @throws ApiError 401 unless a living key came along, of the kind that the row asks for */
export async function authenticate(
  parts: PlatformParts,
  request: IncomingMessage,
  { caller }: Pick<Endpoint, 'caller'>,
): Promise<Grant> {
  const { rawHeaders, url = '' } = request
  const key = readCredential({ rawHeaders, query: url.slice(url.search(/[?#]|$/) + 1) })
  const parsed = parseKey(key)
  if (!parsed.ok) throw apiError('invalid_api_key', { redacted: redactKey(key), hint: parsed.hint })
  const grant = await findKey(parts, request, key)
  const { origin } = request.headers
  checkKey(grant, {
    nowMs: parts.wallClock(),
    address: parts.clientAddress(request),
    origin,
    clientCertificates: () => parts.clientCertificates(request),
  })
  checkKind(grant, caller, request)
  checkOrganization(grant, request)
  return grant
}

function checkKind(grant: Grant, caller: Endpoint['caller'], request: IncomingMessage): void {
  if (caller === 'any' && grant.kind === 'admin') return
  if (caller !== undefined) checkProject(grant, request)
  else if (grant.kind !== 'admin') throw apiError('admin_key_required')
}

function checkProject({ projectId, projectActive }: Grant, { headers }: IncomingMessage): void {
  if (projectId === null) throw apiError('admin_key_on_gateway')
  if (!projectActive) throw apiError('project_archived', { project: projectId })
  const named = headers['openai-project']
  if (named !== undefined && named !== '' && named !== projectId) throw apiError('mismatched_project')
}

/** As in the gateway, and counted together with it. */
async function findKey(parts: PlatformParts, request: IncomingMessage, key: string): Promise<Grant> {
  const { database, counters, unknownKeysPerMinuteMax: perMinuteMax } = parts
  const [hash, address] = [hashKey(parts.secrets, key), parts.clientAddress(request)]
  const waitMs = lookUpWait({ counters, perMinuteMax }, address, hash)
  if (waitMs > 0) throw apiError('too_many_failed_keys', undefined, { retryAfterMs: waitMs })
  const grant = await findGrant(database, hash)
  if (!grant) throw unknownKey(key, keyIsUnknown({ counters, perMinuteMax }, address))
  keyWasFound(counters, hash)
  return grant
}

function unknownKey(key: string, retryAfterMs: number): Error {
  if (retryAfterMs > 0) return apiError('too_many_failed_keys', undefined, { retryAfterMs })
  const hint =
    'It has the right form, but this Keyhouse does not know it: is it a key of another installation, or deleted?'
  return apiError('invalid_api_key', { redacted: redactKey(key), hint })
}

function checkOrganization({ organizationId }: Grant, { headers }: IncomingMessage): void {
  const named = headers['openai-organization']
  if (named !== undefined && named !== '' && named !== organizationId) throw apiError('mismatched_organization')
}

/** @throws ApiError missing_scopes, operator_only */
export function authorize(grant: Grant, { scope, operatorOnly }: Endpoint): void {
  if (scope !== null) requireScope(grant, scope)
  if (operatorOnly && !grant.isOperator) throw apiError('operator_only')
}
