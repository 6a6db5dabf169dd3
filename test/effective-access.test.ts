// What a person's key may do follows what the person may do: through every change of roles, groups and memberships, on a
// node that remembers grants as the product's gateway does, within one second.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ApiError } from '#contract/errors.ts'
import type { ProjectId, UserId } from '#contract/ids.ts'
import { checkKey, requireScope } from '#core/access.ts'
import { mintKey } from '#platform/mint-key.ts'
import { sql } from '#storage/database.ts'
import { hashKey } from '#storage/secrets.ts'
import { Grants } from '../src/gateway/grants.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

const boundMs = 1_000
const pollMs = 250

let platform: TestPlatform
let grants: Grants
let project: ProjectId
let polls: NodeJS.Timeout
let slowestMs = 0

beforeAll(async () => {
  platform = await testPlatform()
  // What makes projects gives their ids
  project = (await make('POST', '/v1/organization/projects', { name: 'Access' })) as ProjectId
  grants = new Grants(platform.database, { grantsMax: 100, freshMs: boundMs, pollMs }, () => performance.now())
  await grants.poll()
  polls = setInterval(() => void grants.poll(), pollMs)
})
afterAll(async () => {
  clearInterval(polls)
  await grants.poll()
  await platform?.stop()
  console.log(`slowest change: ${Math.round(slowestMs)} ms`)
})

async function must(method: string, path: string, body?: unknown) {
  const { status, json } = await platform.send(platform.first.adminKey, method, path, body)
  expect([path, status, json.error?.message]).toEqual([path, 200, undefined])
  return json
}
const make = async (method: string, path: string, body: unknown): Promise<string> => (await must(method, path, body)).id

/** Somebody of the organization, who has a key in the project. */
async function person(role: 'owner' | 'reader' = 'reader') {
  const email = `${crypto.randomUUID()}@example.com`
  const { token } = await must('POST', '/v1/organization/invites', { email, role })
  const { json } = await platform.send(null, 'POST', '/v1/organization/invites/accept', { token, name: 'Ada' })
  return { id: json.id as UserId, key: await keyOf(json.id) }
}

async function keyOf(ownerUserId: UserId): Promise<Buffer> {
  const { database, secrets, first } = platform
  const draft = { kind: 'project', projectId: project, ownerUserId, name: 'laptop' } as const
  const { value } = await database.transaction(tx =>
    mintKey(tx, secrets, { ...draft, organizationId: first.organizationId }),
  )
  return hashKey(secrets, value)
}

/** What a call with the key is told now. */
async function access(key: Buffer): Promise<'calls' | string> {
  const grant = await grants.find(key)
  if (!grant) throw new Error('no such key')
  const asker = {
    nowMs: Date.now(),
    address: '127.0.0.1',
    origin: undefined,
    clientCertificates: () => {
      throw new Error('no certificate is needed here')
    },
  }
  try {
    checkKey(grant, asker)
    requireScope(grant, 'model.request.chat_completions')
    return 'calls'
  } catch (error) {
    // Both throw nothing else
    return (error as ApiError).errorCode
  }
}

/** Remembers the grant, makes the change, and waits until calls see it. */
async function becomes(key: Buffer, expected: string, change: () => Promise<unknown>): Promise<void> {
  const before = await access(key)
  expect(before).not.toBe(expected)
  await change()
  const changedAtMs = performance.now()
  while ((await access(key)) !== expected) {
    expect(performance.now() - changedAtMs).toBeLessThan(boundMs)
    await sleep(5)
  }
  slowestMs = Math.max(slowestMs, performance.now() - changedAtMs)
}

const users = () => `/v1/organization/projects/${project}/users`

