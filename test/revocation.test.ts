/**
 * A revoked key is refused within one second, everywhere and whatever happens meanwhile: under load, with notifications
 * lost, with the server stopped and resumed. Its running streams are cut. Never does it come back.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { type ProjectKey, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'
import { eventsOf, readAll } from './support/streams.ts'

let gateway: TestGateway
let books: Books

const boundMs = 1_000
const callers = 16

beforeAll(async () => {
  gateway = await startGateway({
    settings: { 'first-credit-usd': '1000' },
    cases: { long: { outputTokens: 3_000, chunkIntervalMs: 10 }, slow: { latencyMs: 3_000 }, late: { latencyMs: 800 } },
  })
  books = await Books.open(gateway.keyhouse.dataDir)
})

afterAll(async () => {
  await books.close()
  await gateway.stop()
})

const call = (key: string, user = 'plain', body = {}): Promise<Response> =>
  gateway.chat(user, { max_tokens: 5, ...body }, { headers: { authorization: `Bearer ${key}` } })

type Seen = { readonly beganAtMs: number; readonly status: number }

/** Calls with this key, one after the other from each of many callers, until told to stop. */
function loadWith(key: string): { seen: Seen[]; stop(): Promise<void> } {
  const seen: Seen[] = []
  let over = false
  const caller = async (): Promise<void> => {
    while (!over) {
      const beganAtMs = performance.now()
      const response = await call(key)
      await response.arrayBuffer()
      seen.push({ beganAtMs, status: response.status })
    }
  }
  const running = Array.from({ length: callers }, caller)
  return {
    seen,
    async stop() {
      over = true
      await Promise.all(running)
    },
  }
}

/** How long after the key was revoked the last call began that was still answered; 0 when there was none. */
const lastAnsweredMs = (seen: readonly Seen[], revokedAtMs: number): number =>
  Math.max(0, ...seen.filter(({ status }) => status === 200).map(({ beganAtMs }) => beganAtMs - revokedAtMs))

/** As the server does it, but without a word to anybody: only who reads the list of changes will know. */
async function revokeSilently({ id }: ProjectKey): Promise<void> {
  await books.query('update api_keys set revoked_at = now() where id = $1', [id])
  await books.query(`insert into auth_events (subject_kind, subject_id) values ('api_key', $1)`, [id])
}

test('under load: refused within one second, and never answered again', async () => {
  const worst: number[] = []
  for (let round = 0; round < 3; round += 1) {
    const key = await gateway.newKey()
    const load = loadWith(key.value)
    await sleep(300)
    const revokedAtMs = performance.now()
    await gateway.admin('DELETE', key.path)
    await sleep(boundMs + 300)
    await load.stop()
    const statuses = new Set(load.seen.map(({ status }) => status))
    expect([...statuses].sort()).toEqual([200, 401])
    worst.push(lastAnsweredMs(load.seen, revokedAtMs))
  }
  console.log(`revoked under load: the last answered call began at most ${ms(worst)} after the revocation was sent`)
  expect(Math.max(...worst)).toBeLessThan(boundMs)
})

test('with its notification lost: the poll finds it within one second', async () => {
  const worst: number[] = []
  for (let round = 0; round < 3; round += 1) {
    const key = await gateway.newKey()
    const load = loadWith(key.value)
    await sleep(100)
    const revokedAtMs = performance.now()
    await revokeSilently(key)
    await sleep(boundMs + 200)
    await load.stop()
    expect(load.seen.some(({ status }) => status === 401)).toBe(true)
    worst.push(lastAnsweredMs(load.seen, revokedAtMs))
  }
  console.log(`revoked without a notification: answered for at most ${ms(worst)}`)
  expect(Math.max(...worst)).toBeLessThan(boundMs)
})

test('its running streams are cut within one second, and so are calls that wait for their first byte', async () => {
  const key = await gateway.newKey()
  const streams = await Promise.all(
    Array.from({ length: 5 }, () => call(key.value, 'long', { stream: true, max_tokens: 3_000 })),
  )
  const waiting = call(key.value, 'slow')
  const others = await gateway.chat('long', { stream: true, max_tokens: 100 })
  const reading = Promise.all(streams.map(response => readAll(response)))
  await sleep(200)
  const revokedAtMs = performance.now()
  await gateway.admin('DELETE', key.path)
  const cut = await reading
  const cutMs = performance.now() - revokedAtMs
  console.log(`running streams of a revoked key: cut after ${ms([cutMs])}`)
  expect(cutMs).toBeLessThan(boundMs)
  for (const { text } of cut) {
    expect(eventsOf(text).at(-1)?.error).toMatchObject({ code: 'invalid_api_key' })
    expect(text).not.toContain('[DONE]')
  }
  await expectRefusal(await waiting, { status: 401, code: 'invalid_api_key' })
  expect(performance.now() - revokedAtMs).toBeLessThan(boundMs)
  for (const response of streams) {
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ outcome: 'revoked', estimated: true })
    expect(row.output_tokens).toBeGreaterThan(5)
  }
  const { text } = await readAll(others)
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
})

