/**
 * One walk through the Administration API that makes one of everything, calls every row of the contract, and takes
 * everything away again. What several tests need of it: inputs that work, and the ids of things that are there.
 */
import { expect } from 'vitest'
import { allEndpoints, type NamedEndpoint } from '#contract/endpoints.ts'
import { usage } from '#contract/usage.ts'
import { makeCertificate } from './certificates.ts'
import { type Answer, type TestPlatform, walkRequestId } from './platform.ts'

/** By the name of the path parameter, or by the name that a step gave. */
export type Ids = Readonly<Record<string, string>>

export type Step = {
  /** `noun.verb` of the contract. */
  readonly row: string
  /** Which of the ids a path parameter takes, where it is not the one of its own name. */
  readonly at?: Ids
  readonly query?: string
  readonly body?: unknown | ((ids: Ids) => unknown)
  /** The ids to remember: name to member of the answer, as in `{ key_id: 'id' }`. */
  readonly keep?: Ids
  /** Whose key; left out: the admin key of the organization. */
  readonly as?: 'nobody' | 'project'
}

const step = (row: string, rest: Omit<Step, 'row'> = {}): Step => ({ row, ...rest })
const id = (name: string): Ids => ({ [name]: 'id' })
const adminKey = { key_id: 'admin_key_id' }
const projectRole = { role_id: 'project_role_id' }
const projectAlert = { alert_id: 'project_alert_id' }
const spareKey = { key_id: 'spare_key_id' }

/** A person has one address in the whole of Keyhouse, so each walk has people of its own. */
const email = (name: string, { walk }: Ids): string => `${name}.${walk}@example.com`
const limit = { threshold_amount: 5_000, currency: 'USD', interval: 'month' }
const alert = { ...limit, notification_channel: { type: 'email', recipients: ['finance@example.com'] } }
const limits = {
  max_requests_per_1_minute: 7,
  max_tokens_per_1_minute: 9_000,
  max_images_per_1_minute: 1,
  max_audio_megabytes_per_1_minute: 1,
  max_requests_per_1_day: 100,
  batch_1_day_max_input_tokens: 1_000,
  max_tokens_per_1_day: 90_000,
  max_concurrent_requests: 5,
}
const authority = makeCertificate({ name: 'Steps', authority: true }).pem
const certificateIds = ({ certificate_id }: Ids) => ({ certificate_ids: [certificate_id] })
const userId = ({ user_id }: Ids) => ({ user_id })
const roleId = ({ role_id }: Ids) => ({ role_id })
const projectRoleId = ({ project_role_id }: Ids) => ({ role_id: project_role_id })

const makeAll: readonly Step[] = [
  step('adminApiKeys.create', { body: { name: 'steps', expires_in_seconds: 3_600 }, keep: id('admin_key_id') }),
  step('projects.create', { body: { name: 'Steps' }, keep: id('project_id') }),
  step('invites.create', {
    body: (ids: Ids) => ({
      email: email('ada', ids),
      role: 'reader',
      projects: [{ id: ids.project_id, role: 'member' }],
    }),
    keep: { token: 'token', invite_id: 'id' },
  }),
  step('invites.accept', {
    as: 'nobody',
    body: ({ token }: Ids) => ({ token, name: 'Ada' }),
    keep: id('member_id'),
  }),
  step('invites.create', {
    body: (ids: Ids) => ({ email: email('ben', ids), role: 'reader' }),
    keep: { token: 'token', email: 'email' },
  }),
  step('invites.accept', { as: 'nobody', body: ({ token }: Ids) => ({ token, name: 'Ben' }), keep: id('user_id') }),
  step('invites.create', {
    body: (ids: Ids) => ({ email: email('cleo', ids), role: 'owner' }),
    keep: id('invite_id'),
  }),
  step('groups.create', { body: { name: 'Steps' }, keep: id('group_id') }),
  step('groupUsers.create', { body: userId }),
  step('projectUsers.create', { body: ({ user_id }: Ids) => ({ user_id, role: 'member' }) }),
  step('projectGroups.create', { body: ({ group_id }: Ids) => ({ group_id, role: 'viewer' }) }),
  step('roles.create', {
    body: { role_name: 'Reader of projects', permissions: ['api.organization.projects.read'], description: 'Reads' },
    keep: id('role_id'),
  }),
  step('projectRoles.create', {
    body: { role_name: 'Caller', permissions: ['model.request'] },
    keep: id('project_role_id'),
  }),
  step('userRoles.create', { body: roleId }),
  step('groupRoles.create', { body: roleId }),
  step('projectUserRoles.create', { body: projectRoleId }),
  step('projectGroupRoles.create', { body: projectRoleId }),
  step('projectApiKeys.create', { body: { name: 'main' }, keep: { key_id: 'id', key_value: 'value' } }),
  step('projectApiKeys.create', { body: { name: 'spare' }, keep: id('spare_key_id') }),
  step('projectApiKeys.backup', { body: {}, keep: id('backup_key_id') }),
  step('serviceAccounts.create', { body: { name: 'ci' }, keep: id('service_account_id') }),
  step('serviceAccounts.createApiKey', { body: { name: 'another' } }),
  step('clientSecrets.create', { as: 'project', body: { expires_in_seconds: 60 } }),
  step('certificates.upload', { body: { name: 'steps', certificate: authority }, keep: id('certificate_id') }),
  step('organizationSpendLimit.update', { body: limit }),
  step('projectSpendLimit.update', { body: limit }),
  step('organizationSpendAlerts.create', { body: alert, keep: id('alert_id') }),
  step('projectSpendAlerts.create', { body: alert, keep: id('project_alert_id') }),
  step('credits.grant', {
    body: { amount_usd: '1.50', reference: 'steps', kind: 'promotional', expires_in_seconds: 86_400 },
    keep: id('credit_grant_id'),
  }),
  step('keyBudgets.update', { body: { limit_usd: '20', period: 'month' } }),
]

