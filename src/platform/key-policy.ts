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

/** @throws ApiError where the key would outlive what the policy allows */
export function checkLifetime({ lifetimeSecondsMax: max }: KeyPolicy, expiresAt: Date | null, nowMs: number): void {
  if (max === null) return
  if (expiresAt === null || expiresAt.getTime() > nowMs + max * 1000) throw tooLong(max)
}

/** @throws ApiError where people get no keys of their own */
export function checkOwner(policy: KeyPolicy, owner: 'user' | 'service_account'): void {
  if (policy.serviceAccountsOnly && owner === 'user') throw apiError('service_accounts_only')
}

const tooLong = (max: number): ApiError =>
  apiError('invalid_parameter', {
    param: 'expires_in_seconds',
    message: `The key policy lets keys live for at most ${max} seconds (${inWords(max)}). Send expires_in_seconds of at most ${max}.`,
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
