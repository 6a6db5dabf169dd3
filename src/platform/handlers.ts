/** Who keeps which promise: one table of handlers for each noun of the contract. */
import type { endpoints, Noun } from '#contract/endpoints.ts'
import type { Grant } from '#core/grant.ts'
import { adminApiKeyHandlers } from './admin-api-keys.ts'
import { auditLogHandlers } from './audit-logs.ts'
import { callHandlers } from './calls.ts'
import { certificateHandlers, projectCertificateHandlers } from './certificates.ts'
import type { Source } from './change.ts'
import { clientSecretHandlers } from './client-secrets.ts'
import { compromisedKeyHandlers } from './compromised-keys.ts'
import { creditHandlers } from './credits.ts'
import { organizationDataRetentionHandlers, projectDataRetentionHandlers } from './data-retention.ts'
import { groupUserHandlers } from './group-users.ts'
import { groupHandlers } from './groups.ts'
import type { Handlers } from './handler.ts'
import { hostedToolPermissionHandlers } from './hosted-tool-permissions.ts'
import { inviteHandlers } from './invites.ts'
import { jobHandlers } from './jobs.ts'
import { keyBudgetHandlers } from './key-budgets.ts'
import { keyHygieneHandlers } from './key-hygiene.ts'
import { keyPolicyHandlers } from './key-policies.ts'
import { leakHandlers } from './leaks.ts'
import { ledgerHandlers } from './ledger.ts'
import { mailHandlers } from './mails.ts'
import { meHandlers } from './me.ts'
import { modelAliasHandlers } from './model-aliases.ts'
import { modelPermissionHandlers } from './model-permissions.ts'
import { modelHandlers } from './models.ts'
import { operationHandlers } from './operations.ts'
import { payloadCaptureHandlers } from './payload-capture.ts'
import type { PlatformParts } from './platform.ts'
import { priceHandlers } from './prices.ts'
import { projectApiKeyHandlers } from './project-api-keys.ts'
import { projectGroupHandlers } from './project-groups.ts'
import { projectUserHandlers } from './project-users.ts'
import { projectHandlers } from './projects.ts'
import { providerHandlers } from './providers.ts'
import { keyRateLimitHandlers, organizationRateLimitHandlers, rateLimitHandlers } from './rate-limits.ts'
import { groupRoleHandlers, userRoleHandlers } from './role-assignments.ts'
import { roleHandlers } from './roles.ts'
import { serviceAccountHandlers } from './service-accounts.ts'
import { spendHandlers } from './spend.ts'
import { organizationSpendAlertHandlers, projectSpendAlertHandlers } from './spend-alerts.ts'
import { organizationSpendLimitHandlers, projectSpendLimitHandlers } from './spend-limits.ts'
import { usageHandlers } from './usage.ts'
import { usageExportHandlers } from './usage-export.ts'
import { usageRecomputeHandlers } from './usage-recompute.ts'
import { usageTierHandlers } from './usage-tiers.ts'
import { userHandlers } from './users.ts'

const handlers: { readonly [Key in Noun]: Handlers<(typeof endpoints)[Key]> } = {
  adminApiKeys: adminApiKeyHandlers,
  auditLogs: auditLogHandlers,
  projects: projectHandlers,
  projectApiKeys: projectApiKeyHandlers,
  rateLimits: rateLimitHandlers,
  organizationRateLimits: organizationRateLimitHandlers,
  keyRateLimits: keyRateLimitHandlers,
  usageTiers: usageTierHandlers,
  usage: usageHandlers,
  usageExport: usageExportHandlers,
  calls: callHandlers,
  payloadCapture: payloadCaptureHandlers,
  credits: creditHandlers,
  providers: providerHandlers,
  models: modelHandlers,
  modelAliases: modelAliasHandlers,
  prices: priceHandlers,
  usageRecompute: usageRecomputeHandlers,
  operations: operationHandlers,
  modelPermissions: modelPermissionHandlers,
  hostedToolPermissions: hostedToolPermissionHandlers,
  organizationDataRetention: organizationDataRetentionHandlers,
  projectDataRetention: projectDataRetentionHandlers,
  organizationSpendLimit: organizationSpendLimitHandlers,
  projectSpendLimit: projectSpendLimitHandlers,
  spend: spendHandlers,
  keyBudgets: keyBudgetHandlers,
  organizationSpendAlerts: organizationSpendAlertHandlers,
  projectSpendAlerts: projectSpendAlertHandlers,
  certificates: certificateHandlers,
  projectCertificates: projectCertificateHandlers,
  serviceAccounts: serviceAccountHandlers,
  keyPolicies: keyPolicyHandlers,
  clientSecrets: clientSecretHandlers,
  users: userHandlers,
  projectUsers: projectUserHandlers,
  invites: inviteHandlers,
  groups: groupHandlers,
  groupUsers: groupUserHandlers,
  projectGroups: projectGroupHandlers,
  roles: roleHandlers,
  projectRoles: roleHandlers,
  userRoles: userRoleHandlers,
  groupRoles: groupRoleHandlers,
  projectUserRoles: userRoleHandlers,
  projectGroupRoles: groupRoleHandlers,
  compromisedKeys: compromisedKeyHandlers,
  leaks: leakHandlers,
  me: meHandlers,
  keyHygiene: keyHygieneHandlers,
  jobs: jobHandlers,
  mails: mailHandlers,
  ledger: ledgerHandlers,
}

type AnyCall = { grant: Grant | undefined; source: Source; params: unknown; query: unknown; body: unknown }
export type AnyHandler = (parts: PlatformParts, call: AnyCall) => Promise<unknown>

/** The handler of `endpoints[noun][verb]`. */
export function handlerOf(noun: Noun, verb: string): AnyHandler {
  // Each handler's types were matched with its row in the table above; here, in a loop over rows, all of them are alike.
  const handler = (handlers[noun] as unknown as Record<string, AnyHandler>)[verb]
  if (!handler) throw new Error(`no handler for ${noun}.${verb}`)
  return handler
}
