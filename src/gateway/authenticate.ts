/** Verb one. Whose key is this: memory, then shape and checksum, then one SQL. Refuses with 401. */
import { apiError } from '#contract/errors.ts'
import { checkKey } from '#core/access.ts'
import { readCredential } from '#core/credential.ts'
import type { Grant } from '#core/grant.ts'
import { parseKey, redactKey } from '#core/key-format.ts'
import { hashKey } from '#storage/secrets.ts'
import { keyIsUnknown, keyWasFound, lookUpWait } from '#storage/unknown-keys.ts'
import type { Exchange } from './exchange.ts'
import type { Gateway } from './gateway.ts'

export async function authenticate(gateway: Gateway, exchange: Exchange): Promise<Grant> {
  const key = readCredential(exchange)
  const hash = hashKey(gateway.secrets, key)
  const found = gateway.grants.find(hash, () => {
    checkShape(key)
    spareDatabase(gateway, exchange, hash)
  })
  const grant = found instanceof Promise ? await lookedUp(gateway, hash, found) : found
  if (grant === undefined) throw unknownKey(gateway, exchange, key)
  const { origin } = exchange.headers
  checkKey(grant, {
    nowMs: gateway.wallClock(),
    address: exchange.clientAddress,
    origin: typeof origin === 'string' ? origin : undefined,
    clientCertificates: () => exchange.clientCertificates(),
  })
  return grant
}

function checkShape(key: string): void {
  const parsed = parseKey(key)
  if (!parsed.ok) throw apiError('invalid_api_key', { redacted: redactKey(key), hint: parsed.hint })
}

const counting = ({ counters, settings }: Gateway) => ({ counters, perMinuteMax: settings.unknownKeysPerMinuteMax })

function spareDatabase(gateway: Gateway, { clientAddress }: Exchange, hash: Buffer): void {
  const retryAfterMs = lookUpWait(counting(gateway), clientAddress, hash)
  if (retryAfterMs > 0) throw apiError('too_many_failed_keys', undefined, { retryAfterMs })
}

async function lookedUp(
  { counters }: Gateway,
  hash: Buffer,
  found: Promise<Grant | undefined>,
): Promise<Grant | undefined> {
  const grant = await found
  if (grant) keyWasFound(counters, hash)
  return grant
}

function unknownKey(gateway: Gateway, { clientAddress }: Exchange, key: string): Error {
  const retryAfterMs = keyIsUnknown(counting(gateway), clientAddress)
  if (retryAfterMs > 0) return apiError('too_many_failed_keys', undefined, { retryAfterMs })
  const hint =
    'It has the right form, but this Keyhouse does not know it: is it a key of another installation, or deleted?'
  return apiError('invalid_api_key', { redacted: redactKey(key), hint })
}
