// People, groups and roles: who comes in, who may give what to whom, and that a key does what its owner may do now.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ProjectId, UserId } from '#contract/ids.ts'
import { scopes } from '#contract/scopes.ts'
import { predefinedRoles } from '#core/roles.ts'
import { mintKey } from '#platform/mint-key.ts'
import { sql } from '#storage/database.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
let admin: string

beforeAll(async () => {
  platform = await testPlatform()
  admin = platform.first.adminKey
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) => platform.send(admin, method, path, body)
const theirs = (method: string, path: string, body?: unknown) =>
  platform.send(platform.other.adminKey, method, path, body)
const org = '/v1/organization'
const inProject = (rest = '') => `${org}/projects/${platform.projectId}${rest}`
const admins = () =>
  new OpenAI({ adminAPIKey: admin, apiKey: 'unused', baseURL: `${platform.url}/v1`, maxRetries: 0 }).admin.organization

const freshEmail = () => `${crypto.randomUUID()}@example.com`

/** Somebody who came by invitation. */
async function newUser(role: 'owner' | 'reader' = 'reader', projects: { id: string; role: string }[] = []) {
  const { json: invite } = await ask('POST', `${org}/invites`, { email: freshEmail(), role, projects })
  const { status, json } = await platform.send(null, 'POST', `${org}/invites/accept`, {
    token: invite.token,
    name: 'Ada',
  })
  expect(status).toBe(200)
  return json as { id: UserId; email: string; role: string }
}

async function newProject(name = 'People'): Promise<ProjectId> {
  return (await ask('POST', `${org}/projects`, { name })).json.id
}

async function adminKeyOf(ownerUserId: UserId | null, scopes: string[] = []): Promise<string> {
  const draft = { kind: 'admin', projectId: null, ownerUserId, name: 'narrow', scopes } as const
  const { organizationId } = platform.first
  const minted = await platform.database.transaction(tx => mintKey(tx, platform.secrets, { ...draft, organizationId }))
  return minted.value
}

const audited = async (resourceId: string) =>
  (
    await platform.database.query<{ type: string; entry: string; project_id: string | null; actor_kind: string }>(
      sql('select type, entry, project_id, actor_kind from audit_logs where resource_id = $1 order by number'),
      [resourceId],
    )
  ).map(row => ({ ...row, entry: JSON.parse(row.entry) }))

async function everything<Item>(pages: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = []
  for await (const item of pages) items.push(item)
  return items
}

describe('invitations', () => {
  test('bring a person in with the role and the projects that were promised', async () => {
    const id = await newProject()
    const email = freshEmail()
    const made = await ask('POST', `${org}/invites`, { email, role: 'reader', projects: [{ id, role: 'member' }] })
    expect(made.json).toMatchObject({ object: 'organization.invite', email, status: 'pending', accepted_at: null })
    expect(made.json.token).toMatch(/^[0-9A-Za-z]{43}$/)
    const accepted = await platform.send(null, 'POST', `${org}/invites/accept`, { token: made.json.token, name: 'Ada' })
    expect(accepted.json).toMatchObject({ object: 'organization.user', name: 'Ada', email, role: 'reader' })
    const member = await ask('GET', `${org}/projects/${id}/users/${accepted.json.id}`)
    expect(member.json).toMatchObject({ role: 'member', email })
    expect((await ask('GET', `${org}/invites/${made.json.id}`)).json.status).toBe('accepted')
    expect((await ask('DELETE', `${org}/invites/${made.json.id}`)).status).toBe(409)
    const [sent, taken] = await audited(made.json.id)
    expect([sent?.type, taken?.type, taken?.actor_kind]).toEqual(['invite.sent', 'invite.accepted', 'session'])
    expect(taken?.entry.actor.session.user).toEqual({ id: accepted.json.id, email })
  })

  test('carry a token that is kept nowhere, and shown once', async () => {
    const { json } = await ask('POST', `${org}/invites`, { email: freshEmail(), role: 'reader' })
    const [row] = await platform.database.query<{ token_hash: Buffer; text: string }>(
      sql('select token_hash, invites::text as text from invites where id = $1'),
      [json.id],
    )
    expect(row?.token_hash).toEqual(createHash('sha256').update(json.token).digest())
    expect(row?.text).not.toContain(json.token)
    expect(JSON.stringify(await audited(json.id))).not.toContain(json.token)
    expect((await ask('GET', `${org}/invites/${json.id}`)).json).not.toHaveProperty('token')
    expect(platform.logged.join()).not.toContain(json.token)
  })

  test('that were used, withdrawn, expired or made up are refused with one sentence', async () => {
    const accept = (token: string) => platform.send(null, 'POST', `${org}/invites/accept`, { token, name: 'Eve' })
    const invite = async () => (await ask('POST', `${org}/invites`, { email: freshEmail(), role: 'reader' })).json
    const [used, withdrawn, expired] = [await invite(), await invite(), await invite()]
    expect((await accept(used.token)).status).toBe(200)
    expect((await ask('DELETE', `${org}/invites/${withdrawn.id}`)).json).toEqual({
      object: 'organization.invite.deleted',
      id: withdrawn.id,
      deleted: true,
    })
    await platform.database.query(sql('update invites set expires_at = now() where id = $1'), [expired.id])
    expect((await ask('GET', `${org}/invites/${expired.id}`)).json.status).toBe('expired')
    const answers = await Promise.all([used.token, withdrawn.token, expired.token, 'made-up'].map(accept))
    const seen = answers.map(({ status, json }) => [status, json.error.code, json.error.message])
    expect(new Set(seen.map(String)).size).toBe(1)
    expect(seen[0]).toEqual([404, 'invite_invalid', expect.stringContaining('keyhouse invites create')])
  })

  test('cannot be accepted twice at the same moment', async () => {
    const { json } = await ask('POST', `${org}/invites`, { email: freshEmail(), role: 'reader' })
    const body = { token: json.token, name: 'Twin' }
    const answers = await Promise.all(
      [1, 2, 3, 4].map(() => platform.send(null, 'POST', `${org}/invites/accept`, body)),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 404, 404, 404])
  })

  test('are not sent twice to one address, nor to a member; an expired one may be sent again', async () => {
    const email = freshEmail()
    const body = { email, role: 'reader' }
    const first = await Promise.all([1, 2, 3].map(() => ask('POST', `${org}/invites`, body)))
    expect(first.map(({ status }) => status).sort()).toEqual([200, 409, 409])
    expect((await ask('POST', `${org}/invites`, { ...body, email: email.toUpperCase() })).status).toBe(409)
    const member = await newUser()
    expect((await ask('POST', `${org}/invites`, { ...body, email: member.email })).status).toBe(409)
    await platform.database.query(sql('update invites set expires_at = now() where email = $1'), [email])
    expect((await ask('POST', `${org}/invites`, body)).status).toBe(200)
  })

  test('to projects of others, or that are archived, are refused', async () => {
    const archived = await newProject()
    await ask('POST', `${org}/projects/${archived}/archive`)
    const to = (id: string) =>
      ask('POST', `${org}/invites`, { email: freshEmail(), role: 'reader', projects: [{ id, role: 'member' }] })
    expect([(await to(platform.other.projectId)).status, (await to(archived)).status]).toEqual([404, 409])
  })
})

