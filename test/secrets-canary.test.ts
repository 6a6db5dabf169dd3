/**
 * After a run with everything in it that goes right and wrong, no secret that was used and no word of a prompt or an
 * answer is anywhere but with its owner: not in the most talkative logs, not in errors, metrics, tables or files.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeKey } from '../src/core/key-format.ts'
import { Books } from './support/books.ts'
import { type Body, startGateway, type TestGateway, upstreamCredential } from './support/gateway.ts'
import { databaseProcesses } from './support/processes.ts'
import { converse, rawPost } from './support/raw-http.ts'
import { type Script, type ScriptedUpstream, startScriptedUpstream } from './support/scripted-upstream.ts'
import { readAll } from './support/streams.ts'

/** Words that nobody says by chance, one for each place that could give it away. */
const spoken = { prompt: 'zanzibar', answer: 'quokka', tail: 'marmalade' }
const scriptedCredential = 'sk-scripted-5f4dcc3b5aa765d61d8327deb882cf99'
const metricsToken = 'metrics-token-canary-7c6a180b'
const openAiKey = `sk-proj-${'Z9y8X7w6'.repeat(6)}`
/** Of the right form, and made by nobody. */
const unknownKey = makeKey('project', bytes => crypto.getRandomValues(new Uint8Array(bytes)))

let gateway: TestGateway
let scripted: ScriptedUpstream
let secrets: string[] = []
/** Everything that the server said to callers who should not be told. */
const refusals: string[] = []
let logs = ''
let metrics = ''
let tables = ''
let files: string[] = []

beforeAll(async () => {
  scripted = await startScriptedUpstream()
  gateway = await startGateway({
    settings: {
      'log-level': 'trace',
      'metrics-token': metricsToken,
      'upstream-answer-timeout-ms': '500',
      'clamped-output-tokens-min': '0',
    },
    cases: {
      500: { fault: 'status', status: 500 },
      cut: { fault: 'cut' },
      reset: { fault: 'reset' },
      hang: { fault: 'hang' },
      malformed: { fault: 'malformed' },
      long: { outputTokens: 400, chunkIntervalMs: 10 },
    },
  })
  await gateway.admin('POST', '/v1/platform/providers', {
    name: 'scripted',
    base_url: `${scripted.url}/v1`,
    api_key: scriptedCredential,
    models: [{ name: 's', kind: 'chat', input_usd_per_million: '1', output_usd_per_million: '1' }],
  })
  const revoked = await gateway.newKey()
  const { keys } = gateway
  await everythingThatGoesRight()
  await everythingThatGoesWrong(revoked.value)
  await gateway.admin('DELETE', revoked.path)
  await refused(await call({}, { headers: { authorization: `Bearer ${revoked.value}` } }))
  await databaseDies()
  const { pepper, sealing_key } = JSON.parse(await readFile(join(gateway.keyhouse.dataDir, 'secrets.json'), 'utf8'))
  secrets = [keys.admin, keys.project, keys.test, revoked.value, unknownKey, openAiKey]
  secrets.push(upstreamCredential, scriptedCredential, metricsToken, pepper, sealing_key, ...Object.values(spoken))
  await collect()
})

afterAll(async () => {
  await gateway.stop()
  await scripted.stop()
})

const messages = [
  { role: 'system', content: `be brief, ${spoken.prompt}` },
  { role: 'user', content: `${spoken.prompt} and more of it ${spoken.tail}` },
]
const call = (body: Body = {}, init?: RequestInit): Promise<Response> =>
  gateway.chat('plain', { max_tokens: 200, messages, ...body }, init)

async function refused(response: Response): Promise<void> {
  expect(response.status).toBeGreaterThan(399)
  refusals.push(await response.text(), JSON.stringify([...response.headers]))
}

async function everythingThatGoesRight(): Promise<void> {
  for (const body of [{}, { stream: true }, { user: 'malformed', stream: true }]) await readAll(await call(body))
  const completion = { model: 'm', prompt: spoken.prompt, max_tokens: 100 }
  await (await gateway.post('/v1/completions', completion)).json()
  await (await gateway.post('/v1/engines/m/completions', completion)).json()
  await (await gateway.post('/v1/embeddings', { model: 'e', input: [spoken.prompt, spoken.tail] })).json()
  const headers = { authorization: `Basic ${Buffer.from(`:${gateway.keys.project}`).toString('base64')}` }
  await (await call({}, { headers })).json()
  await (
    await call({ model: 'keyhouse-test-chat' }, { headers: { authorization: `Bearer ${gateway.keys.test}` } })
  ).json()
  const controller = new AbortController()
  const stream = await call({ user: 'long', stream: true }, { signal: controller.signal })
  await sleep(100)
  controller.abort()
  await readAll(stream)
}

async function everythingThatGoesWrong(revoked: string): Promise<void> {
  for (const user of ['500', 'cut', 'reset', 'hang', 'malformed']) await refused(await call({ user }))
  await readAll(await call({ user: 'cut', stream: true }))
  await whatProvidersRepeat()
  const { project, admin } = gateway.keys
  for (const key of [openAiKey, unknownKey, `"${project}"`, `${project} `.padStart(80), project.slice(0, -3), admin]) {
    await refused(await call({}, { headers: { authorization: `Bearer ${key}` } }))
  }
  await refused(await call({}, { headers: { 'x-api-key': revoked } }))
  await refused(await fetch(`${gateway.url}/v1/models?api_key=${project}&q=${spoken.prompt}`))
  await refused(await fetch(`${gateway.url}/v1/${project}/nothing`))
  await refused(
    await fetch(`${gateway.url}/v1/organization/projects`, { headers: { authorization: `Bearer ${project}` } }),
  )
  await refused(await call({ max_tokens: spoken.prompt }))
  await refused(await call({ max_tokens: 9_000_000 }))
  await whatParsersRepeat()
}

