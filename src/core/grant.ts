/** The immutable answer to "what may this key do". The gateway keeps grants in memory; only storage makes them. */
import type { ApiKeyId, OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import type { KeyKind } from './key-format.ts'

export type ScopeLimits = { readonly requestsPerMinute: number; readonly tokensPerMinute: number }

export type Grant = {
  readonly keyId: ApiKeyId
  readonly kind: KeyKind
  readonly redacted: string
  readonly organizationId: OrganizationId
  readonly isOperator: boolean
  /** Null for admin keys alone. */
  readonly projectId: ProjectId | null
  readonly projectActive: boolean
  readonly userId: UserId | null
  /** Empty: All. */
  readonly scopes: readonly string[]
  readonly expiresAtMs: number | null
  readonly revoked: boolean
  /** Rate limits that were set for this organization or project; by model, '*' for all the others. */
  readonly organizationLimits: ReadonlyMap<string, Partial<ScopeLimits>>
  readonly projectLimits: ReadonlyMap<string, Partial<ScopeLimits>>
}

/** The limits of one scope for one model: the model's own row, else the row for all models, else the default. */
export function limitsFor(
  limits: ReadonlyMap<string, Partial<ScopeLimits>>,
  model: string,
  fallback: ScopeLimits,
): ScopeLimits {
  if (limits.size === 0) return fallback
  return { ...fallback, ...limits.get('*'), ...limits.get(model) }
}
