// The official SDK's `client.admin`, unchanged: every method of every resource is called here and works, or stands in the
// table of what we do not have. The methods are read from the SDK itself, so that those of a newer one show up.
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificate } from './support/certificates.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

/** A resource with all that is below it, or one method, and why it is not there. */
const absent = {
  'organization.externalKeys': 'everything is encrypted with keys that the operator has already',
  'organization.externalStorage': 'everything is stored where the operator decides already',
  'organization.workloadIdentityProviders': 'machines have service accounts; tokens of clouds are not taken yet',
  'organization.projects.serviceTierSettings': 'there is one tier of service',
} as const

type Method = (...given: unknown[]) => PromiseLike<unknown>
const methods = new Map<string, Method>()
const called = new Set<string>()

/** Finds the methods of a resource and of those below it, and lets each note that it was called. */
function watch(resource: object, path: string): void {
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(resource))) {
    if (name === 'constructor') continue
    // The prototype of a resource has nothing but methods
    const method = (Reflect.get(resource, name) as Method).bind(resource)
    methods.set(`${path}.${name}`, method)
    Reflect.set(resource, name, (...given: unknown[]) => {
      called.add(`${path}.${name}`)
      return method(...given)
    })
  }
  for (const [name, inner] of Object.entries(resource))
    if (name !== '_client' && typeof inner === 'object') watch(inner, `${path}.${name}`)
}

let platform: TestPlatform
let admin: OpenAI['admin']['organization']

beforeAll(async () => {
  platform = await testPlatform()
  const options = { adminAPIKey: platform.first.adminKey, apiKey: 'unused', maxRetries: 0, timeout: 20_000 }
  admin = new OpenAI({ ...options, baseURL: `${platform.url}/v1` }).admin.organization
  watch(admin, 'organization')
})
afterAll(() => platform?.stop())

async function idsOf<Item extends object>(pages: AsyncIterable<Item>): Promise<unknown[]> {
  const ids: unknown[] = []
  for await (const item of pages) ids.push('id' in item ? item.id : Reflect.get(item, 'group_id'))
  return ids
}

/** People come by invitation, and accepting one is no part of OpenAI's API. */
async function newUser(name: string): Promise<string> {
  const invite = await admin.invites.create({ email: `${name}@example.com`, role: 'reader' })
  const token: unknown = Reflect.get(invite, 'token')
  const { json } = await platform.send(null, 'POST', '/v1/organization/invites/accept', { token, name })
  return json.id
}

const newProject = async (name: string): Promise<string> => (await admin.projects.create({ name })).id
const page = { limit: 1 } as const
const limit = { threshold_amount: 5_000, currency: 'USD', interval: 'month' } as const
const notification_channel = { type: 'email' as const, recipients: ['finance@example.com'] }
const alert = { ...limit, notification_channel }