test('revoked while the server was stopped: refused at once when it goes on', async () => {
  const tenCalls = (key: ProjectKey) =>
    Promise.all(
      Array.from({ length: 10 }, async () => {
        const response = await call(key.value)
        await response.arrayBuffer()
        return response.status
      }),
    )
  for (let round = 0; round < 2; round += 1) {
    const key = await gateway.newKey()
    // Over the same connections later: what arrives on them is the first thing that the server sees when it goes on
    expect(await tenCalls(key)).toEqual(Array(10).fill(200))
    process.kill(gateway.keyhouse.pid, 'SIGSTOP')
    await revokeSilently(key)
    const waiting = tenCalls(key)
    await sleep(boundMs + 200)
    process.kill(gateway.keyhouse.pid, 'SIGCONT')
    expect(await waiting).toEqual(Array(10).fill(401))
  }
})

test('a key that is looked up while it is being revoked does not come back', async () => {
  const keys = await Promise.all(Array.from({ length: 10 }, () => gateway.newKey()))
  await books.query('begin')
  // Every look-up of a key waits for this transaction, and then sees the world either before it or after it
  await books.query('lock table api_keys in access exclusive mode')
  const waiting = keys.map(({ value }) => call(value))
  await sleep(200)
  for (const { id } of keys) await books.query('update api_keys set revoked_at = now() where id = $1', [id])
  for (const { id } of keys) await books.query('select record_auth_event($1, $2)', ['api_key', id])
  await books.query('commit')
  await Promise.all(waiting)
  await sleep(boundMs)
  const again = await Promise.all(keys.map(async ({ value }) => (await call(value)).status))
  expect(again).toEqual(Array(10).fill(401))
})

test("a project that is archived takes its keys' calls with it", async () => {
  const project = await gateway.admin<{ id: string }>('POST', '/v1/organization/projects', { name: 'to be archived' })
  const keys = `/v1/organization/projects/${project.id}/api_keys`
  const { value } = await gateway.admin<{ value: string }>('POST', keys, { name: 'doomed' })
  const stream = await call(value, 'long', { stream: true, max_tokens: 3_000 })
  const archivedAtMs = performance.now()
  await gateway.admin('POST', `/v1/organization/projects/${project.id}/archive`)
  const { text } = await readAll(stream)
  expect(text).not.toContain('[DONE]')
  expect(performance.now() - archivedAtMs).toBeLessThan(boundMs)
  expect((await call(value)).status).toBe(401)
})

const embed = (key: string): Promise<Response> =>
  gateway.post(
    '/v1/embeddings',
    { model: 'e', user: 'late', input: 'hello' },
    { headers: { authorization: `Bearer ${key}` } },
  )

test('a key that is narrowed to embeddings loses its running chat, and keeps its running embedding', async () => {
  const key = await gateway.newKey()
  const chat = await call(key.value, 'long', { stream: true, max_tokens: 3_000 })
  const embedding = embed(key.value)
  await sleep(100)
  const narrowedAtMs = performance.now()
  await gateway.admin('POST', key.path, { scopes: ['model.request.embeddings'] })
  const { text } = await readAll(chat)
  console.log(`running chat of a narrowed key: cut after ${ms([performance.now() - narrowedAtMs])}`)
  expect(performance.now() - narrowedAtMs).toBeLessThan(boundMs)
  const told = { code: 'missing_scope', message: expect.stringContaining('model.request.chat_completions') }
  expect(eventsOf(text).at(-1)?.error).toMatchObject(told)
  expect((await embedding).status).toBe(200)
  expect((await embed(key.value)).status).toBe(200)
  expect((await call(key.value)).status).toBe(401)
})

