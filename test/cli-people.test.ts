// `keyhouse users`, `invites`, `groups`, `roles` and `projects users` against the real control plane.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCli } from '../src/cli/testing.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform

beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const run = (...argv: string[]) =>
  runCli(argv, { env: { KEYHOUSE_URL: platform.url, KEYHOUSE_ADMIN_KEY: platform.first.adminKey } })

async function said(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...argv)
  expect([argv.join(' '), code, stderr]).toEqual([argv.join(' '), 0, ''])
  return stdout
}

const json = async (...argv: string[]) => JSON.parse(await said(...argv, '--json'))

async function newcomer(...more: string[]): Promise<string> {
  const { token } = await json('invites', 'create', `${crypto.randomUUID()}@example.com`, ...more)
  const accepted = await platform.send(null, 'POST', '/v1/organization/invites/accept', { token, name: 'Ada' })
  return accepted.json.id
}

test('an invitation is printed with the lines that accept it, and can be withdrawn', async () => {
  const project = platform.projectId
  const text = await said('invites', 'create', 'ada@example.com', '--project', `${project}=owner`)
  const [, token = ''] = /"token":"(\w{43})"/.exec(text) ?? []
  expect(text).toContain(`${platform.url}/v1/organization/invites/accept`)
  const [invite] = (await json('invites', 'list')).data
  expect(invite).toMatchObject({ email: 'ada@example.com', projects: [{ id: project, role: 'owner' }] })
  expect(await said('invites', 'list')).toMatch(/ada@example\.com +reader +proj_\w+ \(owner\) +pending/)
  expect(await said('invites', 'revoke', invite.id)).toContain(`Withdrew ${invite.id}`)
  const refused = await platform.send(null, 'POST', '/v1/organization/invites/accept', { token, name: 'Ada' })
  expect(refused.status).toBe(404)
  expect((await run('invites', 'create', 'x@example.com', '--project', 'a=b=c')).code).toBe(2)
})

test('people are listed, promoted and removed', async () => {
  const id = await newcomer()
  expect(await said('users', 'list')).toMatch(new RegExp(`^${id} +Ada +\\S+@example\\.com +reader`, 'm'))
  expect(await said('users', 'update', id, '--role', 'owner')).toBe(`Ada (${id}) is an owner now.\n`)
  expect(await said('users', 'remove', id)).toContain(`Removed ${id}.`)
  const again = await run('users', 'remove', id)
  expect([again.code, again.stderr]).toEqual([5, expect.stringContaining('No such user')])
})

test('who is given another role hears what they still have besides, and where it goes', async () => {
  const id = await newcomer()
  const made = await json('roles', 'create', 'Besides', '--permissions', 'api.model.read')
  const role: string = made.id
  expect(await said('users', 'update', id, '--role', role)).toBe(`Ada (${id}) is Besides now.\n`)
  expect((await run('users', 'update', id, '--role', 'reader')).stderr).toBe('')
  await said('roles', 'assign', role, '--user', id)
  const { stderr } = await run('users', 'update', id, '--role', 'reader')
  expect(stderr).toContain(`still have the role Besides (${role}) besides.`)
  expect(stderr).toContain(`keyhouse roles unassign ${role} --user ${id}`)
})

test('members of a project come, change and go', async () => {
  const id = await newcomer()
  const project = platform.projectId
  expect(await said('projects', 'users', 'add', project, id)).toContain('as member')
  expect(await said('projects', 'users', 'update', project, id, '--role', 'viewer')).toContain('as viewer')
  expect((await json('projects', 'users', 'list', project)).data).toMatchObject([{ id, role: 'viewer' }])
  expect(await said('projects', 'users', 'remove', project, id)).toContain(`Removed ${id}`)
  expect(await said('projects', 'users', 'list', project)).toContain('keyhouse projects users add')
})

test('a project is renamed, and archived once that is meant', async () => {
  const { id } = await json('projects', 'create', 'Serch')
  expect(await said('projects', 'rename', id, 'Search')).toBe(`${id} is named Search now.\n`)
  const unsure = await run('projects', 'archive', id)
  expect([unsure.code, unsure.stderr]).toEqual([2, expect.stringContaining('--yes')])
  expect(await said('projects', 'archive', id, '--yes')).toContain(`Archived Search (${id}).`)
  expect((await json('projects', 'list', '--archived')).data).toContainEqual(
    expect.objectContaining({ id, name: 'Search', status: 'archived' }),
  )
})