describe('the organization', () => {
  test('admin keys', async () => {
    const { id } = await admin.adminAPIKeys.create({ name: 'sdk' })
    expect(await admin.adminAPIKeys.retrieve(id)).toMatchObject({ id, name: 'sdk' })
    expect(await idsOf(admin.adminAPIKeys.list(page))).toContain(id)
    expect(await admin.adminAPIKeys.delete(id)).toMatchObject({ id, deleted: true })
  })

  test('invites', async () => {
    const { id } = await admin.invites.create({ email: 'invited@example.com', role: 'owner' })
    expect(await admin.invites.retrieve(id)).toMatchObject({ id, status: 'pending' })
    expect(await idsOf(admin.invites.list(page))).toContain(id)
    expect(await admin.invites.delete(id)).toMatchObject({ id, deleted: true })
  })

  test('roles, and people who have them', async () => {
    const user_id = await newUser('people')
    const made = await admin.roles.create({ role_name: 'Looks', permissions: ['api.organization.projects.read'] })
    expect(await admin.roles.retrieve(made.id)).toMatchObject({ id: made.id, predefined_role: false })
    expect(await admin.roles.update(made.id, { role_name: 'Sees' })).toMatchObject({ name: 'Sees' })
    expect(await idsOf(admin.roles.list(page))).toContain(made.id)
    expect(await admin.users.roles.create(user_id, { role_id: made.id })).toMatchObject({ object: 'user.role' })
    expect(await admin.users.roles.retrieve(made.id, { user_id })).toMatchObject({ id: made.id })
    expect(await idsOf(admin.users.roles.list(user_id, page))).toEqual([made.id])
    expect(await admin.users.roles.delete(made.id, { user_id })).toMatchObject({ deleted: true })
    expect(await admin.roles.delete(made.id)).toMatchObject({ id: made.id, deleted: true })
    expect(await admin.users.retrieve(user_id)).toMatchObject({ id: user_id, role: 'reader' })
    expect(await admin.users.update(user_id, { role: 'owner' })).toMatchObject({ role: 'owner' })
    expect(await idsOf(admin.users.list({ ...page, emails: ['people@example.com'] }))).toEqual([user_id])
    expect(await admin.users.delete(user_id)).toMatchObject({ id: user_id, deleted: true })
  })

  test('groups, their people and their roles', async () => {
    const user_id = await newUser('grouped')
    const role_id = (await admin.roles.create({ role_name: 'G', permissions: ['api.organization.projects.read'] })).id
    const { id: group_id } = await admin.groups.create({ name: 'Group' })
    expect(await admin.groups.retrieve(group_id)).toMatchObject({ id: group_id, name: 'Group' })
    expect(await admin.groups.update(group_id, { name: 'Renamed' })).toMatchObject({ name: 'Renamed' })
    expect(await idsOf(admin.groups.list(page))).toContain(group_id)
    expect(await admin.groups.users.create(group_id, { user_id })).toMatchObject({ user_id, group_id })
    expect(await admin.groups.users.retrieve(user_id, { group_id })).toMatchObject({ id: user_id })
    expect(await idsOf(admin.groups.users.list(group_id, page))).toEqual([user_id])
    expect(await admin.groups.users.delete(user_id, { group_id })).toMatchObject({ deleted: true })
    expect(await admin.groups.roles.create(group_id, { role_id })).toMatchObject({ object: 'group.role' })
    expect(await admin.groups.roles.retrieve(role_id, { group_id })).toMatchObject({ id: role_id })
    expect(await idsOf(admin.groups.roles.list(group_id, page))).toEqual([role_id])
    expect(await admin.groups.roles.delete(role_id, { group_id })).toMatchObject({ deleted: true })
    expect(await admin.groups.delete(group_id)).toMatchObject({ id: group_id, deleted: true })
  })

  test('data retention, spend limit and spend alerts', async () => {
    const retention_type = 'zero_data_retention'
    expect(await admin.dataRetention.update({ retention_type })).toMatchObject({ type: retention_type })
    expect(await admin.dataRetention.retrieve()).toMatchObject({ type: retention_type })
    expect(await admin.spendLimit.update(limit)).toMatchObject(limit)
    expect(await admin.spendLimit.retrieve()).toMatchObject(limit)
    expect(await admin.spendLimit.delete()).toMatchObject({ deleted: true })
    const { id } = await admin.spendAlerts.create(alert)
    expect(await admin.spendAlerts.retrieve(id)).toMatchObject({ id, ...limit })
    expect(await admin.spendAlerts.update(id, { ...alert, threshold_amount: 1 })).toMatchObject({ threshold_amount: 1 })
    expect(await idsOf(admin.spendAlerts.list(page))).toEqual([id])
    expect(await admin.spendAlerts.delete(id)).toMatchObject({ id, deleted: true })
  })

  test('usage, costs and the audit log', async () => {
    const period = { start_time: Math.floor(Date.now() / 1000) - 60 }
    expect(await admin.usage.completions(period)).toMatchObject({ object: 'page' })
    expect(await admin.usage.embeddings(period)).toMatchObject({ object: 'page' })
    expect(await admin.usage.moderations(period)).toMatchObject({ object: 'page' })
    expect(await admin.usage.images({ ...period, group_by: ['size', 'source'] })).toMatchObject({ object: 'page' })
    expect(await admin.usage.audioSpeeches(period)).toMatchObject({ object: 'page' })
    expect(await admin.usage.audioTranscriptions(period)).toMatchObject({ object: 'page' })
    expect(await admin.usage.vectorStores({ ...period, group_by: ['project_id'] })).toMatchObject({ object: 'page' })
    expect(await admin.usage.codeInterpreterSessions(period)).toMatchObject({ object: 'page' })
    expect(await admin.usage.fileSearchCalls({ ...period, group_by: ['vector_store_id'] })).toMatchObject({
      object: 'page',
    })
    expect(await admin.usage.webSearchCalls({ ...period, context_levels: ['low'] })).toMatchObject({ object: 'page' })
    expect(await admin.usage.decisions({ ...period, batch: false })).toMatchObject({ object: 'page' })
    expect(await admin.usage.costs(period)).toMatchObject({ object: 'page' })
    expect(await idsOf(admin.auditLogs.list({ limit: 2, event_types: ['group.created'] }))).toHaveLength(1)
  })

  test('certificates, here and in a project', async () => {
    const project = await newProject('Certificates')
    const { pem } = makeCertificate({ name: 'SDK', authority: true })
    const { id } = await admin.certificates.create({ name: 'sdk', certificate: pem })
    expect(await admin.certificates.retrieve(id, { include: ['content'] })).toMatchObject({ id })
    expect(await admin.certificates.update(id, { name: 'renamed' })).toMatchObject({ name: 'renamed' })
    expect(await idsOf(admin.certificates.list(page))).toEqual([id])
    const ids = { certificate_ids: [id] }
    const { certificates } = admin.projects
    expect((await certificates.activate(project, ids)).data).toMatchObject([{ id, active: true }])
    expect(await idsOf(certificates.list(project, page))).toEqual([id])
    expect((await certificates.deactivate(project, ids)).data).toMatchObject([{ id, active: false }])
    expect((await admin.certificates.activate(ids)).data).toMatchObject([{ id, active: true }])
    expect((await admin.certificates.deactivate(ids)).data).toMatchObject([{ id, active: false }])
    expect(await admin.certificates.delete(id)).toMatchObject({ id })
  })
})

