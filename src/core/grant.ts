/** The immutable answer to "what may this key do". The gateway keeps grants in memory; only storage makes them. */
import type { X509Certificate } from 'node:crypto'
import type { HostedTool } from '#contract/hosted-tool-permissions.ts'
import type { ApiKeyId, OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import type { KeyKind } from './key-format.ts'

export type ScopeLimits = { readonly requestsPerMinute: number; readonly tokensPerMinute: number }

/** Address and origin lists of the key, its project, its organization. One that is empty restricts nothing. */
export type Restriction = {
  readonly where: 'key' | 'project' | 'organization'
  readonly cidrs: readonly string[]
  readonly origins: readonly string[]
}

export type ModelPermissions = { readonly mode: 'allow_list' | 'deny_list'; readonly models: ReadonlySet<string> }

/** What keeps a key from working, apart from its expiry, which the clock decides. */
export type KeyState = 'active' | 'revoked' | 'disabled' | 'asleep' | 'owner_inactive'

export type Grant = {
  readonly keyId: ApiKeyId
  readonly kind: KeyKind
  readonly redacted: string
  readonly state: KeyState
  readonly organizationId: OrganizationId
  readonly isOperator: boolean
  /** Null for admin keys alone. */
  readonly projectId: ProjectId | null
  readonly projectActive: boolean
  readonly userId: UserId | null
  readonly serviceAccountId: string | null
  /** Whose budget this key spends: its own, or that of the first of the keys that it replaced. */
  readonly budgetKeyId: ApiKeyId
  /** Empty: All. */
  readonly scopes: readonly string[]
  /** What the owner's roles allow; what a key may do is what both allow. */
  readonly permissions: ReadonlySet<string>
  readonly expiresAtMs: number | null
  readonly restrictions: readonly Restriction[]
  readonly modelPermissions: ModelPermissions | null
  readonly disabledTools: readonly HostedTool[]
  /** Active for the key's organization or project: a call must come with one that verifies. None: it need not. */
  readonly certificates: readonly X509Certificate[]
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
