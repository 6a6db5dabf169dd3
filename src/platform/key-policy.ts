/** What the key policies of an organization and of a project demand of a new key, and of a changed one. */
import { type ApiError, apiError } from '#contract/errors.ts'
import type { KeyPlace } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { strictestKeyPolicy } from '#storage/key-policies.ts'

export type KeyPolicy = { readonly lifetimeSecondsMax: number | null; readonly serviceAccountsOnly: boolean }

/** The stricter of both, in each respect. Service accounts have no admin keys, so those go on to be people's. */
export async function keyPolicyOf(tx: Queryable, { organizationId, projectId }: KeyPlace): Promise<KeyPolicy> {
  const { lifetime_max: max, service_accounts_only: machinesOnly } = await strictestKeyPolicy(tx, [
    organizationId,
    ...(projectId === null ? [] : [projectId]),
  ])
  return {
    lifetimeSecondsMax: max === null ? null : Number(max),
    serviceAccountsOnly: machinesOnly && projectId !== null,
  }
}

/**
 * @param bornMs when the secret was made, where that was not now
 * @throws ApiError where the key would outlive what the policy allows
 */
export function checkLifetime(policy: KeyPolicy, expiresAt: Date | null, nowMs: number, bornMs = nowMs): void {
  const max = policy.lifetimeSecondsMax
  if (max === null) return
  const endsMs = bornMs + max * 1000
  if (expiresAt === null || expiresAt.getTime() > endsMs) throw tooLong(max, Math.floor((endsMs - nowMs) / 1000))
}

/**
 * Of another expiry for a key: one that comes later has to fit into the life of the key from its creation, or the longest
 * lifetime would be none. One that comes sooner is measured from now, since an old key may always be given an end.
 */
export function checkLonger(
  policy: KeyPolicy,
  { created_at: born, expires_at: until }: { readonly created_at: Date; readonly expires_at: Date | null },
  expiresAt: Date,
  nowMs: number,
): void {
  const isLater = until !== null && expiresAt > until
  checkLifetime(policy, expiresAt, nowMs, isLater ? born.getTime() : nowMs)
}

/** @throws ApiError where people get no keys of their own */
export function checkOwner(policy: KeyPolicy, owner: 'user' | 'service_account'): void {
  if (policy.serviceAccountsOnly && owner === 'user') throw apiError('service_accounts_only')
}

/** @param left of the longest lifetime, in seconds */
const tooLong = (max: number, left: number): ApiError =>
  apiError('invalid_parameter', {
    param: 'expires_in_seconds',
    message:
      `The key policy lets keys live for at most ${max} seconds (${inWords(max)}). ` +
      (left > 0 ? `Send expires_in_seconds of at most ${left}.` : 'This one has had them: rotate it.'),
    code: 'key_lifetime_too_long',
  })

const units = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const

function inWords(seconds: number): string {
  const [name, length] = units.find(([, length]) => seconds >= length) ?? ['second', 1]
  const count = Math.floor((seconds / length) * 10) / 10
  return `${count} ${name}${count === 1 ? '' : 's'}`
}
