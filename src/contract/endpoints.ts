/** Every row of the Administration API, by noun. */
import { adminApiKeys } from './admin-api-keys.ts'
import { auditLogs } from './audit-logs.ts'
import { calls } from './calls.ts'
import { certificates, projectCertificates } from './certificates.ts'
import { clientSecrets } from './client-secrets.ts'
import { compromisedKeys } from './compromised-keys.ts'
import { credits } from './credits.ts'
import { organizationDataRetention, projectDataRetention } from './data-retention.ts'
import type { Endpoint, Endpoints } from './endpoint.ts'
import { groups, groupUsers } from './groups.ts'
import { hostedToolPermissions } from './hosted-tool-permissions.ts'
import { invites } from './invites.ts'
import { jobs } from './jobs.ts'
import { keyBudgets } from './key-budgets.ts'
import { keyHygiene } from './key-hygiene.ts'
import { keyPolicies } from './key-policies.ts'
import { leaks } from './leaks.ts'
import { ledger } from './ledger.ts'
import { mails } from './mails.ts'
import { me } from './me.ts'
import { modelPermissions } from './model-permissions.ts'
import { modelAliases, models } from './models.ts'
import { operations } from './operations.ts'
import { payloadCapture } from './payload-capture.ts'
import { prices } from './prices.ts'
import { projectApiKeys } from './project-api-keys.ts'
import { projectGroups } from './project-groups.ts'
import { projectUsers } from './project-users.ts'
import { projects } from './projects.ts'
import { providers } from './providers.ts'
import { keyRateLimits, organizationRateLimits, rateLimits } from './rate-limits.ts'
import { groupRoles, projectGroupRoles, projectUserRoles, userRoles } from './role-assignments.ts'
import { projectRoles, roles } from './roles.ts'
import { serviceAccounts } from './service-accounts.ts'
import { organizationSpendAlerts, projectSpendAlerts } from './spend-alerts.ts'
import { organizationSpendLimit, projectSpendLimit, spend } from './spend-limits.ts'
import { usage } from './usage.ts'
import { usageExport } from './usage-export.ts'
import { usageRecompute } from './usage-recompute.ts'
import { usageTiers } from './usage-tiers.ts'
import { users } from './users.ts'

export const endpoints = {
  adminApiKeys,
  projects,
  projectApiKeys,
  rateLimits,
  organizationRateLimits,
  keyRateLimits,
  usageTiers,
  usage,
  usageExport,
  calls,
  payloadCapture,
  credits,
  providers,
  models,
  modelAliases,
  prices,
  usageRecompute,
  operations,
  modelPermissions,
  hostedToolPermissions,
  organizationDataRetention,
  projectDataRetention,
  organizationSpendLimit,
  projectSpendLimit,
  spend,
  keyBudgets,
  organizationSpendAlerts,
  projectSpendAlerts,
  certificates,
  projectCertificates,
  auditLogs,
  serviceAccounts,
  keyPolicies,
  clientSecrets,
  users,
  projectUsers,
  invites,
  groups,
  groupUsers,
  projectGroups,
  roles,
  projectRoles,
  userRoles,
  groupRoles,
  projectUserRoles,
  projectGroupRoles,
  compromisedKeys,
  leaks,
  me,
  keyHygiene,
  jobs,
  mails,
  ledger,
} as const satisfies Readonly<Record<string, Endpoints>>

export type Noun = keyof typeof endpoints
export type NamedEndpoint = { readonly noun: Noun; readonly verb: string; readonly row: Endpoint }

export const allEndpoints: readonly NamedEndpoint[] = Object.entries(endpoints).flatMap(([noun, rows]) =>
  // entries() forgets that these are the keys of the table above
  Object.entries(rows as Endpoints).map(([verb, row]) => ({ noun: noun as Noun, verb, row })),
)
