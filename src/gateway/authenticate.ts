/** Verb one. Whose key is this: shape and checksum first, then memory, then one SQL. Refuses with 401. */
import { apiError } from '#contract/errors.ts'
import { checkKey } from '#core/access.ts'
import { addressBucket } from '#core/address.ts'
import { readCredential } from '#core/credential.ts'
import type { Grant } from '#core/grant.ts'
import { parseKey, redactKey } from '#core/key-format.ts'
import { hashKey } from '#storage/secrets.ts'
import type { Exchange } from './exchange.ts'
import type { Gateway } from './gateway.ts'

export async function authenticate(gateway: Gateway, exchange: Exchange): Promise<Grant> {
  const key = readCredential(exchange)
  const parsed = parseKey(key)
  if (!parsed.ok) throw apiError('invalid_api_key', { redacted: redactKey(key), hint: parsed.hint })
  const found = gateway.grants.find(hashKey(gateway.secrets, key))
  const grant = found instanceof Promise ? await found : found
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

/** Anyone can make keys with a good checksum. After so many a minute an address is told to wait; the look-up has been made by then. */
function unknownKey(gateway: Gateway, exchange: Exchange, key: string): Error {
  const refusal = gateway.counters.take([
    {
      counter: `unknown-keys ${addressBucket(exchange.clientAddress)}`,
      rate: { limit: gateway.settings.unknownKeysPerMinuteMax, periodMs: 60_000 },
      cost: 1,
    },
  ])
  if (refusal) return apiError('too_many_failed_keys', undefined, { retryAfterMs: refusal.waitMs })
  const hint =
    'It has the right form, but this Keyhouse does not know it: is it a key of another installation, or deleted?'
  return apiError('invalid_api_key', { redacted: redactKey(key), hint })
}
