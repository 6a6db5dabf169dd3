// Two organizations, each with one of everything: no id of the one, anywhere in a request of the other, reaches anything,
// and every answer is the one that an id which nobody has would get.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { allEndpoints } from '#contract/endpoints.ts'
import { randomBase62 } from '#contract/ids.ts'
import { rollUpUsage } from '#storage/usage-rollups.ts'
import { allSteps, endpointOf, fillPath, type Ids, type Step, steps, takeSteps } from './support/admin-steps.ts'
import { type Answer, type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
/** Whose things are looked for, and who looks for them. */
let victim: Ids
let asker: Ids
/** What nobody has: each as the victim's, under the same name. */
let nobodys: Ids

const made = [...steps.makeAll, ...steps.changeAll]
const ofOperator = (step: Step): boolean => endpointOf(step.row).row.operatorOnly === true
const askersSteps = made.filter(step => !ofOperator(step))

beforeAll(async () => {
  platform = await testPlatform()
  const { send, first, other } = platform
  victim = await takeSteps({ send, adminKey: first.adminKey }, made, {})
  asker = await takeSteps({ send, adminKey: other.adminKey }, askersSteps, { walk: 'two' })
  // Credit comes from the operator only
  const credit = { amount_usd: '1', reference: 'theirs', organization_id: other.organizationId }
  const { json } = await send(first.adminKey, 'POST', '/v1/organization/credit_grants', credit)
  asker = { ...asker, credit_grant_id: json.id }
  const unknown = Object.entries(victim).map(([name, id]) => [name, likeNobodys(id)])
  nobodys = { ...Object.fromEntries(unknown), email: 'nobody@example.com' }
})
afterAll(() => platform?.stop())

const likeNobodys = (id: string): string => id.replace(/[0-9A-Za-z]{24}$/, () => randomBase62(24))

const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
  platform.send(platform.other.adminKey, method, path, body)

/** The answer with every id that was asked for taken out of it. */
async function refusal(answer: Promise<Answer>, ids: Ids): Promise<readonly [number, string]> {
  const { status, text } = await answer
  const foreign = Object.values(ids).filter(isOwned)
  return [status, foreign.reduce((rest, id) => rest.replaceAll(id, '<id>'), text)]
}

/** A rate limit is named after its model, which is everybody's; the name of a walk is no id. */
const isOwned = (id: string): boolean => id !== victim.rate_limit_id && id !== victim.walk

const parametersOf = (path: string): string[] => [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)

type Place = { readonly step: Step; readonly parameter: string }

/** Every path parameter of every row, once. */
const places: readonly Place[] = allEndpoints
  .filter(({ row }) => row.scope !== null && !row.operatorOnly)
  .flatMap(({ noun, verb, row }) => {
    const step = allSteps.find(({ row: name }) => name === `${noun}.${verb}`)
    return parametersOf(row.path)
      .filter(parameter => parameter !== 'rate_limit_id')
      .map(parameter => ({ step: step ?? { row: `${noun}.${verb}` }, parameter }))
  })

function request({ row: name, at, query = '', body }: Step, ids: Ids, bodyIds: Ids): Promise<Answer> {
  const { row } = endpointOf(name)
  return ask(row.method, fillPath(row.path, ids, at) + query, typeof body === 'function' ? body(bodyIds) : body)
}

test('the walk has an input for every row with an identifier in its path', () => {
  expect(places.filter(({ step }) => !allSteps.includes(step)).map(({ step }) => step.row)).toEqual([])
  expect(places.length).toBeGreaterThan(100)
})

describe('a path', () => {
  let before: string[]
  beforeAll(async () => {
    before = await everythingOfTheVictim()
  })

  test.each(places)("of $step.row with another organization's $parameter looks as if nobody had it", async place => {
    const { step, parameter } = place
    const name = step.at?.[parameter] ?? parameter
    // Everything else in the request is the asker's own, so that only this one id can be what refuses it
    const theirs = await refusal(request(step, { ...asker, [name]: victim[name] ?? '' }, asker), victim)
    const unknown = await refusal(request(step, { ...asker, [name]: nobodys[name] ?? '' }, asker), nobodys)
    expect(theirs[0]).toBe(404)
    expect(theirs).toEqual(unknown)
  })

  const named = [...new Set(places.map(({ step }) => step))]
  test.each(named)('of $row with nothing but ids of another organization is not found', async step => {
    const theirs = await refusal(request(step, victim, victim), victim)
    expect(theirs[0]).toBe(404)
    expect(theirs).toEqual(await refusal(request(step, nobodys, nobodys), nobodys))
  })

  test('that was refused changed nothing', async () => {
    expect(await everythingOfTheVictim()).toEqual(before)
  })
})

/** What its owner reads of it; without the audit log's verification, nothing moves by itself. */
async function everythingOfTheVictim(): Promise<string[]> {
  const texts: string[] = []
  const { send, first } = platform
  const see = (_: Step, { text }: Answer) => texts.push(text.replaceAll(/"last_used_at":\w+/g, ''))
  await takeSteps({ send, adminKey: first.adminKey }, steps.readAll, victim, see)
  return texts
}

describe('a body', () => {
  const cases: readonly (readonly [row: string, names: string, body: (foreign: Ids) => unknown])[] = [
    ['invites.create', 'project_id', ids => invitation(ids)],
    ['groupUsers.create', 'user_id', ({ user_id }) => ({ user_id })],
    ['projectUsers.create', 'user_id', ({ user_id }) => ({ user_id, role: 'member' })],
    ['projectUsers.create', 'email', ({ email }) => ({ email, role: 'member' })],
    ['projectUsers.create', 'project_role_id', ids => ({ user_id: asker.member_id, role: ids.project_role_id })],
    ['projectUsers.update', 'project_role_id', ids => ({ role: ids.project_role_id })],
    ['projectGroups.create', 'group_id', ({ group_id }) => ({ group_id, role: 'viewer' })],
    ['projectGroups.create', 'project_role_id', ids => ({ group_id: asker.group_id, role: ids.project_role_id })],
    ['users.update', 'role_id', ({ role_id }) => ({ role_id })],
    ['userRoles.create', 'role_id', ({ role_id }) => ({ role_id })],
    ['groupRoles.create', 'role_id', ({ role_id }) => ({ role_id })],
    ['projectUserRoles.create', 'project_role_id', ids => ({ role_id: ids.project_role_id })],
    ['projectGroupRoles.create', 'project_role_id', ids => ({ role_id: ids.project_role_id })],
    ['projectUserRoles.create', 'role_id', ({ role_id }) => ({ role_id })],
    ['certificates.activate', 'certificate_id', ids => ({ certificate_ids: [ids.certificate_id] })],
    ['certificates.deactivate', 'certificate_id', ids => ({ certificate_ids: [ids.certificate_id] })],
    ['certificates.activate', 'certificate_id', ids => bothCertificates(ids)],
    ['projectCertificates.activate', 'certificate_id', ids => ({ certificate_ids: [ids.certificate_id] })],
    ['projectCertificates.deactivate', 'certificate_id', ids => ({ certificate_ids: [ids.certificate_id] })],
    ['projectApiKeys.create', 'key_id', ({ key_id }) => ({ name: 'behind', backup_of: key_id })],
    // A predefined role is everybody's, and its id names a place
    [
      'projectUserRoles.create',
      'project_id',
      ids => ({ role_id: `role-api-project-owner__api-project__${ids.project_id}` }),
    ],
    ['projectUsers.update', 'project_id', ids => ({ role: `role-api-project-owner__api-project__${ids.project_id}` })],
  ]
  const invitation = ({ project_id }: Ids) => ({
    email: 'dora@example.com',
    role: 'reader',
    projects: [{ id: project_id, role: 'member' }],
  })
  const bothCertificates = (ids: Ids) => ({ certificate_ids: [asker.certificate_id, ids.certificate_id] })

  test.each(cases)("of %s with another organization's %s is refused as one that nobody has", async (row, _, body) => {
    const theirs = await refusal(request({ row, body }, asker, victim), victim)
    expect([400, 404]).toContain(theirs[0])
    expect(theirs).toEqual(await refusal(request({ row, body }, asker, nobodys), nobodys))
  })
})

test('a role or key of one project is none of another, in the same organization', async () => {
  const project = (await ask('POST', '/v1/organization/projects', { name: 'Beside' })).json.id
  const { member_id: user, project_role_id: role, key_id: key } = asker
  const members = `/v1/organization/projects/${project}/users`
  expect((await ask('POST', members, { user_id: user, role: 'member' })).status).toBe(200)
  const answers = [
    await ask('POST', `${members}/${user}`, { role }),
    await ask('POST', `/v1/projects/${project}/users/${user}/roles`, { role_id: role }),
    await ask('POST', `/v1/organization/users/${user}/roles`, { role_id: role }),
    await ask('POST', `/v1/projects/${project}/users/${user}/roles`, { role_id: asker.role_id }),
    await ask('GET', `/v1/organization/projects/${project}/api_keys/${key}`),
    await ask('POST', `/v1/organization/projects/${project}/api_keys/${key}/rotate`, {}),
    await ask('POST', `/v1/organization/projects/${project}/api_keys/${key}/compromised`, {}),
    await ask('POST', `/v1/organization/projects/${project}/api_keys`, { name: 'behind', backup_of: key }),
  ]
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 404))
})

