/** The immutable answer to "what may this key do". The gateway keeps grants in memory; only storage makes them. */
import type { X509Certificate } from 'node:crypto'
import type { HostedTool } from '#contract/hosted-tool-permissions.ts'
import type { ApiKeyId, OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import type { KeyKind } from './key-format.ts'
import type { LimitsByModel } from './limit-dimensions.ts'
import type { SpendLimits } from './spending.ts'
import type { TierName } from './usage-tiers.ts'

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
  readonly spendLimits: SpendLimits
  /** Empty: All. */
  readonly scopes: readonly string[]
  /** What the owner's roles allow; what a key may do is what both allow. */
  readonly permissions: ReadonlySet<string>
  readonly expiresAtMs: number | null
  readonly restrictions: readonly Restriction[]
  /** Of the project. */
  readonly modelPermissions: ModelPermissions | null
  /** Of the key itself. Empty: all that the project may call. */
  readonly allowedModels: readonly string[]
  readonly disabledTools: readonly HostedTool[]
  /** Active for the key's organization or project: a call must come with one that verifies. None: it need not. */
  readonly certificates: readonly X509Certificate[]
  /** Whose limits hold where none were set; null: those of the settings. */
  readonly usageTier: TierName | null
  /** Rate limits that were set for the organization, the project, and the key, together with those that it replaced. */
  readonly organizationLimits: LimitsByModel
  /** What the organization's owner set for it: the lower of the two holds. */
  readonly ownerLimits: LimitsByModel
  readonly projectLimits: LimitsByModel
  readonly keyLimits: LimitsByModel
  /** How much is kept of what is said in the project's calls; null: nothing. */
  readonly capture: { readonly bytesMax: number } | null
}