const changeAll: readonly Step[] = [
  step('projects.update', { body: { name: 'Steps again' } }),
  step('users.update', { body: { role: 'owner', technical_level: 'high' } }),
  step('groups.update', { body: { name: 'Steps again' } }),
  step('roles.update', { body: { role_name: 'Onlooker', description: null } }),
  step('projectRoles.update', { at: projectRole, body: { permissions: ['model.request.embeddings'] } }),
  step('projectUsers.update', { body: { role: 'owner' } }),
  step('adminApiKeys.disable', { at: adminKey, body: {} }),
  step('adminApiKeys.enable', { at: adminKey, body: {} }),
  step('projectApiKeys.update', {
    body: { scopes: ['model.request'], allowed_cidrs: ['127.0.0.0/8'], allowed_models: [] },
  }),
  step('projectApiKeys.disable', { body: {} }),
  step('projectApiKeys.enable', { body: {} }),
  step('projectApiKeys.rotate', { at: spareKey, body: { grace_seconds: 60 } }),
  step('serviceAccounts.update', { body: { name: 'build', role: 'owner' } }),
  step('certificates.update', { body: { name: 'renamed' } }),
  step('projectCertificates.activate', { body: certificateIds }),
  step('projectCertificates.list'),
  step('projectCertificates.deactivate', { body: certificateIds }),
  step('certificates.activate', { body: certificateIds }),
  step('certificates.deactivate', { body: certificateIds }),
  step('rateLimits.update', { body: limits }),
  step('keyRateLimits.update', { body: { max_requests_per_1_minute: 3 } }),
  step('organizationRateLimits.update', { body: { max_requests_per_1_minute: 900 } }),
  step('usageTiers.update', { body: { usage_tier: '5' } }),
  step('modelPermissions.update', { body: { mode: 'allow_list', model_ids: ['keyhouse-test-chat'] } }),
  step('hostedToolPermissions.update', { body: { mcp: { enabled: false } } }),
  step('payloadCapture.update', { body: { enabled: true, retention_days: 7 } }),
  step('organizationDataRetention.update', { body: { retention_type: 'modified_abuse_monitoring' } }),
  step('projectDataRetention.update', { body: { retention_type: 'none' } }),
  step('organizationSpendAlerts.update', { body: { ...alert, threshold_amount: 6_000 } }),
  step('projectSpendAlerts.update', { at: projectAlert, body: { ...alert, threshold_amount: 6_000 } }),
  step('keyPolicies.update', { body: { service_accounts_only: false } }),
  step('keyPolicies.updateForProject', { body: { key_lifetime_seconds_max: null } }),
]

const usageKinds = Object.keys(usage).filter(kind => kind !== 'costs')