describe('a project', () => {
  test('itself', async () => {
    const id = await newProject('Itself')
    expect(await admin.projects.retrieve(id)).toMatchObject({ id, status: 'active' })
    expect(await admin.projects.update(id, { name: 'Renamed' })).toMatchObject({ name: 'Renamed' })
    expect(await idsOf(admin.projects.list(page))).toContain(id)
    expect(await admin.projects.archive(id)).toMatchObject({ id, status: 'archived' })
  })

  test('its roles, its people and theirs', async () => {
    const project_id = await newProject('People')
    const user_id = await newUser('member')
    const { roles, users } = admin.projects
    const { id } = await roles.create(project_id, { role_name: 'Calls', permissions: ['model.request'] })
    expect(await roles.retrieve(id, { project_id })).toMatchObject({ id, resource_type: 'api.project' })
    expect(await roles.update(id, { project_id, role_name: 'Asks' })).toMatchObject({ name: 'Asks' })
    expect(await idsOf(roles.list(project_id, page))).toContain(id)
    expect(await users.create(project_id, { user_id, role: 'member' })).toMatchObject({ id: user_id })
    expect(await users.retrieve(user_id, { project_id })).toMatchObject({ role: 'member' })
    expect(await users.update(user_id, { project_id, role: 'owner' })).toMatchObject({ role: 'owner' })
    expect(await idsOf(users.list(project_id, page))).toContain(user_id)
    expect(await users.roles.create(user_id, { project_id, role_id: id })).toMatchObject({ object: 'user.role' })
    expect(await users.roles.retrieve(id, { project_id, user_id })).toMatchObject({ id })
    expect(await idsOf(users.roles.list(user_id, { project_id, ...page }))).toContain(id)
    expect(await users.roles.delete(id, { project_id, user_id })).toMatchObject({ deleted: true })
    expect(await users.delete(user_id, { project_id })).toMatchObject({ id: user_id, deleted: true })
    expect(await roles.delete(id, { project_id })).toMatchObject({ id, deleted: true })
  })

  test('its groups and theirs', async () => {
    const project_id = await newProject('Groups')
    const group_id = (await admin.groups.create({ name: 'In a project' })).id
    const { groups, roles } = admin.projects
    const { id } = await roles.create(project_id, { role_name: 'Calls', permissions: ['model.request'] })
    expect(await groups.create(project_id, { group_id, role: 'member' })).toMatchObject({ group_id })
    expect(await groups.retrieve(group_id, { project_id })).toMatchObject({ group_id, project_id })
    expect(await idsOf(groups.list(project_id, page))).toEqual([group_id])
    expect(await groups.roles.create(group_id, { project_id, role_id: id })).toMatchObject({ object: 'group.role' })
    expect(await groups.roles.retrieve(id, { project_id, group_id })).toMatchObject({ id })
    expect(await idsOf(groups.roles.list(group_id, { project_id, ...page }))).toContain(id)
    expect(await groups.roles.delete(id, { project_id, group_id })).toMatchObject({ deleted: true })
    expect(await groups.delete(group_id, { project_id })).toMatchObject({ deleted: true })
  })

  test('its service accounts and its keys', async () => {
    const project_id = await newProject('Keys')
    const { serviceAccounts, apiKeys } = admin.projects
    const { id, api_key } = await serviceAccounts.create(project_id, { name: 'ci' })
    expect(await serviceAccounts.retrieve(id, { project_id })).toMatchObject({ id, name: 'ci' })
    expect(await serviceAccounts.update(id, { project_id, name: 'build' })).toMatchObject({ name: 'build' })
    expect(await idsOf(serviceAccounts.list(project_id, page))).toEqual([id])
    const second = await serviceAccounts.apiKeys.create(id, { project_id, name: 'second' })
    expect(await apiKeys.retrieve(second.id, { project_id })).toMatchObject({ id: second.id, name: 'second' })
    expect(await apiKeys.update(second.id, { project_id, scopes: ['model.request'] })).toMatchObject({ id: second.id })
    expect(await idsOf(apiKeys.list(project_id, page))).toEqual([api_key?.id, second.id])
    expect(await apiKeys.delete(second.id, { project_id })).toMatchObject({ id: second.id, deleted: true })
    expect(await serviceAccounts.delete(id, { project_id })).toMatchObject({ id, deleted: true })
  })

  test('its rate limits, models, tools and data retention', async () => {
    const project_id = await newProject('Settings')
    const { rateLimits, modelPermissions, hostedToolPermissions, dataRetention } = admin.projects
    const [id] = await idsOf(rateLimits.listRateLimits(project_id, { limit: 2 }))
    const set = { project_id, max_requests_per_1_minute: 3 }
    expect(await rateLimits.updateRateLimit(String(id), set)).toMatchObject({ id, max_requests_per_1_minute: 3 })
    const models = { mode: 'deny_list' as const, model_ids: ['keyhouse-test-chat'] }
    expect(await modelPermissions.update(project_id, models)).toMatchObject(models)
    expect(await modelPermissions.retrieve(project_id)).toMatchObject(models)
    expect(await modelPermissions.delete(project_id)).toMatchObject({ deleted: true })
    const tools = { mcp: { enabled: false } }
    expect(await hostedToolPermissions.update(project_id, tools)).toMatchObject(tools)
    expect(await hostedToolPermissions.retrieve(project_id)).toMatchObject(tools)
    expect(await dataRetention.update(project_id, { retention_type: 'none' })).toMatchObject({ type: 'none' })
    expect(await dataRetention.retrieve(project_id)).toMatchObject({ type: 'none' })
  })

  test('its spend limit and spend alerts', async () => {
    const project_id = await newProject('Spend')
    const { spendLimit, spendAlerts } = admin.projects
    expect(await spendLimit.update(project_id, limit)).toMatchObject(limit)
    expect(await spendLimit.retrieve(project_id)).toMatchObject(limit)
    expect(await spendLimit.delete(project_id)).toMatchObject({ deleted: true })
    const { id } = await spendAlerts.create(project_id, alert)
    expect(await spendAlerts.retrieve(id, { project_id })).toMatchObject({ id, ...limit })
    const changed = { ...alert, project_id, threshold_amount: 1 }
    expect(await spendAlerts.update(id, changed)).toMatchObject({ threshold_amount: 1 })
    expect(await idsOf(spendAlerts.list(project_id, page))).toEqual([id])
    expect(await spendAlerts.delete(id, { project_id })).toMatchObject({ id, deleted: true })
  })
})