describe('an invitation is worth what its sender may still give', () => {
  const accept = async (token: string) =>
    (await platform.send(null, 'POST', `${org}/invites/accept`, { token, name: 'Back again' })).status
  const sentWith = async (key: string, role = 'reader', projects: { id: string; role: string }[] = []) => {
    const { status, json } = await platform.send(key, 'POST', `${org}/invites`, { email: freshEmail(), role, projects })
    expect(status).toBe(200)
    return json as { id: string; token: string }
  }
  const left = async (...invites: { id: string }[]) => {
    const answers = await Promise.all(invites.map(({ id }) => ask('GET', `${org}/invites/${id}`)))
    return answers.map(({ status }) => status === 200)
  }

  test('an owner who is removed does not come back by what they sent to themselves', async () => {
    const owner = await newUser('owner')
    const own = await sentWith(await adminKeyOf(owner.id), 'owner')
    const others = await sentWith(admin)
    const machines = await sentWith(await adminKeyOf(null))
    const accepted = await sentWith(await adminKeyOf(owner.id))
    expect(await accept(accepted.token)).toBe(200)
    await ask('DELETE', `${org}/users/${owner.id}`)
    expect(await left(own, others, machines, accepted)).toEqual([false, true, true, true])
    expect([await accept(own.token), await accept(others.token), await accept(machines.token)]).toEqual([404, 200, 200])
    const [sent, withdrawn] = await audited(own.id)
    expect([sent?.type, withdrawn?.type]).toEqual(['invite.sent', 'invite.deleted'])
    expect(withdrawn?.entry['invite.deleted'].data.reason).toContain('the sender may not give this any more')
  })

  test('an owner who is demoted, and may still invite, keeps what gives no more than that', async () => {
    const permissions = ['api.organization.invites.write', 'api.model.read', 'api.groups.read', 'api.roles.read']
    const inviter = (await ask('POST', `${org}/roles`, { role_name: 'Inviter', permissions })).json
    const user = await newUser('owner')
    const key = await adminKeyOf(user.id)
    await ask('POST', `${org}/users/${user.id}/roles`, { role_id: inviter.id })
    const invites = [await sentWith(key, 'owner'), await sentWith(key, 'reader')]
    const toProject = await sentWith(key, 'reader', [{ id: platform.projectId, role: 'member' }])
    await ask('POST', `${org}/users/${user.id}`, { role: 'reader' })
    expect(await left(...invites, toProject)).toEqual([false, true, false])
    await ask('DELETE', `${org}/users/${user.id}/roles/${inviter.id}`)
    expect(await left(...invites)).toEqual([false, false])
  })

  test('the right to invite may go with a group, or out of a role', async () => {
    const permissions = ['api.organization.invites.write', 'api.model.read', 'api.groups.read', 'api.roles.read']
    const role = (await ask('POST', `${org}/roles`, { role_name: 'Inviters', permissions })).json
    const group = (await ask('POST', `${org}/groups`, { name: 'Inviters' })).json
    await ask('POST', `${org}/groups/${group.id}/roles`, { role_id: role.id })
    const user = await newUser()
    const key = await adminKeyOf(user.id)
    const members = `${org}/groups/${group.id}/users`
    for (const takeAway of [
      () => ask('DELETE', `${members}/${user.id}`),
      () => ask('POST', `${org}/roles/${role.id}`, { permissions: permissions.slice(1) }),
      () => ask('DELETE', `${org}/groups/${group.id}`),
    ]) {
      await ask('POST', `${org}/roles/${role.id}`, { permissions })
      await ask('POST', members, { user_id: user.id })
      const invite = await sentWith(key)
      expect(await left(invite)).toEqual([true])
      expect((await takeAway()).status).toBe(200)
      expect(await left(invite)).toEqual([false])
    }
  })

  test('also where the sender lost it in a way that withdrew nothing', async () => {
    const owner = await newUser('owner')
    const invite = await sentWith(await adminKeyOf(owner.id))
    await platform.database.query(sql("update users set role = 'reader' where id = $1"), [owner.id])
    expect([await left(invite), await accept(invite.token)]).toEqual([[true], 404])
    await platform.database.query(sql("update users set role = 'owner' where id = $1"), [owner.id])
    expect(await accept(invite.token)).toBe(200)
  })
})