describe('what was used', () => {
  const usage = 'group_by[]=project_id&start_time='
  beforeAll(() => rollUpUsage(platform.database))
  // The calls that both have made are of 2001
  const sources = [`usage/completions?${usage}978220800&limit=31`, `costs?${usage}978220800`, 'calls?']
  const exports = [`usage/export?${usage}978220800`, `costs/export?${usage}978220800&format=json`]

  test.each([...sources, ...exports])('by one organization is in no answer of %s to another', async source => {
    const { first, other, projectId, send } = platform
    const names = async (key: string, filter = ''): Promise<boolean> => {
      const { status, text } = await send(key, 'GET', `/v1/organization/${source}${filter}`)
      expect(status).toBe(200)
      return text.includes(projectId)
    }
    expect(await names(first.adminKey)).toBe(true)
    const filters = [`project_ids[]=${projectId}`, `user_ids[]=${victim.user_id}`, `api_key_ids[]=${victim.key_id}`]
    for (const filter of ['', ...filters])
      expect([filter, await names(other.adminKey, `&${filter}`)]).toEqual([filter, false])
  })
})

describe('a list', () => {
  const lists = steps.readAll.filter(({ row }) => row.endsWith('.list'))

  test.each([...lists, { row: 'auditLogs.list', query: '?limit=100' }])(
    '$row has nothing of another organization, and its cursor finds no place there',
    async step => {
      const { status, text, json } = await request(step, asker, asker)
      expect([status, json.data.length > 0]).toEqual([200, true])
      for (const [name, id] of Object.entries(victim).filter(([, id]) => isOwned(id)))
        expect(text.includes(id), name).toBe(false)
      const cursors = [victim, nobodys].map(ids => cursorOf(step, ids))
      const pages = cursors.map(cursor => request({ ...step, query: `?after=${cursor}` }, asker, asker))
      const [theirs, unknown] = await Promise.all(pages.map(page => refusal(page, { ...victim, ...nobodysAgain() })))
      expect(theirs).toEqual(unknown)
    },
  )

  /** Under other names, so that both sets of ids fit into one. */
  const nobodysAgain = (): Ids => Object.fromEntries(Object.entries(nobodys).map(([name, id]) => [`no ${name}`, id]))

  const cursorNames: Ids = {
    adminApiKeys: 'admin_key_id',
    projects: 'project_id',
    projectApiKeys: 'key_id',
    certificates: 'certificate_id',
    serviceAccounts: 'service_account_id',
    invites: 'invite_id',
    groups: 'group_id',
    projectGroups: 'group_id',
    organizationSpendAlerts: 'alert_id',
    projectSpendAlerts: 'project_alert_id',
    roles: 'role_id',
    userRoles: 'role_id',
    groupRoles: 'role_id',
    projectRoles: 'project_role_id',
    projectUserRoles: 'project_role_id',
    projectGroupRoles: 'project_role_id',
  }
  const cursorOf = ({ row }: Step, ids: Ids): string => ids[cursorNames[row.split('.')[0] ?? ''] ?? 'user_id'] ?? ''

  test.each([
    ['audit_logs', 'project_ids', 'project_id'],
    ['audit_logs', 'resource_ids', 'project_id'],
    ['audit_logs', 'resource_ids', 'key_id'],
    ['audit_logs', 'actor_ids', 'user_id'],
  ])('/v1/organization/%s filtered by %s of another organization is empty', async (path, filter, name) => {
    const { json } = await ask('GET', `/v1/organization/${path}?${filter}[]=${victim[name]}`)
    expect(json.data).toEqual([])
  })
})