test('a model that a project may not call any more ends its running calls, and no others', async () => {
  const project = await gateway.admin<{ id: string }>('POST', '/v1/organization/projects', { name: 'one model less' })
  const path = `/v1/organization/projects/${project.id}`
  const { value } = await gateway.admin<{ value: string }>('POST', `${path}/api_keys`, { name: 'without m' })
  const chat = await call(value, 'long', { stream: true, max_tokens: 3_000 })
  const embedding = embed(value)
  await sleep(100)
  const takenAtMs = performance.now()
  await gateway.admin('POST', `${path}/model_permissions`, { mode: 'deny_list', model_ids: ['m'] })
  const { text } = await readAll(chat)
  expect(performance.now() - takenAtMs).toBeLessThan(boundMs)
  expect(text).not.toContain('[DONE]')
  const told = { code: 'model_not_found', message: expect.stringContaining(`Project \`${project.id}\``) }
  expect(eventsOf(text).at(-1)?.error).toMatchObject(told)
  expect((await embedding).status).toBe(200)
  expect((await call(value)).status).toBe(403)
})

test('a model that is taken from a key ends its calls of that model, with the reason', async () => {
  const key = await gateway.newKey({ allowed_models: ['m', 'e'] })
  const chat = await call(key.value, 'long', { stream: true, max_tokens: 3_000 })
  const embedding = embed(key.value)
  await sleep(100)
  const takenAtMs = performance.now()
  await gateway.admin('POST', key.path, { allowed_models: ['e'] })
  const { text } = await readAll(chat)
  expect(performance.now() - takenAtMs).toBeLessThan(boundMs)
  const told = { code: 'model_not_found', message: expect.stringMatching(/^The API key sk-kh-proj-.* model `m`/) }
  expect(eventsOf(text).at(-1)?.error).toMatchObject(told)
  expect((await embedding).status).toBe(200)
})

test('a key that expires loses its running streams within one second, and one that lives longer keeps them', async () => {
  const key = await gateway.newKey()
  const minted = await fetch(`${gateway.url}/v1/client_secrets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key.value}`, 'content-type': 'application/json' },
    body: JSON.stringify({ expires_in_seconds: 10 }),
    signal: AbortSignal.timeout(20_000),
  })
  // As client-secrets.ts promises it
  const secret = (await minted.json()) as { id: string; value: string }
  // Ten seconds is the shortest; nobody tells the nodes of this, as nobody tells them that time goes by
  await books.query(`update api_keys set expires_at = now() + interval '1.5 s' where id = $1`, [secret.id])
  const lives = await call(key.value, 'long', { stream: true, max_tokens: 300 })
  const dies = await call(secret.value, 'long', { stream: true, max_tokens: 3_000 })
  const beganAtMs = performance.now()
  const { text } = await readAll(dies)
  const cutMs = performance.now() - beganAtMs
  console.log(`a stream of a key with 1.5 s to live: cut after ${ms([cutMs])}`)
  expect(cutMs).toBeLessThan(1_500 + boundMs)
  expect(cutMs).toBeGreaterThan(1_000)
  expect(eventsOf(text).at(-1)?.error).toMatchObject({ message: expect.stringContaining('expired at') })
  expect((await readAll(lives)).text.endsWith('data: [DONE]\n\n')).toBe(true)
})

test('the old key of a rotation loses its streams when its grace is over', async () => {
  const key = await gateway.newKey()
  const stream = await call(key.value, 'long', { stream: true, max_tokens: 3_000 })
  const rotatedAtMs = performance.now()
  await gateway.admin('POST', `${key.path}/rotate`, { grace_seconds: 1 })
  const { text } = await readAll(stream)
  expect(performance.now() - rotatedAtMs).toBeLessThan(1_000 + boundMs)
  expect(performance.now() - rotatedAtMs).toBeGreaterThan(900)
  expect(eventsOf(text).at(-1)?.error).toMatchObject({ message: expect.stringContaining('expired at') })
})

type Person = { readonly id: string; readonly project: string; readonly group: string; readonly role: string }
type Asked = readonly [method: string, path: string, body?: object]
const org = '/v1/organization'