describe('people', () => {
  test('are listed by page and by e-mail address, in both spellings of an array', async () => {
    const [one, two] = [await newUser(), await newUser()]
    const found = await everything(admins().users.list({ emails: [one.email.toUpperCase(), two.email], limit: 1 }))
    expect(found.map(({ id }) => id)).toEqual([one.id, two.id])
    const plain = await ask('GET', `${org}/users?emails=${two.email}`)
    expect(plain.json.data.map(({ id }: { id: string }) => id)).toEqual([two.id])
    const all = await everything(admins().users.list({ limit: 2 }))
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
    expect(all.map(({ name }) => name)).toContain('Owner')
  })

  test('show their projects and the last use of their keys when asked for alone', async () => {
    const id = await newProject('Shown')
    const user = await newUser('reader', [{ id, role: 'owner' }])
    const { json } = await ask('GET', `${org}/users/${user.id}`)
    expect(json).toMatchObject({
      api_key_last_used_at: null,
      projects: { object: 'list', data: [{ id, name: 'Shown', role: 'owner' }] },
    })
  })

  test('have their role changed, by its name or its id', async () => {
    const user = await newUser()
    const path = `${org}/users/${user.id}`
    expect((await ask('POST', path, { role: 'owner', technical_level: 'high' })).json).toMatchObject({
      role: 'owner',
      technical_level: 'high',
    })
    const back = await ask('POST', path, { role_id: 'role-api-organization-reader' })
    expect(back.json).toMatchObject({ role: 'reader', technical_level: 'high' })
    expect((await ask('POST', path, { role: 'king' })).json.error.param).toBe('role')
    expect((await ask('POST', path, { rank: 1 })).json.error.code).toBe('unknown_parameter')
    expect((await audited(user.id)).map(({ type }) => type)).toEqual(['user.added', 'user.updated', 'user.updated'])
  })

  test('the last owner is neither removed nor demoted, even when two try at the same moment', async () => {
    const { json } = await theirs('GET', `${org}/users`)
    const [first] = json.data
    const alone = await theirs('DELETE', `${org}/users/${first.id}`)
    expect([alone.status, alone.json.error.message]).toEqual([409, expect.stringContaining('last owner')])
    expect((await theirs('POST', `${org}/users/${first.id}`, { role: 'reader' })).status).toBe(409)
    for (let round = 0; round < 5; round += 1) {
      const { json: invite } = await theirs('POST', `${org}/invites`, { email: freshEmail(), role: 'owner' })
      const accepted = await platform.send(null, 'POST', `${org}/invites/accept`, { token: invite.token, name: 'B' })
      // The key that asks belongs to the first: it must not lose its own rights on the way
      const machine = await otherMachine()
      const answers = await Promise.all([
        platform.send(machine, 'POST', `${org}/users/${first.id}`, { role: 'reader' }),
        platform.send(machine, 'DELETE', `${org}/users/${accepted.json.id}`),
      ])
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409])
      const owners = (await platform.send(machine, 'GET', `${org}/users`)).json.data.filter(
        ({ role }: { role: string }) => role === 'owner',
      )
      expect(owners).toHaveLength(1)
      await platform.send(machine, 'POST', `${org}/users/${first.id}`, { role: 'owner' })
      await platform.send(machine, 'DELETE', `${org}/users/${accepted.json.id}`)
    }
  })

  test('that were removed are gone from everywhere, and may come back as somebody new', async () => {
    const id = await newProject()
    const user = await newUser('reader', [{ id, role: 'member' }])
    const group = (await ask('POST', `${org}/groups`, { name: 'Leavers' })).json
    await ask('POST', `${org}/groups/${group.id}/users`, { user_id: user.id })
    expect((await ask('DELETE', `${org}/users/${user.id}`)).json).toMatchObject({ deleted: true })
    expect((await ask('GET', `${org}/users/${user.id}`)).status).toBe(404)
    expect((await ask('GET', `${org}/projects/${id}/users`)).json.data).toEqual([])
    expect((await ask('GET', `${org}/groups/${group.id}/users`)).json.data).toEqual([])
    const { json: invite } = await ask('POST', `${org}/invites`, { email: user.email, role: 'reader' })
    const again = await platform.send(null, 'POST', `${org}/invites/accept`, { token: invite.token, name: 'Ada' })
    expect([again.status, again.json.id === user.id]).toEqual([200, false])
  })
})

/** An admin key of the other organization that no person owns. */
async function otherMachine(): Promise<string> {
  const { organizationId } = platform.other
  const draft = { kind: 'admin', projectId: null, ownerUserId: null, name: 'machine', organizationId } as const
  return (await platform.database.transaction(tx => mintKey(tx, platform.secrets, draft))).value
}

