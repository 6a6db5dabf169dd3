/** The control plane on a real PostgreSQL and a real socket, with two organizations that must not see each other. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { pino } from 'pino'
import { expect } from 'vitest'
import { type Endpoint, isByteStream } from '#contract/endpoint.ts'
import { allEndpoints } from '#contract/endpoints.ts'
import { newId, newRequestId, type OrganizationId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { ensureBuiltins } from '#platform/builtins.ts'
import { type FirstStart, firstStart } from '#platform/first-start.ts'
import type { LocalModel, LocalModels } from '#platform/local-models.ts'
import { mintKey } from '#platform/mint-key.ts'
import type { PlatformParts } from '#platform/platform.ts'
import { createPlatform } from '#platform/server.ts'
import { fakeModels } from '#providers/fake/models.ts'
import { insertPayloads } from '#storage/call-payloads.ts'
import { memoryCounters } from '#storage/counters.ts'
import { type Database, sql } from '#storage/database.ts'
import type { PostgresConnection } from '#storage/embedded-postgres.ts'
import { insertOrganization, insertUser } from '#storage/organizations.ts'
import { insertProject } from '#storage/projects.ts'
import { loadSecrets, type Secrets } from '#storage/secrets.ts'
import { testDatabase } from './postgres.ts'

export type Answer = {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers whose shape the contract has just checked
  readonly json: any
}

export type TestPlatform = {
  readonly url: string
  readonly database: Database
  readonly connection: PostgresConnection
  readonly secrets: Secrets
  readonly first: FirstStart
  /** Of the operator's organization. */
  readonly projectId: string
  /** Another organization: its id, its one admin key, its one project. */
  readonly other: { readonly organizationId: OrganizationId; readonly adminKey: string; readonly projectId: string }
  readonly localModels: TestLocalModels
  readonly logged: string[]
  /** Checks whatever succeeds against its row of the contract. */
  send(key: string | null, method: string, path: string, body?: unknown): Promise<Answer>
  stop(): Promise<void>
}

export async function testPlatform(): Promise<TestPlatform> {
  const { database, connection, stop } = await testDatabase()
  const secrets = await loadSecrets('', { pepper: 'a1'.repeat(32), sealingKey: 'b2'.repeat(32) })
  const first = await firstStart({ database, secrets, firstCreditUsd: nanoUsd(100_000_000_000n) })
  if (!first) throw new Error('the database was not empty')
  const localModels = testLocalModels()
  await ensureBuiltins({ database, localModels: await localModels.list(), fakeModels })
  const logged: string[] = []
  const server = await serve(testParts({ database, secrets, localModels, logged }))
  const [{ id: projectId = '' } = {}] = await database.query<{ id: string }>({ text: 'select id from projects' })
  const other = await anotherOrganization(database, secrets)
  await aCall(database, { ...first, projectId, walk: 'one' })
  await aCall(database, { ...other, walk: 'two' })
  return {
    url: server.url,
    database,
    connection,
    secrets,
    first,
    projectId,
    other,
    localModels,
    logged,
    send: (key, method, path, body) => send(server.url, key, method, path, body),
    async stop() {
      await server.stop()
      await stop()
    },
  }
}

type Given = Pick<PlatformParts, 'database' | 'secrets' | 'localModels'> & { readonly logged: string[] }

export function testParts({ database, secrets, localModels, logged }: Given): PlatformParts {
  return {
    database,
    secrets,
    localModels,
    log: pino({ level: 'info' }, { write: line => logged.push(line) }),
    warn: () => undefined,
    version: '0.0.0-test',
    counters: memoryCounters(() => performance.now()),
    unknownKeysPerMinuteMax: 10_000,
    leakKeys: undefined,
    limitsDefault: { requestsPerMinute: 1_000, tokensPerMinute: 100_000 },
    wallClock: Date.now,
    learnChanges: async () => undefined,
    refused: () => undefined,
    clientAddress: ({ socket }) => socket.remoteAddress ?? '',
    clientCertificates: () => [],
    shownConfig: () => [
      { name: 'port', value: '8484', source: 'default', flag: '--port', env: 'KEYHOUSE_PORT', about: 'TCP port.' },
    ],
    status: async () => ({
      version: '0.0.0-test',
      node_version: process.versions.node,
      uptime_seconds: 1,
      data_dir: '/nowhere',
      database: { kind: 'embedded', version: '18', ok: true, latency_ms: 1, size_bytes: 1 },
      journal: { waiting: 0, bytes: 0, refusal: null, last_error: null },
      cluster: { nodes: 1, rate_limits: 'memory' as const },
      troubles: [],
      auth_staleness_ms: 0,
      calls_active: 0,
      models: { 'tinyllama-1.1b-chat': { status: 'ready' } },
    }),
    backup: {
      async write(sink: Writable) {
        sink.end('a snapshot')
      },
      async restore(source: Readable) {
        const bytes = (await source.toArray()).reduce((sum: number, chunk: Buffer) => sum + chunk.length, 0)
        return { tables: 1, rows: bytes, schema: 1 }
      },
    },
  }
}

