/** May this key be used: alive, from here, for that. The same for both planes, so that no door is left without a lock. */
import { apiError } from '#contract/errors.ts'
import { keyAllows, type Scope } from '#contract/scopes.ts'
import { type AddressList, addressList, plainAddress } from './address.ts'
import { checkClientCertificate, type PresentedChain } from './certificate.ts'
import type { Grant, KeyState, Restriction } from './grant.ts'
import { rolesAllow } from './roles.ts'

export type Asker = {
  readonly nowMs: number
  readonly address: string
  /** The Origin header, where a browser sent one. */
  readonly origin: string | undefined
  /** What the client proved to be; asked only where a certificate is needed. Left out: nothing. */
  readonly clientCertificates?: () => PresentedChain
}

const refusals = {
  revoked: 'key_revoked',
  disabled: 'key_disabled',
  asleep: 'key_asleep',
  owner_inactive: 'owner_inactive',
} as const satisfies Record<Exclude<KeyState, 'active'>, string>

/** @throws ApiError when the key is revoked, disabled, asleep, expired, or not to be used from there or without a certificate */
export function checkKey(grant: Grant, asker: Asker): void {
  checkLife(grant, asker.nowMs)
  for (const restriction of grant.restrictions) checkRestriction(grant, restriction, asker)
  checkClientCertificate(grant.certificates, asker.clientCertificates ?? noCertificates, asker.nowMs)
}

/** @throws ApiError when the key is revoked, disabled, asleep or expired */
export function checkLife(grant: Grant, nowMs: number): void {
  const { state, redacted, expiresAtMs } = grant
  if (state !== 'active') throw apiError(refusals[state], { redacted })
  if (expiresAtMs !== null && expiresAtMs <= nowMs) {
    throw apiError('key_expired', { redacted, expiredAt: new Date(expiresAtMs).toISOString() })
  }
}

const noCertificates = (): PresentedChain => []

const lists = new WeakMap<Restriction, AddressList>()

function listOf(restriction: Restriction): AddressList {
  const known = lists.get(restriction)
  if (known) return known
  const made = addressList(restriction.cidrs)
  lists.set(restriction, made)
  return made
}

/** Origins are about keys in web pages: an admin key is in none, and must be able to take a wrong list back. */
function checkRestriction({ kind }: Grant, restriction: Restriction, { address, origin }: Asker): void {
  const { where, cidrs, origins } = restriction
  if (cidrs.length > 0 && !listOf(restriction).has(address)) {
    throw apiError('ip_not_authorized', { address: plainAddress(address), where })
  }
  if (kind !== 'admin' && origins.length > 0 && !origins.some(pattern => matchesOrigin(pattern, origin))) {
    throw apiError('origin_not_authorized', { origin: (origin ?? 'of no browser').slice(0, 200), where })
  }
}

/**
 * `app.example.com` is that host; `*.example.com` every host below it, and not the host itself. Any scheme and port. Advisory:
 * a browser sends its Origin, anything else may send what it likes.
 */
export function matchesOrigin(pattern: string, origin: string | undefined): boolean {
  if (origin === undefined || !URL.canParse(origin)) return false
  const host = new URL(origin).hostname.toLowerCase()
  const wanted = pattern.toLowerCase()
  return wanted.startsWith('*.') ? host.endsWith(wanted.slice(1)) && host.length > wanted.length - 1 : host === wanted
}

/** What the key's scopes and its owner's roles both allow. */
export const mayDo = (grant: Grant, needed: Scope): boolean =>
  keyAllows(grant.scopes, needed) && rolesAllow(grant.permissions, needed)

/** @throws ApiError missing_scopes, which names what to add */
export function requireScope(grant: Grant, needed: Scope): void {
  if (!mayDo(grant, needed)) throw apiError('missing_scopes', { scopes: [needed] })
}

export const projectPermitsModel = ({ modelPermissions }: Grant, model: string): boolean =>
  modelPermissions === null || modelPermissions.models.has(model) === (modelPermissions.mode === 'allow_list')

export const keyPermitsModel = ({ allowedModels }: Grant, model: string): boolean =>
  allowedModels.length === 0 || allowedModels.includes(model)