describe('members of a project', () => {
  test('are added by id or e-mail address, changed and removed', async () => {
    const id = await newProject()
    const path = `${org}/projects/${id}/users`
    const [one, two] = [await newUser(), await newUser()]
    expect((await ask('POST', path, { user_id: one.id, role: 'member' })).json).toMatchObject({ role: 'member' })
    expect((await ask('POST', path, { email: two.email, role: 'role-api-project-viewer' })).json).toMatchObject({
      id: two.id,
      role: 'viewer',
    })
    expect((await ask('POST', path, { user_id: one.id, role: 'viewer' })).status).toBe(409)
    expect((await ask('POST', `${path}/${one.id}`, { role: 'owner' })).json.role).toBe('owner')
    const listed = await ask('GET', `${path}?limit=1`)
    expect([listed.json.data[0].id, listed.json.has_more]).toEqual([one.id, true])
    const next = await ask('GET', `${path}?limit=1&after=${one.id}`)
    expect([next.json.data[0].id, next.json.has_more]).toEqual([two.id, false])
    expect((await ask('DELETE', `${path}/${one.id}`)).json).toEqual({
      object: 'organization.project.user.deleted',
      id: one.id,
      deleted: true,
    })
    expect((await ask('GET', `${path}/${one.id}`)).status).toBe(404)
    const entries = (await audited(one.id)).filter(({ project_id }) => project_id === id)
    expect(entries.map(({ type }) => type)).toEqual(['user.added', 'user.updated', 'user.deleted'])
  })

  test('must be people of the organization, named once, in a role that there is', async () => {
    const path = inProject('/users')
    const user = await newUser()
    const stranger = (await theirs('GET', `${org}/users`)).json.data[0]
    expect((await ask('POST', path, { user_id: stranger.id, role: 'member' })).status).toBe(404)
    expect((await ask('POST', path, { role: 'member' })).json.error.param).toBe('user_id')
    const other = await newUser()
    const two = await ask('POST', path, { user_id: user.id, email: other.email, role: 'member' })
    expect([two.status, two.json.error.param]).toEqual([400, 'email'])
    expect((await ask('POST', path, { user_id: user.id, role: 'king' })).json.error.param).toBe('role')
    expect((await ask('POST', path, { user_id: user.id, role: 'role_nothing' })).status).toBe(404)
  })

  test('stay as they are once the project is archived', async () => {
    const id = await newProject()
    const user = await newUser('reader', [{ id, role: 'member' }])
    await ask('POST', `${org}/projects/${id}/archive`)
    const path = `${org}/projects/${id}/users`
    const answers = [
      await ask('POST', path, { user_id: (await newUser()).id, role: 'member' }),
      await ask('POST', `${path}/${user.id}`, { role: 'viewer' }),
      await ask('DELETE', `${path}/${user.id}`),
    ]
    expect(answers.map(({ status }) => status)).toEqual([409, 409, 409])
  })
})