/** As the one server of the product does it: requests come from elsewhere. */
export async function serve(parts: PlatformParts): Promise<{ url: string; stop(): Promise<void> }> {
  const platform = await createPlatform(parts)
  const server = createServer((request, response) => platform.handle(request, response, newRequestId()))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never text
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
      await platform.close()
    },
  }
}

export async function send(
  url: string,
  key: string | null,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(key !== null && { authorization: `Bearer ${key}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  })
  const text = await response.text()
  const json = response.headers.get('content-type')?.startsWith('application/json') ? JSON.parse(text) : undefined
  expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/)
  expect(response.headers.get('access-control-allow-origin')).toBe('*')
  if (response.status === 200) checkShape(method, path, json)
  else expect(Object.keys(json.error).sort()).toEqual(['code', 'message', 'param', 'type'])
  return { status: response.status, headers: response.headers, text, json }
}

/** What the contract promises is all there, and nothing besides. */
function checkShape(method: string, path: string, json: unknown): void {
  const row = rowOf(method, path)
  if (isByteStream(row.answer)) return
  expect(row.answer.parse(json)).toEqual(json)
}

export function rowOf(method: string, path: string): Endpoint {
  const plain = path.split('?')[0] ?? ''
  const found = allEndpoints.find(
    ({ row }) =>
      row.method === method &&
      new RegExp(`^${row.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(plain),
  )
  if (!found) throw new Error(`no row for ${method} ${plain}`)
  return found.row
}

async function anotherOrganization(database: Database, secrets: Secrets): Promise<TestPlatform['other']> {
  const organizationId = newId('organization')
  const ownerUserId = newId('user')
  return database.transaction(async tx => {
    await insertOrganization(tx, { id: organizationId, name: 'Another one', isOperator: false })
    await insertUser(tx, { id: ownerUserId, organizationId, name: 'Somebody else', role: 'owner' })
    const project = await insertProject(tx, { id: newId('project'), organizationId, name: 'Theirs' })
    const draft = { kind: 'admin', organizationId, projectId: null, ownerUserId, name: 'Theirs' } as const
    return { organizationId, projectId: project.id, adminKey: (await mintKey(tx, secrets, draft)).value }
  })
}

/** Of the call that each organization has made long ago; named after the walk that asks for it (see admin-steps.ts). */
export const walkRequestId = (walk = 'one'): string => `req_${`walk${walk}`.padEnd(24, '0')}`

type Called = { readonly organizationId: OrganizationId; readonly projectId: string; readonly walk: string }

/** No call can be made here, as there is no gateway. What was said in it has been captured since. */
async function aCall(database: Database, { organizationId, projectId, walk }: Called): Promise<void> {
  const requestId = walkRequestId(walk)
  await database.query(
    sql(`insert into usage_events (id, occurred_at, request_id, organization_id, project_id, api_key_id, endpoint, model, provider,
           upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
           charged_nano_usd, overrun_nano_usd, duration_ms)
         values (gen_random_uuid(), '2001-01-01', $1, $2, $3, 'key_gone', 'chat.completions', 'm', 'fake', 'm', 'complete', false,
           1, 0, 1, 0, 0, 0, 1)`),
    [requestId, organizationId, projectId],
  )
  await database.query(sql('insert into payload_capture values ($1, true, 30, 1024)'), [projectId])
  const said = {
    request: '{}',
    requestBytes: 2,
    requestTruncated: false,
    answer: '{}',
    answerBytes: 2,
    answerTruncated: false,
  }
  await insertPayloads(database, [{ requestId, projectId, capturedAtMs: Date.now(), ...said }])
}

export type TestLocalModels = LocalModels & {
  readonly pulled: { name: string; from: string | undefined; sha256: string | undefined }[]
  /** Set to let the next pulls wait, or fail. */
  gate: Promise<void>
  failure: string | undefined
}

/** Two models of the catalog, and whatever is pulled from elsewhere. */
function testLocalModels(): TestLocalModels {
  const ready = new Set<string>()
  const cards = new Map<string, Omit<LocalModel, 'state'>>([
    ['tinyllama-1.1b-chat', card('tinyllama-1.1b-chat', 'chat')],
    ['all-minilm-l6-v2', card('all-minilm-l6-v2', 'embeddings')],
  ])
  return {
    pulled: [],
    gate: Promise.resolve(),
    failure: undefined,
    async list() {
      return [...cards.values()].map(model => ({
        ...model,
        state: { status: ready.has(model.name) ? 'ready' : 'absent' },
      }))
    },
    async pull(name, { onProgress, from, sha256 }) {
      this.pulled.push({ name, from, sha256 })
      onProgress({ part: 'weights', bytesDone: 50, bytesTotal: 200 })
      await this.gate
      if (this.failure !== undefined) throw new Error(this.failure)
      cards.set(name, cards.get(name) ?? card(name, 'chat'))
      ready.add(name)
    },
  }
}

const card = (name: string, kind: LocalModel['kind']): Omit<LocalModel, 'state'> => ({
  name,
  kind,
  contextTokensMax: 2_048,
  outputTokensMax: kind === 'chat' ? 2_048 : 0,
  label: `${name} of the tests`,
  bytes: 1_000,
})
