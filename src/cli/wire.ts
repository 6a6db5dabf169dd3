/**
 * What the API answers, in the types of its contract. Types only: zod would double the time that a command takes to start,
 * and the server, whose own tests hold it to these shapes, has no reason to be doubted again here.
 */
import type { z } from 'zod'
import type { adminApiKey } from '#contract/admin-api-keys.ts'
import type { certificate, organizationCertificate } from '#contract/certificates.ts'
import type { creditBalance, creditGrant } from '#contract/credits.ts'
import type { projectDataRetention } from '#contract/data-retention.ts'
import type { group, groupUser } from '#contract/groups.ts'
import type { hostedToolPermission } from '#contract/hosted-tool-permissions.ts'
import type { invite } from '#contract/invites.ts'
import type { job, jobs } from '#contract/jobs.ts'
import type { keyBudgets } from '#contract/key-budgets.ts'
import type { keyPolicies } from '#contract/key-policies.ts'
import type { ledgerVerification } from '#contract/ledger.ts'
import type { mail, mails } from '#contract/mails.ts'
import type { me } from '#contract/me.ts'
import type { modelPermission } from '#contract/model-permissions.ts'
import type { model } from '#contract/models.ts'
import type { ServerStatus } from '#contract/operations.ts'
import type { projectApiKey, projectApiKeys } from '#contract/project-api-keys.ts'
import type { projectGroup } from '#contract/project-groups.ts'
import type { projectUser } from '#contract/project-users.ts'
import type { project } from '#contract/projects.ts'
import type { provider } from '#contract/providers.ts'
import type { keyRateLimit, organizationRateLimit, rateLimit } from '#contract/rate-limits.ts'
import type { assignedRole } from '#contract/role-assignments.ts'
import type { role } from '#contract/roles.ts'
import type { serviceAccount, serviceAccounts } from '#contract/service-accounts.ts'
import type { organizationSpendAlerts } from '#contract/spend-alerts.ts'
import type { organizationSpendLimit, spend } from '#contract/spend-limits.ts'
import type { completionsUsage, costs, embeddingsUsage } from '#contract/usage.ts'
import type { usageTiers } from '#contract/usage-tiers.ts'
import type { organizationUser } from '#contract/users.ts'

type ScopeCertificate = z.output<typeof organizationCertificate>
export type CertificateInScope = Omit<ScopeCertificate, 'object'> & { object: string }
export type Certificate = z.output<typeof certificate>
export type RateLimit = z.output<typeof rateLimit | typeof organizationRateLimit | typeof keyRateLimit>
export type UsageTier = z.output<typeof usageTiers.retrieve.answer>
export type ModelPermissions = z.output<typeof modelPermission>
export type HostedToolPermissions = z.output<typeof hostedToolPermission>
export type RetentionType = z.output<typeof projectDataRetention.retrieve.answer>['type']
export type DataRetention = { object: string; type: string }
export type SpendLimit = z.output<(typeof organizationSpendLimit)['retrieve']['answer']>
type OrganizationSpend = z.output<typeof spend.retrieve.answer>
export type Spend = Omit<OrganizationSpend, 'object' | 'usage_tier_cap_usd'>
export type KeyBudget = z.output<typeof keyBudgets.retrieve.answer>
export type SpendAlert = z.output<(typeof organizationSpendAlerts)['retrieve']['answer']>
export type ProjectGroup = z.output<typeof projectGroup>
export type Project = z.output<typeof project>
export type AdminKey = z.output<typeof adminApiKey>
export type ProjectKey = z.output<typeof projectApiKey>
export type RotatedKey = z.output<typeof projectApiKeys.rotate.answer>
export type ServiceAccount = z.output<typeof serviceAccount>
export type NewServiceAccount = z.output<typeof serviceAccounts.create.answer>
export type ServiceAccountKey = z.output<typeof serviceAccounts.createApiKey.answer>
export type KeyPolicy = z.output<typeof keyPolicies.retrieve.answer>
export type NewKey<Key> = Key & { value: string }
export type PlatformModel = z.output<typeof model>
export type Price = NonNullable<PlatformModel['price']>
export type Provider = z.output<typeof provider>
export type CompletionsUsage = z.output<typeof completionsUsage>
export type EmbeddingsUsage = z.output<typeof embeddingsUsage>
export type Costs = z.output<typeof costs>
export type CreditBalance = z.output<typeof creditBalance>
export type CreditGrant = z.output<typeof creditGrant>
export type User = z.output<typeof organizationUser>
export type ProjectUser = z.output<typeof projectUser>
export type Invite = z.output<typeof invite>
export type Group = z.output<typeof group>
export type GroupUser = z.output<typeof groupUser>
export type Role = z.output<typeof role>
export type AssignedRole = z.output<typeof assignedRole>
export type Status = ServerStatus
export type Me = z.output<typeof me.retrieve.answer>
export type Job = z.output<typeof job>
export type JobRun = z.output<typeof jobs.run.answer>
export type LedgerVerification = z.output<typeof ledgerVerification>
export type Mail = z.output<typeof mail>
export type MailWithText = z.output<typeof mails.retrieve.answer>

/** `next` where the API pages by it: groups, roles and who has them. */
export type Page<Item> = { data: Item[]; has_more: boolean; last_id?: string | null; next?: string | null }

export type UsagePage<Result> = {
  data: { start_time: number; end_time: number; results: Result[] }[]
  has_more: boolean
  next_page: string | null
}

/** The lines of POST /v1/platform/models/{name}/pull. */
export type PullLine =
  | { status: 'downloading'; part: string; bytes_done: number; bytes_total: number | null; percent: number }
  | { status: 'ready' }
  | { status: 'failed'; reason: string }