describe('roles', () => {
  const permissions = ['model.request.embeddings', 'api.model.read']

  test('the predefined ones lead every list and cannot be changed or deleted', async () => {
    const projectId = await newProject()
    const project = `/v1/projects/${projectId}/roles`
    const place = `__api-organization__${platform.first.organizationId}`
    const names = async (path: string) => (await ask('GET', path)).json.data.map(({ id }: { id: string }) => id)
    expect((await names(`${org}/roles`)).slice(0, 2)).toEqual([
      `role-api-organization-owner${place}`,
      `role-api-organization-reader${place}`,
    ])
    expect(await names(project)).toEqual(
      ['owner', 'member', 'viewer'].map(name => `role-api-project-${name}__api-project__${projectId}`),
    )
    const known = `${org}/roles/role-api-organization-owner`
    expect((await ask('GET', known)).json).toMatchObject({ predefined_role: true, resource_type: 'api.organization' })
    const refused = [await ask('DELETE', known), await ask('POST', known, { role_name: 'king' })]
    for (const { status, json } of refused) {
      expect([status, json.error.message]).toEqual([409, expect.stringContaining('predefined')])
    }
    expect((await ask('GET', `${project}/role-api-organization-owner`)).status).toBe(404)
  })

  test('the predefined ones go by their id with the place, as at OpenAI, and by the one without', async () => {
    const project = await newProject()
    const user = await newUser('reader', [{ id: project, role: 'member' }])
    const path = `/v1/projects/${project}/users/${user.id}/roles`
    const [short, long] = ['role-api-project-viewer', `role-api-project-viewer__api-project__${project}`]
    for (const [given, other] of [
      [short, long],
      [long, short],
    ] as const) {
      expect((await ask('POST', path, { role_id: given })).json.role).toMatchObject({ id: long, predefined_role: true })
      expect((await ask('POST', path, { role_id: other })).status).toBe(409)
      expect((await ask('GET', path)).json.data).toMatchObject([{ id: long }])
      expect((await ask('GET', `${path}?after=${given}`)).json.data).toEqual([])
      expect((await ask('GET', `${path}/${given}`)).json.id).toBe(long)
      expect((await ask('DELETE', `${path}/${other}`)).status).toBe(200)
    }
    expect((await audited(long)).map(({ type }) => type)).toHaveLength(4)
    const elsewhere = `role-api-project-viewer__api-project__${platform.projectId}`
    expect((await ask('POST', path, { role_id: elsewhere })).status).toBe(404)
    const member = await ask('POST', `${org}/projects/${project}/users/${user.id}`, { role: long })
    expect(member.json.role).toBe('viewer')
  })

  test('are paged without a gap over predefined and custom ones, in both directions', async () => {
    const project = await newProject()
    for (const name of ['a', 'b', 'c']) {
      await ask('POST', `/v1/projects/${project}/roles`, { role_name: name, permissions })
    }
    for (const order of ['asc', 'desc'] as const) {
      const whole = (await ask('GET', `/v1/projects/${project}/roles?order=${order}`)).json.data
      const names = ['owner', 'member', 'viewer', 'a', 'b', 'c']
      expect(whole.map(({ name }: { name: string }) => name)).toEqual(order === 'asc' ? names : names.toReversed())
      for (const limit of [1, 2, 3, 4, 6]) {
        const paged = await everything(admins().projects.roles.list(project, { limit, order }))
        expect(paged.map(({ name }) => name)).toEqual(whole.map(({ name }: { name: string }) => name))
      }
    }
  })

  test('have names of their own and permissions that exist', async () => {
    const project = `/v1/projects/${await newProject()}/roles`
    const create = (path: string, role_name: string, given = permissions) =>
      ask('POST', path, { role_name, permissions: given })
    const made = await create(`${org}/roles`, 'Embedder')
    expect(made.json).toMatchObject({ name: 'Embedder', permissions, predefined_role: false, description: null })
    expect((await create(`${org}/roles`, 'embedder')).status).toBe(409)
    expect((await create(`${org}/roles`, 'Owner')).status).toBe(409)
    expect((await create(project, 'Embedder')).json.resource_type).toBe('api.project')
    const unknown = await create(`${org}/roles`, 'x', ['model.request', 'api.moon.write'])
    expect([unknown.status, unknown.json.error.message]).toEqual([400, expect.stringContaining("'api.moon.write'")])
    const tooWide = await create(project, 'x', ['api.organization.admin_api_keys.write'])
    expect(tooWide.json.error.message).toContain('permission of the organization')
    const renamed = await ask('POST', `${org}/roles/${made.json.id}`, { description: 'Vectors.', role_name: 'Vectors' })
    expect(renamed.json).toMatchObject({ name: 'Vectors', description: 'Vectors.', permissions })
    expect((await ask('DELETE', `${org}/roles/${made.json.id}`)).json).toMatchObject({ object: 'role.deleted' })
    expect((await audited(made.json.id)).map(({ type }) => type)).toEqual([
      'role.created',
      'role.updated',
      'role.deleted',
    ])
  })

  test('that two create under one name at the same moment exist once', async () => {
    const create = () => ask('POST', `${org}/roles`, { role_name: 'Only one', permissions })
    const answers = await Promise.all([create(), create(), create()])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409])
  })

  test('go to people and groups, once each, and a person shows what comes through groups', async () => {
    const user = await newUser()
    const group = (await ask('POST', `${org}/groups`, { name: 'Readers' })).json
    await ask('POST', `${org}/groups/${group.id}/users`, { user_id: user.id })
    const role = (await ask('POST', `${org}/roles`, { role_name: 'Usage', permissions: ['api.usage.read'] })).json
    const path = `${org}/users/${user.id}/roles`
    const through = await ask('POST', `${org}/groups/${group.id}/roles`, { role_id: role.id })
    expect(through.json).toMatchObject({ object: 'group.role', group: { id: group.id, object: 'group' }, role })
    expect((await ask('GET', `${path}/${role.id}`)).json).toMatchObject({
      id: role.id,
      assignment_sources: [{ principal_id: group.id, principal_type: 'group' }],
      created_by_user_obj: { name: 'Owner' },
    })
    expect((await ask('DELETE', `${path}/${role.id}`)).status).toBe(404)
    expect((await ask('POST', path, { role_id: role.id })).json).toMatchObject({
      object: 'user.role',
      user: { id: user.id },
    })
    expect((await ask('POST', path, { role_id: role.id })).status).toBe(409)
    await ask('DELETE', `${org}/groups/${group.id}/roles/${role.id}`)
    expect((await ask('GET', `${path}/${role.id}`)).json.assignment_sources).toBeNull()
    expect((await ask('DELETE', `${path}/${role.id}`)).json).toEqual({ object: 'user.role.deleted', deleted: true })
    expect((await ask('GET', path)).json).toEqual({ object: 'list', data: [], has_more: false, next: null })
    await ask('POST', path, { role_id: role.id })
    await ask('DELETE', `${org}/roles/${role.id}`)
    expect((await ask('GET', path)).json.data).toEqual([])
    expect((await audited(role.id)).map(({ type }) => type)).toEqual([
      'role.created',
      'role.assignment.created',
      'role.assignment.created',
      'role.assignment.deleted',
      'role.assignment.deleted',
      'role.assignment.created',
      'role.deleted',
    ])
  })

  test('of a project go only to those who have a part in it, and leave with them', async () => {
    const project = await newProject()
    const role = (
      await ask('POST', `/v1/projects/${project}/roles`, { role_name: 'Caller', permissions: ['model.request'] })
    ).json
    const user = await newUser()
    const path = `/v1/projects/${project}/users/${user.id}/roles`
    expect((await ask('POST', path, { role_id: role.id })).status).toBe(404)
    const member = { user_id: user.id, role: role.id }
    expect((await ask('POST', `${org}/projects/${project}/users`, member)).json.role).toBe(role.id)
    expect((await ask('GET', path)).json.data.map(({ id }: { id: string }) => id)).toEqual([role.id])
    expect((await ask('POST', `${org}/users/${user.id}/roles`, { role_id: role.id })).status).toBe(404)
    await ask('DELETE', `${org}/projects/${project}/users/${user.id}`)
    expect((await ask('GET', path)).json.data).toEqual([])
  })

  test('named as the role of a membership are shown as that, replaced by the next, and each step is audited', async () => {
    const project = await newProject()
    const draft = (name: string) => ({ role_name: name, permissions: ['api.model.read'] })
    const made = async (name: string) => (await ask('POST', `/v1/projects/${project}/roles`, draft(name))).json.id
    const [one, two] = [await made('One'), await made('Two')]
    const user = await newUser()
    const member = `${org}/projects/${project}/users/${user.id}`
    await ask('POST', `${org}/projects/${project}/users`, { user_id: user.id, role: one })
    expect((await ask('POST', member, {})).json.role).toBe(one)
    expect((await ask('POST', member, { role: two })).json).toMatchObject({
      role: two,
      assigned_roles: [{ id: two, name: 'Two' }],
    })
    expect((await ask('GET', `${org}/projects/${project}/users`)).json.data).toMatchObject([{ role: two }])
    expect((await ask('GET', `${org}/users/${user.id}`)).json.projects.data).toMatchObject([{ role: two }])
    expect((await ask('POST', member, { role: 'member' })).json).toMatchObject({ role: 'member', assigned_roles: [] })
    const entries = [...(await audited(one)), ...(await audited(two))].map(({ type, project_id }) => [type, project_id])
    const [given, taken] = [
      ['role.assignment.created', project],
      ['role.assignment.deleted', project],
    ]
    expect(entries).toEqual([['role.created', project], given, taken, ['role.created', project], given, taken])
  })

  test('that a person has through a group are shown where the role of the membership is changed', async () => {
    const group = (await ask('POST', `${org}/groups`, { name: 'Beside' })).json
    const role = (await ask('POST', `${org}/roles`, { role_name: 'Beside', permissions })).json
    await ask('POST', `${org}/groups/${group.id}/roles`, { role_id: role.id })
    const user = await newUser('owner')
    await ask('POST', `${org}/groups/${group.id}/users`, { user_id: user.id })
    const beside = {
      id: role.id,
      name: 'Beside',
      assignment_sources: [{ principal_id: group.id, principal_type: 'group' }],
    }
    const demoted = await ask('POST', `${org}/users/${user.id}`, { role: 'reader' })
    expect(demoted.json).toMatchObject({ role: 'reader', assigned_roles: [beside] })
    expect((await ask('GET', `${org}/users/${user.id}`)).json.assigned_roles).toEqual([beside])
  })
})