describe('whoever deletes what they list, page by page, gets to the end of it', () => {
  const count = 5
  const names = Array.from({ length: count }, (_, index) => `listed ${index}`)

  async function emptied<Item>(pages: AsyncIterable<Item>, remove: (item: Item) => PromiseLike<unknown>) {
    let removed = 0
    for await (const item of pages) if (await remove(item)) removed += 1
    return removed
  }
  const made = async <Item extends { id: string }>(make: (name: string) => PromiseLike<Item>): Promise<Set<string>> => {
    const ids = new Set<string>()
    for (const name of names) ids.add((await make(name)).id)
    return ids
  }

  test('people, of groups and projects and the organization', async () => {
    const group_id = (await admin.groups.create({ name: 'Emptied' })).id
    const project_id = await newProject('Emptied')
    const people = new Set<string>()
    for (const name of names) people.add(await newUser(name.replace(' ', '-')))
    for (const user_id of people) {
      await admin.groups.users.create(group_id, { user_id })
      await admin.projects.users.create(project_id, { user_id, role: 'member' })
    }
    const ofGroup = emptied(admin.groups.users.list(group_id, page), ({ id }) =>
      admin.groups.users.delete(id, { group_id }),
    )
    expect(await ofGroup).toBe(count)
    const ofProject = emptied(admin.projects.users.list(project_id, page), ({ id }) =>
      admin.projects.users.delete(id, { project_id }),
    )
    expect(await ofProject).toBe(count)
    const users = emptied(admin.users.list(page), async ({ id }) => people.has(id) && admin.users.delete(id))
    expect(await users).toBe(count)
  })

  test('groups, and those of a project', async () => {
    const project_id = await newProject('Without groups')
    const groups = await made(name => admin.groups.create({ name }))
    for (const group_id of groups) await admin.projects.groups.create(project_id, { group_id, role: 'member' })
    const ofProject = emptied(admin.projects.groups.list(project_id, page), ({ group_id }) =>
      admin.projects.groups.delete(group_id, { project_id }),
    )
    expect(await ofProject).toBe(count)
    const all = emptied(admin.groups.list(page), async ({ id }) => groups.has(id) && admin.groups.delete(id))
    expect(await all).toBe(count)
  })

  test('roles, of the organization and a project, and those of a person', async () => {
    const user_id = await newUser('loses-roles')
    const project_id = await newProject('Without roles')
    const permissions = ['model.request']
    const roles = await made(role_name => admin.roles.create({ role_name, permissions }))
    for (const role_id of roles) await admin.users.roles.create(user_id, { role_id })
    const ofUser = emptied(admin.users.roles.list(user_id, page), ({ id }) => admin.users.roles.delete(id, { user_id }))
    expect(await ofUser).toBe(count)
    const all = emptied(
      admin.roles.list({ ...page, order: 'desc' }),
      async ({ id }) => roles.has(id) && admin.roles.delete(id),
    )
    expect(await all).toBe(count)
    const { roles: inProject } = admin.projects
    const theirs = await made(role_name => inProject.create(project_id, { role_name, permissions }))
    const ofProject = emptied(
      inProject.list(project_id, page),
      async ({ id }) => theirs.has(id) && inProject.delete(id, { project_id }),
    )
    expect(await ofProject).toBe(count)
  })

  test('invitations, spend alerts and certificates', async () => {
    const invites = await made(name =>
      admin.invites.create({ email: `${name.replace(' ', '-')}@example.org`, role: 'reader' }),
    )
    const sent = emptied(admin.invites.list(page), async ({ id }) => invites.has(id) && admin.invites.delete(id))
    expect(await sent).toBe(count)
    const alerts = await made(() => admin.spendAlerts.create(alert))
    const told = emptied(admin.spendAlerts.list(page), async ({ id }) => alerts.has(id) && admin.spendAlerts.delete(id))
    expect(await told).toBe(count)
    const certificates = await made(name =>
      admin.certificates.create({ name, certificate: makeCertificate({ name, authority: true }).pem }),
    )
    const trusted = emptied(
      admin.certificates.list(page),
      async ({ id }) => certificates.has(id) && admin.certificates.delete(id),
    )
    expect(await trusted).toBe(count)
  })

  test('and one that came back meanwhile stands at its new place', async () => {
    const group_id = (await admin.groups.create({ name: 'Come and go' })).id
    const ids: string[] = []
    for (const name of ['first', 'second', 'third']) ids.push(await newUser(`${name}-comes`))
    for (const user_id of ids) await admin.groups.users.create(group_id, { user_id })
    const [first = ''] = ids
    await admin.groups.users.delete(first, { group_id })
    await admin.groups.users.create(group_id, { user_id: first })
    expect(await idsOf(admin.groups.users.list(group_id, { ...page, order: 'asc' }))).toEqual([...ids.slice(1), first])
  })
})

describe('the rest', () => {
  const belongs = (method: string, to: string): boolean => method === to || method.startsWith(`${to}.`)
  const isAbsent = (method: string): boolean => Object.keys(absent).some(name => belongs(method, name))

  test('is what the table above says, and nothing else', () => {
    const notCalled = [...methods.keys()].filter(name => !called.has(name))
    expect(notCalled.filter(name => !isAbsent(name))).toEqual([])
    expect([...called].filter(isAbsent)).toEqual([])
    expect(Object.keys(absent).filter(name => !notCalled.some(method => belongs(method, name)))).toEqual([])
  })

  test('is refused as what is not there', async () => {
    for (const [name, method] of [...methods].filter(([name]) => isAbsent(name))) {
      const ids = { project_id: platform.projectId, workload_identity_provider_id: 'x' }
      const given = name.includes('.usage.') ? [{ start_time: 1 }] : ['x', ids]
      await expect((async () => method(...given))(), name).rejects.toThrow(/404.*Invalid URL/)
    }
  })
})