test('a key is shown with all that is set on it', async () => {
  const { id, value } = await json(
    'keys',
    'create',
    '--name',
    'one',
    '--scopes',
    'model.request',
    '--cidr',
    '10.0.0.0/8',
  )
  const text = await said('keys', 'show', id)
  expect(text).toMatch(/^scopes +\["model.request"\]$/m)
  expect(text).toMatch(/^allowed_cidrs +\["10.0.0.0\/8"\]$/m)
  expect(text).toMatch(/^created_at +\d{4}-\d\d-\d\d \d\d:\d\d UTC$/m)
  expect(text).toMatch(/^owner +\S.* \(user-\w+\)$/m)
  expect(text).not.toContain(value)
  expect(await json('keys', 'show', id)).toMatchObject({ id, scopes: ['model.request'] })
})

test.each([
  [['groups', 'users', 'group_x'], 'keyhouse groups list'],
  [['projects', 'groups', 'proj_x'], 'keyhouse projects list'],
  [['roles', 'delete', 'role_x'], 'keyhouse roles list'],
  [['models', 'alias', 'a', 'no-such-model'], 'keyhouse models list'],
  [['calls', 'show', 'req_x'], 'keyhouse calls list'],
])('what is not there: `%s` names the command that shows what is', async (argv, command) => {
  const { code, stderr } = await run(...argv)
  expect([code, stderr]).toEqual([5, expect.stringContaining(`\`${command}\` shows what there is.`)])
})

test('groups hold people and open projects', async () => {
  const id = await newcomer()
  const group = (await json('groups', 'create', 'Team')).id
  expect(await said('groups', 'rename', group, 'Crew')).toContain('Crew')
  expect(await said('groups', 'add', group, id)).toContain(`${id} is in ${group}`)
  expect(await said('groups', 'users', group)).toContain('Ada')
  expect(await said('groups', 'grant', group, platform.projectId, '--role', 'viewer')).toContain('as viewer')
  expect(await said('projects', 'groups', platform.projectId)).toMatch(new RegExp(`^${group} +Crew +viewer`, 'm'))
  expect(await said('groups', 'ungrant', group, platform.projectId)).toContain('no access')
  expect(await said('groups', 'remove', group, id)).toContain('no longer')
  expect(await said('groups', 'list')).toContain('Crew')
  expect(await said('groups', 'delete', group)).toContain(`Deleted ${group}`)
})

test('all pages of a list that pages by `next` are listed', async () => {
  for (let count = 0; count < 103; count += 1) {
    await platform.send(platform.first.adminKey, 'POST', '/v1/organization/groups', { name: `g${count}` })
  }
  expect((await json('groups', 'list')).data).toHaveLength(103)
})

test('roles are made, given, taken and deleted, in the organization and in a project', async () => {
  const id = await newcomer('--project', `${platform.projectId}=member`)
  for (const at of [[], ['--project', platform.projectId]]) {
    const role = (await json('roles', 'create', 'Caller', '--permissions', 'model.request, api.model.read', ...at)).id
    const updated = await said('roles', 'update', role, '--name', 'Chatter', '--permissions', 'model.request', ...at)
    expect(updated).toContain(`Chatter (${role}) may model.request now.`)
    expect(await said('roles', 'list', ...at)).toMatch(/Chatter +custom +model\.request$/m)
    expect(await said('roles', 'assign', role, '--user', id, ...at)).toContain(`Gave ${role} to ${id}`)
    expect((await json('roles', 'list', '--user', id, ...at)).data).toMatchObject([{ id: role, name: 'Chatter' }])
    expect(await said('roles', 'unassign', role, '--user', id, ...at)).toContain('Took')
    expect(await said('roles', 'delete', role, ...at)).toContain(`Deleted ${role}`)
  }
  expect((await run('roles', 'assign', 'role_x')).stderr).toContain('--user user-…')
  expect((await run('roles', 'create', 'x')).stderr).toContain('--permissions')
})