describe('nobody gives what their own key may not do', () => {
  const beyond = async (key: string, path: string, body: unknown, named: string) => {
    const { status, json } = await platform.send(key, 'POST', path, body)
    expect([status, json.error.code]).toEqual([403, 'beyond_own_permissions'])
    expect(json.error.message).toContain(named)
  }
  const owned = async () => (await ask('GET', `${org}/users`)).json.data[0].id as UserId

  test('a role, a membership, an invitation, a group or a promotion', async () => {
    const narrow = await adminKeyOf(await owned(), [
      'api.roles.write',
      'api.groups.write',
      'api.organization.users.write',
      'api.organization.invites.write',
      'api.organization.projects.write',
    ])
    const user = await newUser()
    const wide = (await ask('POST', `${org}/roles`, { role_name: 'Wide', permissions: ['model.request'] })).json
    const group = (await ask('POST', `${org}/groups`, { name: 'Wide' })).json
    await ask('POST', `${org}/groups/${group.id}/roles`, { role_id: wide.id })
    await beyond(
      narrow,
      `${org}/roles`,
      { role_name: 'W', permissions: ['api.roles.read', 'api.all.read'] },
      'api.all.read',
    )
    await beyond(
      narrow,
      `${org}/roles/${wide.id}`,
      { permissions: ['model.request', 'api.credits.write'] },
      'api.credits.write',
    )
    await beyond(narrow, `${org}/users/${user.id}/roles`, { role_id: wide.id }, 'model.request')
    await beyond(narrow, `${org}/users/${user.id}`, { role: 'owner' }, 'api')
    await beyond(narrow, `${org}/invites`, { email: freshEmail(), role: 'owner' }, 'api')
    await beyond(narrow, inProject('/users'), { user_id: user.id, role: 'member' }, 'model.request')
    await beyond(narrow, inProject('/groups'), { group_id: group.id, role: 'owner' }, 'model.request')
    await beyond(narrow, `${org}/groups/${group.id}/users`, { user_id: user.id }, 'model.request')
    const allowed = await platform.send(narrow, 'POST', `${org}/roles/${wide.id}`, { role_name: 'Renamed' })
    expect(allowed.json).toMatchObject({ name: 'Renamed', permissions: ['model.request'] })
    const own = { role_name: 'Own', permissions: ['api.roles.read', 'api.groups.write'] }
    expect((await platform.send(narrow, 'POST', `${org}/roles`, own)).status).toBe(200)
  })

  test('and what a person may do bounds their key, whatever its scopes', async () => {
    const user = await newUser()
    const role = { role_name: 'Role giver', permissions: ['api.roles.write'] }
    const { json } = await ask('POST', `${org}/roles`, role)
    await ask('POST', `${org}/users/${user.id}/roles`, { role_id: json.id })
    const key = await adminKeyOf(user.id)
    await beyond(key, `${org}/roles`, { role_name: 'Z', permissions: ['model.request'] }, 'model.request')
    await beyond(key, `${org}/users/${user.id}/roles`, { role_id: 'role-api-organization-owner' }, 'api')
    expect((await platform.send(key, 'GET', `${org}/users`)).status).toBe(401)
  })
})