test('a person without a part in the project calls nothing; a member does; a viewer does not; a removed one is nobody', async () => {
  const { id, key } = await person()
  expect(await access(key)).toBe('owner_inactive')
  await becomes(key, 'calls', () => must('POST', users(), { user_id: id, role: 'member' }))
  await becomes(key, 'missing_scopes', () => must('POST', `${users()}/${id}`, { role: 'viewer' }))
  await becomes(key, 'calls', () => must('POST', `${users()}/${id}`, { role: 'owner' }))
  await becomes(key, 'owner_inactive', () => must('DELETE', `${users()}/${id}`))
})

test('an owner of the organization calls everywhere, until demoted or removed', async () => {
  const { id, key } = await person('owner')
  expect(await access(key)).toBe('calls')
  await becomes(key, 'owner_inactive', () => must('POST', `/v1/organization/users/${id}`, { role: 'reader' }))
  await becomes(key, 'calls', () => must('POST', `/v1/organization/users/${id}`, { role: 'owner' }))
  await becomes(key, 'owner_inactive', () => must('DELETE', `/v1/organization/users/${id}`))
})

test('a group gives access to its members, and takes it along', async () => {
  const { id, key } = await person()
  const group = await make('POST', '/v1/organization/groups', { name: 'Callers' })
  const members = `/v1/organization/groups/${group}/users`
  const projects = `/v1/organization/projects/${project}/groups`
  await must('POST', projects, { group_id: group, role: 'member' })
  await becomes(key, 'calls', () => must('POST', members, { user_id: id }))
  await becomes(key, 'owner_inactive', () => must('DELETE', `${members}/${id}`))
  await becomes(key, 'calls', () => must('POST', members, { user_id: id }))
  await becomes(key, 'owner_inactive', () => must('DELETE', `${projects}/${group}`))
  await becomes(key, 'calls', () => must('POST', projects, { group_id: group, role: 'member' }))
  await becomes(key, 'owner_inactive', () => must('DELETE', `/v1/organization/groups/${group}`))
})

test('a custom role gives what it says while it is assigned, and what it says now', async () => {
  const { id, key } = await person()
  await must('POST', users(), { user_id: id, role: 'none' })
  expect(await access(key)).toBe('missing_scopes')
  const roles = `/v1/projects/${project}/roles`
  const role = await make('POST', roles, { role_name: 'Chat', permissions: ['model.request.chat_completions'] })
  const assigned = `/v1/projects/${project}/users/${id}/roles`
  await becomes(key, 'calls', () => must('POST', assigned, { role_id: role }))
  await becomes(key, 'missing_scopes', () => must('POST', `${roles}/${role}`, { permissions: ['api.model.read'] }))
  await becomes(key, 'calls', () => must('POST', `${roles}/${role}`, { permissions: ['model.request'] }))
  await becomes(key, 'missing_scopes', () => must('DELETE', `${assigned}/${role}`))
  await becomes(key, 'calls', () => must('POST', assigned, { role_id: role }))
  await becomes(key, 'missing_scopes', () => must('DELETE', `${roles}/${role}`))
})

test('a member whose custom role gives way to viewer keeps nothing of it; what was assigned besides stays', async () => {
  const { id, key } = await person()
  const permissions = ['model.request']
  const role = await make('POST', `/v1/projects/${project}/roles`, { role_name: 'Of membership', permissions })
  const assigned = `/v1/projects/${project}/users/${id}/roles`
  await must('POST', users(), { user_id: id, role })
  expect(await access(key)).toBe('calls')
  await becomes(key, 'missing_scopes', () => must('POST', `${users()}/${id}`, { role: 'viewer' }))
  await becomes(key, 'calls', () => must('POST', `${users()}/${id}`, { role }))
  await becomes(key, 'missing_scopes', () => must('POST', `${users()}/${id}`, { role: 'none' }))
  await becomes(key, 'calls', () => must('POST', assigned, { role_id: role }))
  expect(await must('POST', `${users()}/${id}`, { role: 'viewer' })).toMatchObject({
    role: 'viewer',
    assigned_roles: [{ id: role, name: 'Of membership', assignment_sources: null }],
  })
  await grants.poll()
  expect(await access(key)).toBe('calls')
})