/** What a person got their rights by, and how these are taken. */
const taken: Record<string, { readonly has: (person: Person) => Asked[]; readonly loses: (person: Person) => Asked }> =
  {
    'a role in the project that becomes viewer': {
      has: ({ id, project }) => [['POST', `${project}/users`, { user_id: id, role: 'member' }]],
      loses: ({ id, project }) => ['POST', `${project}/users/${id}`, { role: 'viewer' }],
    },
    'a membership of the project': {
      has: ({ id, project }) => [['POST', `${project}/users`, { user_id: id, role: 'member' }]],
      loses: ({ id, project }) => ['DELETE', `${project}/users/${id}`],
    },
    'the organization itself': {
      has: ({ id, project }) => [['POST', `${project}/users`, { user_id: id, role: 'owner' }]],
      loses: ({ id }) => ['DELETE', `${org}/users/${id}`],
    },
    'being an owner of the organization': {
      has: ({ id }) => [['POST', `${org}/users/${id}`, { role: 'owner' }]],
      loses: ({ id }) => ['POST', `${org}/users/${id}`, { role: 'reader' }],
    },
    'a membership of a group': {
      has: ({ id, project, group }) => [
        ['POST', `${org}/groups/${group}/users`, { user_id: id }],
        ['POST', `${project}/groups`, { group_id: group, role: 'member' }],
      ],
      loses: ({ id, group }) => ['DELETE', `${org}/groups/${group}/users/${id}`],
    },
    'a project of their group': {
      has: ({ id, project, group }) => [
        ['POST', `${org}/groups/${group}/users`, { user_id: id }],
        ['POST', `${project}/groups`, { group_id: group, role: 'member' }],
      ],
      loses: ({ project, group }) => ['DELETE', `${project}/groups/${group}`],
    },
    'a role of their group, with the group': {
      has: ({ id, group, role }) => [
        ['POST', `${org}/groups/${group}/users`, { user_id: id }],
        ['POST', `${org}/groups/${group}/roles`, { role_id: role }],
      ],
      loses: ({ group }) => ['DELETE', `${org}/groups/${group}`],
    },
    'a role of their own': {
      has: ({ id, role }) => [['POST', `${org}/users/${id}/roles`, { role_id: role }]],
      loses: ({ id, role }) => ['DELETE', `${org}/users/${id}/roles/${role}`],
    },
    'a permission of their role': {
      has: ({ id, role }) => [['POST', `${org}/users/${id}/roles`, { role_id: role }]],
      loses: ({ role }) => ['POST', `${org}/roles/${role}`, { permissions: ['api.model.read'] }],
    },
    'their role, with everybody': {
      has: ({ id, role }) => [['POST', `${org}/users/${id}/roles`, { role_id: role }]],
      loses: ({ role }) => ['DELETE', `${org}/roles/${role}`],
    },
  }

const made = async (path: string, body: object): Promise<string> =>
  (await gateway.admin<{ id: string }>('POST', path, body)).id

async function newPerson(name: string): Promise<Person> {
  const invite = await gateway.admin<{ token: string }>('POST', `${org}/invites`, {
    email: `${name}@example.com`,
    role: 'reader',
  })
  const id = await made(`${org}/invites/accept`, { token: invite.token, name })
  const project = `${org}/projects/${await made(`${org}/projects`, { name })}`
  const role = await made(`${org}/roles`, { role_name: name, permissions: ['model.request'] })
  return { id, project, role, group: await made(`${org}/groups`, { name }) }
}

test.each(Object.keys(taken))('who loses %s is refused within one second, and cut', async what => {
  const { has, loses } = taken[what] ?? { has: () => [], loses: () => ['GET', ''] as const }
  const person = await newPerson(crypto.randomUUID())
  for (const [method, path, body] of has(person)) await gateway.admin(method, path, body)
  const key = await gateway.admin<ProjectKey>('POST', `${person.project}/api_keys`, { name: 'theirs' })
  // A key is made by its owner, and this one is handed over before anybody has heard of it
  await books.query('update api_keys set owner_user_id = $2 where id = $1', [key.id, person.id])
  const stream = await call(key.value, 'long', { stream: true, max_tokens: 3_000 })
  const load = loadWith(key.value)
  await sleep(200)
  const [method, path, body] = loses(person)
  await gateway.admin(method, path, body)
  const lostAtMs = performance.now()
  const { text } = await readAll(stream)
  const cutMs = performance.now() - lostAtMs
  await sleep(boundMs + 200)
  await load.stop()
  const lastMs = lastAnsweredMs(load.seen, lostAtMs)
  console.log(`${what} is lost: last answered call ${ms([lastMs])}, stream cut after ${ms([cutMs])}`)
  expect(lastMs).toBeLessThan(boundMs)
  expect(cutMs).toBeLessThan(boundMs)
  expect(['missing_scope', 'owner_inactive']).toContain(eventsOf(text).at(-1)?.error?.code)
  expect(text).not.toContain('[DONE]')
  expect(load.seen.some(({ status, beganAtMs }) => status === 200 && beganAtMs < lostAtMs)).toBe(true)
  expect(
    new Set(load.seen.filter(({ beganAtMs }) => beganAtMs > lostAtMs + boundMs).map(({ status }) => status)),
  ).toEqual(new Set([401]))
})

test('after all of it nothing stays held', async () => {
  await books.expectBalanced()
})

const ms = (times: readonly number[]): string => `${Math.round(Math.max(...times))} ms`