describe('two organizations', () => {
  test('see nothing of each other, and what is foreign looks absent', async () => {
    const project = await newProject()
    const user = await newUser('reader', [{ id: project, role: 'member' }])
    const group = (await ask('POST', `${org}/groups`, { name: 'Ours' })).json
    await ask('POST', `${org}/groups/${group.id}/users`, { user_id: user.id })
    await ask('POST', `${org}/projects/${project}/groups`, { group_id: group.id, role: 'member' })
    const role = (await ask('POST', `${org}/roles`, { role_name: 'Foreign', permissions: ['model.request'] })).json
    const own = (await ask('POST', `/v1/projects/${project}/roles`, { role_name: 'O', permissions: ['model.request'] }))
      .json
    await ask('POST', `${org}/users/${user.id}/roles`, { role_id: role.id })
    await ask('POST', `/v1/projects/${project}/groups/${group.id}/roles`, { role_id: own.id })
    const invite = (await ask('POST', `${org}/invites`, { email: freshEmail(), role: 'reader' })).json
    const theirGroup = (await theirs('POST', `${org}/groups`, { name: 'Theirs' })).json
    const theirProject = `${org}/projects/${platform.other.projectId}`
    const cases: [string, string, unknown?][] = [
      ['GET', `${org}/users/${user.id}`],
      ['POST', `${org}/users/${user.id}`, { role: 'owner' }],
      ['DELETE', `${org}/users/${user.id}`],
      ['GET', `${org}/users/${user.id}/roles`],
      ['POST', `${org}/users/${user.id}/roles`, { role_id: 'role-api-organization-reader' }],
      ['GET', `${org}/users/${user.id}/roles/${role.id}`],
      ['DELETE', `${org}/users/${user.id}/roles/${role.id}`],
      ['GET', `${org}/projects/${project}/users`],
      ['GET', `${org}/projects/${project}/users/${user.id}`],
      ['POST', `${theirProject}/users`, { user_id: user.id, role: 'member' }],
      ['POST', `${theirProject}/users`, { email: user.email, role: 'member' }],
      ['POST', `${theirProject}/users`, { user_id: user.id, role: own.id }],
      ['POST', `${theirProject}/groups`, { group_id: group.id, role: 'member' }],
      ['GET', `${org}/projects/${project}/groups`],
      ['GET', `${org}/projects/${project}/groups/${group.id}`],
      ['DELETE', `${org}/projects/${project}/groups/${group.id}`],
      ['GET', `${org}/groups/${group.id}`],
      ['POST', `${org}/groups/${group.id}`, { name: 'Mine' }],
      ['DELETE', `${org}/groups/${group.id}`],
      ['GET', `${org}/groups/${group.id}/users`],
      ['GET', `${org}/groups/${group.id}/users/${user.id}`],
      ['POST', `${org}/groups/${theirGroup.id}/users`, { user_id: user.id }],
      ['DELETE', `${org}/groups/${group.id}/users/${user.id}`],
      ['GET', `${org}/groups/${group.id}/roles`],
      ['POST', `${org}/groups/${theirGroup.id}/roles`, { role_id: role.id }],
      ['GET', `${org}/roles/${role.id}`],
      ['POST', `${org}/roles/${role.id}`, { role_name: 'Mine' }],
      ['DELETE', `${org}/roles/${role.id}`],
      ['GET', `/v1/projects/${project}/roles`],
      ['GET', `/v1/projects/${platform.other.projectId}/roles/${own.id}`],
      ['POST', `/v1/projects/${project}/roles`, { role_name: 'Mine', permissions: ['model.request'] }],
      ['DELETE', `/v1/projects/${project}/roles/${own.id}`],
      ['GET', `/v1/projects/${project}/groups/${group.id}/roles`],
      ['DELETE', `/v1/projects/${project}/groups/${group.id}/roles/${own.id}`],
      ['GET', `${org}/invites/${invite.id}`],
      ['DELETE', `${org}/invites/${invite.id}`],
    ]
    for (const [method, path, body] of cases) {
      const { status, json } = await theirs(method, path, body)
      expect([method, path, status, json.error.code]).toEqual([method, path, 404, 'not_found'])
    }
    const lists = ['users', 'groups', 'roles', 'invites'].map(noun => theirs('GET', `${org}/${noun}`))
    for (const { text } of await Promise.all(lists)) {
      for (const id of [user.id, group.id, role.id, invite.id]) expect(text).not.toContain(id)
    }
    const cursor = await theirs('GET', `${org}/groups?after=${group.id}`)
    expect(cursor.json.data).toEqual([])
    expect((await ask('GET', `${org}/users/${user.id}/roles/${role.id}`)).status).toBe(200)
  })
})