test('a reader whose custom role of the organization gives way to reader keeps nothing of it', async () => {
  const { id, key } = await person()
  await must('POST', users(), { user_id: id, role: 'viewer' })
  const draft = { role_name: 'Callers of the organization', permissions: ['model.request'] }
  const role_id = await make('POST', '/v1/organization/roles', draft)
  const person_ = `/v1/organization/users/${id}`
  await becomes(key, 'calls', () => must('POST', person_, { role_id }))
  await becomes(key, 'missing_scopes', () => must('POST', person_, { role: 'reader' }))
  await must('POST', person_, { role: 'owner' })
  expect((await must('POST', person_, { role_id })).role).toBe('reader')
})

test("a role of the organization, given to a group, reaches its members' keys in every project", async () => {
  const { id, key } = await person()
  await must('POST', users(), { user_id: id, role: 'viewer' })
  const group = await make('POST', '/v1/organization/groups', { name: 'Everywhere' })
  await must('POST', `/v1/organization/groups/${group}/users`, { user_id: id })
  const permissions = ['model.request']
  const role = await make('POST', '/v1/organization/roles', { role_name: 'Everywhere', permissions })
  const assigned = `/v1/organization/groups/${group}/roles`
  await becomes(key, 'calls', () => must('POST', assigned, { role_id: role }))
  await becomes(key, 'missing_scopes', () => must('DELETE', `${assigned}/${role}`))
  await becomes(key, 'calls', () => must('POST', assigned, { role_id: role }))
  await becomes(key, 'missing_scopes', () => must('DELETE', `/v1/organization/roles/${role}`))
})

test('a role that is given in one project does nothing in another', async () => {
  const { id, key } = await person()
  await must('POST', users(), { user_id: id, role: 'viewer' })
  const elsewhere = await make('POST', '/v1/organization/projects', { name: 'Elsewhere' })
  await must('POST', `/v1/organization/projects/${elsewhere}/users`, { user_id: id, role: 'owner' })
  await must('POST', `/v1/projects/${elsewhere}/users/${id}/roles`, { role_id: 'role-api-project-member' })
  await grants.poll()
  expect(await access(key)).toBe('missing_scopes')
})

test('a key that is made while its owner is being removed does not outlive them', async () => {
  for (let round = 0; round < 10; round += 1) {
    const { id } = await person('owner')
    const made: Buffer[] = []
    const callOnce = async () => {
      const key = await keyOf(id)
      made.push(key)
      // Now the node remembers what the key may do, from before the removal or from after it
      await access(key)
    }
    await Promise.all([...Array.from({ length: 5 }, callOnce), must('DELETE', `/v1/organization/users/${id}`)])
    await grants.poll()
    expect(new Set(await Promise.all(made.map(access)))).toEqual(new Set(['owner_inactive']))
  }
})

test('each change is told in the transaction that makes it', async () => {
  const { id } = await person()
  const newest = async () =>
    platform.database.query<{ subject_kind: string; subject_id: string }>(
      sql('select subject_kind, subject_id from auth_events order by id'),
    )
  const { organizationId } = platform.first
  const group = await make('POST', '/v1/organization/groups', { name: 'Told' })
  const before = (await newest()).length
  await must('POST', users(), { user_id: id, role: 'member' })
  await must('POST', `/v1/organization/groups/${group}/users`, { user_id: id })
  await must('POST', `/v1/projects/${project}/users/${id}/roles`, { role_id: 'role-api-project-viewer' })
  await must('POST', `/v1/organization/users/${id}/roles`, { role_id: 'role-api-organization-reader' })
  await must('DELETE', `/v1/organization/users/${id}`)
  const written = (await newest()).slice(before).map(event => `${event.subject_kind} ${event.subject_id}`)
  const [org, here] = [`organization ${organizationId}`, `project ${project}`]
  expect(written).toEqual([here, org, here, org, org])
})