/** Providers quote what they were sent: the prompt, and the credential that we sent it with. */
async function whatProvidersRepeat(): Promise<void> {
  const quoting = `you sent ${spoken.prompt} with ${scriptedCredential}, and I say ${spoken.answer}`
  const error = JSON.stringify({ error: { message: quoting, type: 'x', param: null, code: null } })
  const scripts: Record<string, Script> = {
    'quotes 400': { status: 400, pieces: [JSON.stringify({ error: { message: `cannot ${spoken.answer}` } })] },
    'quotes 401': { status: 401, pieces: [error] },
    'quotes 429': { status: 429, pieces: [error] },
    'quotes 500': { status: 500, pieces: [error] },
    'quotes page': { pieces: [`<html>${quoting}</html>`] },
  }
  for (const [user, script] of Object.entries(scripts)) {
    scripted.scripts.set(user, script)
    const response = await call({ model: 's', user })
    // What a provider says of the caller's own request is for the caller, and for nobody else
    if (user === 'quotes 400') await response.text()
    else await refused(response)
  }
  const chunk = `data: {"choices":[{"delta":{"content":"${spoken.answer}"}}]}\n\n`
  scripted.scripts.set('breaks off', { contentType: 'text/event-stream', pieces: [chunk, `data: ${spoken.answer}`] })
  await readAll(await call({ model: 's', user: 'breaks off', stream: true }))
}

/** Parsers quote the place where they stumbled. */
async function whatParsersRepeat(): Promise<void> {
  const { project } = gateway.keys
  const stumble = `{"model":"m","messages":[{"role":"user","content":${spoken.prompt}}]}`
  await refused(await gateway.post('/v1/chat/completions', stumble))
  await refused(await gateway.post('/v1/chat/completions', `${spoken.prompt}`))
  const admin = await fetch(`${gateway.url}/v1/organization/projects`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.keys.admin}`, 'content-type': 'application/json' },
    body: `{"name": ${spoken.prompt}}`,
  })
  await refused(admin)
  const key = `Authorization: Bearer ${project}`
  for (const line of [`Content-Length: ${spoken.prompt}`, `${spoken.prompt} : x`, `X: ${'y'.repeat(20_000)}`]) {
    const { text } = await converse(gateway.url, [rawPost('/v1/chat/completions', [key, line], spoken.prompt)])
    refusals.push(text)
  }
}

async function databaseDies(): Promise<void> {
  const [main = 0] = databaseProcesses(gateway.keyhouse.dataDir)
  process.kill(main, 'SIGKILL')
  for (let count = 0; count < 20; count += 1) {
    await (await call()).text()
    await sleep(100)
  }
}

async function collect(): Promise<void> {
  const { dataDir } = gateway.keyhouse
  const read = await fetch(`${gateway.url}/metrics`, { headers: { authorization: `Bearer ${metricsToken}` } })
  metrics = await read.text()
  const books = await Books.open(dataDir)
  await books.expectBalanced()
  const names = await books.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
  )
  for (const { name } of names) {
    const rows = await books.query<{ row: string }>(`select t::text as row from "${name}" t`)
    tables += `${name}\n${rows.map(({ row }) => row).join('\n')}\n`
  }
  await books.close()
  // The banner shows the first keys, once and on purpose
  logs = gateway.keyhouse
    .output()
    .split('\n')
    .filter(line => line.startsWith('{'))
    .join('\n')
  files = readdirSync(dataDir, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
}

/** Which of the secrets a text holds, whole or cut: as they are, in hexadecimal, in base64. */
function found(text: string | Buffer): string[] {
  return secrets.filter(secret => {
    // People may see the beginning of a key and its last four; the middle is nobody's
    const middle = secret.length > 40 ? secret.slice(15, -8) : secret
    const bytes = Buffer.from(secret)
    return [middle, bytes.toString('hex'), bytes.toString('base64').replace(/=+$/, '')].some(form =>
      text.includes(form),
    )
  })
}

test('the run had everything in it', () => {
  expect(refusals.length).toBeGreaterThan(40)
  expect(logs.split('\n').length).toBeGreaterThan(20)
  expect(tables).toContain('upstream_cut')
  expect(tables).toContain('client_left')
  expect(found(`x ${gateway.keys.project} y ${spoken.prompt}`)).toEqual([gateway.keys.project, spoken.prompt])
})

test('the logs hold none of it, at their most talkative', () => {
  const lines = logs.split('\n').filter(line => found(line).length > 0)
  expect(lines.map(line => `${found(line)}: ${line.slice(0, 600)}`)).toEqual([])
})

test('no refusal holds any of it', () => {
  expect(refusals.filter(text => found(text).length > 0).map(text => `${found(text)}: ${text}`)).toEqual([])
})

test('the metrics hold none of it', () => {
  expect(metrics).toContain('keyhouse_calls_total')
  expect(found(metrics)).toEqual([])
})

test('no table holds any of it', () => {
  const lines = tables.split('\n').filter(line => found(line).length > 0)
  expect(lines.map(line => `${found(line)}: ${line.slice(0, 300)}`)).toEqual([])
})

test('no file under the data directory holds any of it, but for the one that keeps the two secrets of the server', () => {
  const holding = files
    .filter(file => !file.endsWith('/secrets.json'))
    .filter(file => found(readOrNothing(file)).length > 0)
  expect(holding).toEqual([])
})

/** PostgreSQL goes on writing, and takes files away. */
function readOrNothing(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    return Buffer.alloc(0)
  }
}