describe('the official SDK', () => {
  test('users and invites', async () => {
    const { users, invites } = admins()
    const invite = await invites.create({ email: freshEmail(), role: 'reader' })
    expect(await invites.retrieve(invite.id)).toMatchObject({ object: 'organization.invite', status: 'pending' })
    expect((await everything(invites.list({ limit: 1 }))).map(({ id }) => id)).toContain(invite.id)
    expect(await invites.delete(invite.id)).toMatchObject({ deleted: true })
    const { id } = await newUser()
    expect(await users.retrieve(id)).toMatchObject({ object: 'organization.user', role: 'reader' })
    expect(await users.update(id, { role: 'owner' })).toMatchObject({ role: 'owner' })
    expect(await users.delete(id)).toEqual({ object: 'organization.user.deleted', id, deleted: true })
    await expect(users.retrieve(id)).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })

  test('groups, their members and their projects', async () => {
    const { groups, projects } = admins()
    const [project, user] = [await newProject(), await newUser()]
    const group = await groups.create({ name: 'SDK' })
    expect(await groups.update(group.id, { name: 'SDK 2' })).toMatchObject({ name: 'SDK 2' })
    expect(await groups.retrieve(group.id)).toMatchObject({ group_type: 'group', is_scim_managed: false })
    expect((await everything(groups.list({ limit: 1 }))).map(({ id }) => id)).toContain(group.id)
    expect(await groups.users.create(group.id, { user_id: user.id })).toMatchObject({ object: 'group.user' })
    expect(await everything(groups.users.list(group.id, { limit: 1, order: 'desc' }))).toHaveLength(1)
    expect(await groups.users.retrieve(user.id, { group_id: group.id })).toMatchObject({ user_type: 'user' })
    const access = await projects.groups.create(project, { group_id: group.id, role: 'role-api-project-member' })
    expect(access).toMatchObject({ object: 'project.group', group_name: 'SDK 2', role: 'member' })
    expect(await everything(projects.groups.list(project, { limit: 1 }))).toHaveLength(1)
    expect(await projects.groups.retrieve(group.id, { project_id: project, group_type: 'group' })).toEqual(access)
    expect(await projects.groups.delete(group.id, { project_id: project })).toMatchObject({ deleted: true })
    expect(await groups.users.delete(user.id, { group_id: group.id })).toMatchObject({ deleted: true })
    expect(await groups.delete(group.id)).toMatchObject({ object: 'group.deleted', deleted: true })
  })

  test('roles and their assignments, in the organization and in a project', async () => {
    const { roles, users, groups, projects } = admins()
    const [project, user, group] = [await newProject(), await newUser(), await groups.create({ name: 'Assigned' })]
    const made = await roles.create({ role_name: 'SDK role', permissions: ['model.request'], description: 'x' })
    expect(await roles.retrieve(made.id)).toEqual(made)
    expect(await roles.update(made.id, { permissions: ['api.model.read'] })).toMatchObject({
      permissions: ['api.model.read'],
    })
    expect((await everything(roles.list({ limit: 1 }))).map(({ id }) => id)).toContain(made.id)
    await users.roles.create(user.id, { role_id: made.id })
    expect(await users.roles.retrieve(made.id, { user_id: user.id })).toMatchObject({ name: 'SDK role' })
    expect(await everything(users.roles.list(user.id, { limit: 1 }))).toHaveLength(1)
    expect(await users.roles.delete(made.id, { user_id: user.id })).toMatchObject({ object: 'user.role.deleted' })
    await groups.roles.create(group.id, { role_id: made.id })
    expect(await everything(groups.roles.list(group.id))).toMatchObject([{ id: made.id }])
    expect(await groups.roles.retrieve(made.id, { group_id: group.id })).toMatchObject({ predefined_role: false })
    expect(await groups.roles.delete(made.id, { group_id: group.id })).toMatchObject({ object: 'group.role.deleted' })
    expect(await roles.delete(made.id)).toMatchObject({ deleted: true })

    const own = await projects.roles.create(project, { role_name: 'Own', permissions: ['model.request'] })
    await projects.users.create(project, { user_id: user.id, role: 'viewer' })
    expect(await projects.users.update(user.id, { project_id: project, role: 'member' })).toMatchObject({
      role: 'member',
    })
    expect(await everything(projects.users.list(project))).toHaveLength(1)
    await projects.groups.create(project, { group_id: group.id, role: own.id })
    expect(await everything(projects.groups.roles.list(group.id, { project_id: project }))).toMatchObject([
      { id: own.id },
    ])
    const at = { project_id: project, group_id: group.id }
    expect(await projects.groups.roles.retrieve(own.id, at)).toMatchObject({ resource_type: 'api.project' })
    expect(await projects.groups.roles.delete(own.id, at)).toMatchObject({ deleted: true })
    await projects.groups.roles.create(group.id, { project_id: project, role_id: own.id })
    await projects.users.roles.create(user.id, { project_id: project, role_id: 'role-api-project-owner' })
    const assigned = await everything(projects.users.roles.list(user.id, { project_id: project, limit: 1 }))
    expect(assigned.map(({ predefined_role, name }) => [predefined_role, name])).toEqual([[true, 'owner']])
    const held = { project_id: project, user_id: user.id }
    expect(await projects.users.roles.retrieve('role-api-project-owner', held)).toMatchObject({ created_at: null })
    expect(await projects.users.roles.delete('role-api-project-owner', held)).toMatchObject({ deleted: true })
    expect(await projects.roles.update(own.id, { project_id: project, role_name: 'Owned' })).toMatchObject({
      name: 'Owned',
    })
    expect(await projects.roles.retrieve(own.id, { project_id: project })).toMatchObject({ name: 'Owned' })
    expect(await projects.roles.delete(own.id, { project_id: project })).toMatchObject({ deleted: true })
    expect(await projects.users.delete(user.id, { project_id: project })).toMatchObject({ deleted: true })
  })
})

test('docs/permissions.md names every permission and every predefined role', async () => {
  const page = await readFile(new URL('../docs/permissions.md', import.meta.url), 'utf8')
  for (const [name, about] of Object.entries(scopes)) expect(page).toContain(`| \`${name}\` | ${about} |`)
  for (const { id } of Object.values(predefinedRoles)) expect(page).toContain(`\`${id.replace('role-api-', '')}\``)
})