const readAll: readonly Step[] = [
  ...['adminApiKeys', 'projects', 'projectApiKeys', 'rateLimits', 'certificates', 'serviceAccounts'],
  ...['organizationRateLimits', 'keyRateLimits'],
  ...['users', 'projectUsers', 'invites', 'groups', 'groupUsers', 'projectGroups', 'roles', 'projectRoles'],
  ...['userRoles', 'groupRoles', 'projectUserRoles', 'projectGroupRoles'],
  ...['organizationSpendAlerts', 'projectSpendAlerts'],
]
  .map(noun => step(`${noun}.list`))
  .concat([
    step('adminApiKeys.retrieve', { at: adminKey }),
    step('usageTiers.retrieve'),
    step('projects.retrieve'),
    step('projectApiKeys.retrieve'),
    step('modelPermissions.retrieve'),
    step('hostedToolPermissions.retrieve'),
    step('payloadCapture.retrieve'),
    step('organizationDataRetention.retrieve'),
    step('projectDataRetention.retrieve'),
    step('organizationSpendLimit.retrieve'),
    step('projectSpendLimit.retrieve'),
    step('organizationSpendAlerts.retrieve'),
    step('projectSpendAlerts.retrieve', { at: projectAlert }),
    step('certificates.retrieve', { query: '?include[]=content' }),
    step('auditLogs.head'),
    step('auditLogs.verify'),
    step('serviceAccounts.retrieve'),
    step('keyHygiene.list'),
    step('keyPolicies.retrieve'),
    step('keyPolicies.retrieveForProject'),
    step('users.retrieve'),
    step('projectUsers.retrieve'),
    step('invites.retrieve'),
    step('groups.retrieve'),
    step('groupUsers.retrieve'),
    step('projectGroups.retrieve'),
    step('roles.retrieve'),
    step('projectRoles.retrieve', { at: projectRole }),
    step('userRoles.retrieve'),
    step('groupRoles.retrieve'),
    step('projectUserRoles.retrieve', { at: projectRole }),
    step('projectGroupRoles.retrieve', { at: projectRole }),
    step('credits.balance'),
    step('credits.list', { query: '?status=active' }),
    step('credits.retrieve'),
    step('spend.retrieve'),
    step('spend.retrieveForProject'),
    step('keyBudgets.retrieve'),
    ...usageKinds.map(kind => step(`usage.${kind}`, { query: '?start_time=0' })),
    step('usage.costs', { query: '?start_time=0' }),
    step('usageExport.usage', { query: '?start_time=0' }),
    step('usageExport.costs', { query: '?start_time=0&format=json' }),
    step('calls.list'),
    step('calls.retrieve'),
    step('calls.payload'),
  ])

const removeAll: readonly Step[] = [
  step('projectUserRoles.delete', { at: projectRole }),
  step('projectGroupRoles.delete', { at: projectRole }),
  step('userRoles.delete'),
  step('groupRoles.delete'),
  step('projectUsers.delete'),
  step('projectGroups.delete'),
  step('groupUsers.delete'),
  step('projectRoles.delete', { at: projectRole }),
  step('roles.delete'),
  step('groups.delete'),
  step('invites.delete'),
  step('compromisedKeys.report', { at: spareKey, body: { replacement: {} } }),
  step('organizationRateLimits.delete'),
  step('keyRateLimits.delete'),
  step('rateLimits.delete'),
  step('credits.revoke', { body: {} }),
  step('keyBudgets.delete'),
  step('projectApiKeys.delete'),
  step('serviceAccounts.delete'),
  step('certificates.delete'),
  step('modelPermissions.delete'),
  step('payloadCapture.delete'),
  step('organizationSpendLimit.delete'),
  step('projectSpendLimit.delete'),
  step('organizationSpendAlerts.delete'),
  step('projectSpendAlerts.delete', { at: projectAlert }),
  step('adminApiKeys.delete', { at: adminKey }),
  step('users.delete'),
  step('projects.archive', { body: {} }),
  // Last, when there is an entry of every kind
  step('auditLogs.list', { query: '?limit=100' }),
]

export const steps = { makeAll, changeAll, readAll, removeAll } as const
export const allSteps: readonly Step[] = Object.values(steps).flat()

export function endpointOf(name: string): NamedEndpoint {
  const found = allEndpoints.find(({ noun, verb }) => `${noun}.${verb}` === name)
  if (!found) throw new Error(`the contract has no row ${name}`)
  return found
}

/** A row's path, each parameter filled in; what has no id is left for the caller to see. */
export const fillPath = (path: string, ids: Ids, at: Ids = {}): string =>
  path.replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
    const value = ids[at[name] ?? name]
    return value === undefined ? whole : encodeURIComponent(value)
  })

export type Walker = { readonly send: TestPlatform['send']; readonly adminKey: string }

/** Takes the steps one after the other, each of which must work. @returns what `ids` has become */
export async function takeSteps(
  { send, adminKey }: Walker,
  list: readonly Step[],
  ids: Ids,
  see: (step: Step, answer: Answer) => void = () => undefined,
): Promise<Ids> {
  let known: Ids = { walk: 'one', rate_limit_id: 'rl-*', request_id: walkRequestId(ids.walk), ...ids }
  for (const one of list) {
    const { row } = endpointOf(one.row)
    const key = { nobody: null, project: known.key_value ?? '', admin: adminKey }[one.as ?? 'admin']
    const path = fillPath(row.path, known, one.at) + (one.query ?? '')
    const body = typeof one.body === 'function' ? one.body(known) : one.body
    const answer = await send(key, row.method, path, body)
    expect(answer.status, `${one.row}: ${answer.text}`).toBe(200)
    see(one, answer)
    const kept = Object.entries(one.keep ?? {}).map(([name, member]) => [name, String(answer.json[member])])
    known = { ...known, ...Object.fromEntries(kept) }
  }
  return known
}
