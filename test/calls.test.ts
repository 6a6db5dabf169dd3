// The call log and the files, over HTTP, on a real PostgreSQL.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { insertPayloads } from '#storage/call-payloads.ts'
import { only, sql } from '#storage/database.ts'
import { findGrant } from '#storage/grants.ts'
import { hashKey } from '#storage/secrets.ts'
import { applyRetention } from '#storage/usage-retention.ts'
import { rollUpUsage } from '#storage/usage-rollups.ts'
import { insertManyEvents } from './support/many-events.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
const day = 86_400
const midnight = Math.floor(Date.now() / 1000 / day) * day
const shape = { projects: 3, keys: 10, models: 4 }
const log = 'calls'

// biome-ignore lint/suspicious/noExplicitAny: answers whose shape the contract has just checked
type Json = any

beforeAll(async () => {
  platform = await testPlatform()
  const { database, first, other } = platform
  await database.query(sql(`delete from usage_events where occurred_at < '2002-01-01'`))
  const events = { from: midnight - 3 * day, to: midnight, ...shape }
  await insertManyEvents(database, { ...events, organizationId: first.organizationId, count: 400, seed: 1 })
  await insertManyEvents(database, { ...events, organizationId: other.organizationId, count: 50, seed: 2 })
  // One from long ago, alone
  const old = midnight - 200 * day
  await insertManyEvents(database, {
    ...events,
    organizationId: first.organizationId,
    from: old,
    to: old + 2,
    count: 1,
    seed: 3,
  })
  await database.query(sql(`update usage_events set outcome = 'client_left' where output_tokens % 10 = 3`))
})
afterAll(() => platform?.stop())

const ask = (path: string, key = platform.first.adminKey) => platform.send(key, 'GET', `/v1/organization/${path}`)

async function allOf(query: string, limit = 100): Promise<Json[]> {
  const calls: Json[] = []
  let next: string | null = null
  do {
    const after: string = next === null ? '' : `&after=${next}`
    const { status, json } = await ask(`${log}?${query}&limit=${limit}${after}`)
    expect(status).toBe(200)
    expect(json.data.length).toBeLessThanOrEqual(limit)
    calls.push(...json.data)
    next = json.next
    expect(json.has_more).toBe(next !== null)
  } while (next !== null)
  return calls
}

describe('the call log', () => {
  test('is whole, newest first, in pages of any length, over a gap of months', async () => {
    for (const limit of [100, 7]) {
      const calls = await allOf('', limit)
      expect(new Set(calls.map(({ id }) => id)).size).toBe(401)
      expect(calls.map(({ created_at }) => created_at)).toEqual(
        calls.map(({ created_at }) => created_at).sort((a, b) => b - a),
      )
    }
  })

  test('goes on where it was although calls of one moment are many, and new ones come', async () => {
    const { database, first } = platform
    const organizationId = first.organizationId
    await insertManyEvents(database, {
      organizationId,
      from: midnight - 10,
      to: midnight - 10,
      count: 25,
      seed: 9,
      ...shape,
    })
    const { json } = await ask(`${log}?limit=10`)
    await insertManyEvents(database, {
      organizationId,
      from: midnight - 5,
      to: midnight - 5,
      count: 3,
      seed: 10,
      ...shape,
    })
    const rest = await ask(`${log}?limit=100&after=${json.next}`)
    const ids = [...json.data, ...rest.json.data].map(({ id }: Json) => id)
    expect([ids.length, new Set(ids).size]).toEqual([110, 110])
    await database.query(sql('delete from usage_events where occurred_at >= to_timestamp($1)'), [midnight - 10])
  })

  test.each<readonly [string, string, (call: Json) => boolean]>([
    ['project', 'project_ids', call => call.project_id.endsWith('1')],
    ['key', 'api_key_ids', call => call.api_key_id.endsWith('7')],
    ['user', 'user_ids', call => call.user_id === 'user-2'],
    ['model', 'models', call => call.model === 'model-3'],
    ['endpoint', 'endpoints', call => call.endpoint === 'embeddings'],
    ['outcome', 'outcomes', call => call.outcome === 'client_left'],
  ])('is filtered by %s', async (_, parameter, matches) => {
    const all = await allOf('')
    const expected = all.filter(matches)
    const member = { project_ids: 'project_id', api_key_ids: 'api_key_id', user_ids: 'user_id' }[parameter]
    const value = expected[0][member ?? parameter.slice(0, -1)]
    expect((await allOf(`${parameter}=${value}`)).map(({ id }) => id)).toEqual(expected.map(({ id }) => id))
    expect(expected.length).toBeGreaterThan(3)
    expect(await allOf(`${parameter}=${parameter === 'outcomes' ? 'shutdown' : 'nothing'}`)).toEqual([])
  })

  test('is filtered by cost, duration, estimates, time and request', async () => {
    const all = await allOf('')
    const ids = (calls: Json[]) => calls.map(({ id }) => id)
    expect(ids(await allOf('min_cost_usd=0.00005'))).toEqual(
      ids(all.filter(({ cost_usd }) => Number(cost_usd) >= 0.00005)),
    )
    expect(ids(await allOf('min_duration_ms=2000'))).toEqual(ids(all.filter(({ duration_ms }) => duration_ms >= 2_000)))
    expect(ids(await allOf('estimated=true'))).toEqual(ids(all.filter(({ estimated }) => estimated)))
    const [from, to] = [midnight - 2 * day, midnight - day]
    const between = all.filter(({ created_at }) => created_at >= from && created_at < to)
    expect(ids(await allOf(`start_time=${from}&end_time=${to}`))).toEqual(ids(between))
    expect(between.length).toBeGreaterThan(100)
    expect(await allOf(`request_id=${all[5].request_id}`)).toEqual([all[5]])
    expect((await ask(`${log}?after=bm9uc2Vuc2U`)).json.error.param).toBe('after')
  })

  test('one call by its request id: everything about it, for its own organization', async () => {
    const { database, other, first } = platform
    const request_id = `req_${randomUUID()}`
    const occurred = new Date(midnight * 1000 - 5_000)
    await database.query(
      sql(`insert into usage_events (id, occurred_at, request_id, organization_id, project_id, api_key_id, user_id, endpoint, model,
             provider, upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
             charged_nano_usd, overrun_nano_usd, duration_ms, first_byte_ms, client_address, cache_write_tokens, tool_calls, service_tier)
           values (gen_random_uuid(), $1, $2, $3, 'proj_x', 'key_x', null, 'chat.completions', 'm', 'openai', 'm-2026', 'revoked', true,
             10, 4, 6, 5, 1500, 7, 900, 80, '2001:db8::1', 3, '{"web_search": 2}', 'flex')`),
      [occurred, request_id, first.organizationId],
    )
    const { json } = await ask(`${log}/${request_id}`)
    expect(json).toMatchObject({
      request_id,
      created_at: midnight - 5,
      provider: 'openai',
      upstream_model: 'm-2026',
      service_tier: 'flex',
      outcome: 'revoked',
      input_cached_tokens: 4,
      input_cache_write_tokens: 3,
      output_reasoning_tokens: 5,
      tool_calls: { web_search: 2 },
      cost_usd: '0.0000015',
      overrun_usd: '0.000000007',
      first_byte_ms: 80,
      client_address: '2001:db8::1',
    })
    expect((await ask(`${log}/${request_id}`, other.adminKey)).status).toBe(404)
    expect((await ask(`${log}?request_id=${request_id}`, other.adminKey)).json.data).toEqual([])
    expect((await ask(`${log}/req_nobodys`)).status).toBe(404)
  })

  test('a page reads a few rows of an index, however many calls there are', async () => {
    const { database, first } = platform
    await database.query(sql('analyze usage_events'))
    const explained = await database.query<{ 'QUERY PLAN': string }>(
      sql(`explain select * from usage_events e where e.organization_id = '${first.organizationId}'
             and e.occurred_at >= to_timestamp(${midnight - 3_600}) order by e.occurred_at desc, e.id desc limit 21`),
    )
    const byRequest = await database.query<{ 'QUERY PLAN': string }>(
      sql(`explain select * from usage_events e where e.request_id = 'req_x' and e.organization_id = 'o'`),
    )
    expect(explained.map(row => row['QUERY PLAN']).join('\n')).toMatch(/organization_id_occurred_at/)
    expect(byRequest.map(row => row['QUERY PLAN']).join('\n')).toMatch(/request_id/)
  })
})

describe('what was said', () => {
  const said = {
    request: '{"a":1}',
    requestBytes: 7,
    requestTruncated: false,
    answer: 'data: …',
    answerBytes: 900,
    answerTruncated: true,
  }
  const capture = () => `projects/${platform.projectId}/payload_capture`
  const change = (method: string, body?: unknown) =>
    platform.send(platform.first.adminKey, method, `/v1/organization/${capture()}`, body)
  const keep = (requestId: string, capturedAtMs = Date.now()): Promise<void> =>
    insertPayloads(platform.database, [{ requestId, capturedAtMs, projectId: platform.projectId, ...said }])
  const captures = async (): Promise<unknown> => {
    const { database, secrets, first } = platform
    return (await findGrant(database, hashKey(secrets, first.projectKey)))?.capture
  }

  test('is kept by nobody who has not asked for it, and the key learns of it with its grant', async () => {
    await change('DELETE')
    expect((await ask(capture())).json).toEqual({
      object: 'project.payload_capture',
      enabled: false,
      retention_days: 30,
      max_bytes: 65_536,
    })
    expect(await captures()).toBe(null)
    expect((await change('POST', { enabled: true, max_bytes: 2_048 })).json).toMatchObject({
      enabled: true,
      max_bytes: 2_048,
    })
    expect(await captures()).toEqual({ bytesMax: 2_048 })
    expect((await change('POST', { enabled: false, retention_days: 9 })).json).toMatchObject({
      retention_days: 9,
      max_bytes: 2_048,
    })
    expect(await captures()).toBe(null)
    for (const body of [{}, { retention_days: 91 }, { retention_days: 0 }, { max_bytes: 2 ** 21 }, { colour: 1 }])
      expect((await change('POST', body)).status).toBe(400)
  })

  test('is not kept where data retention says zero, whichever came first', async () => {
    const retention = (type: string) =>
      platform.send(platform.first.adminKey, 'POST', '/v1/organization/data_retention', { retention_type: type })
    await change('POST', { enabled: true })
    await retention('zero_data_retention')
    expect(await captures()).toBe(null)
    expect((await change('POST', { enabled: true })).status).toBe(409)
    await retention('modified_abuse_monitoring')
    expect((await change('POST', { enabled: true })).status).toBe(200)
    expect(await captures()).toEqual({ bytesMax: 2_048 })
  })

  test('is read by who may, for its own organization, until its time is over', async () => {
    await change('POST', { enabled: true, retention_days: 2 })
    const [now, old] = [`req_${randomUUID()}`, `req_${randomUUID()}`]
    await keep(now)
    await keep(old, Date.now() - 3 * day * 1000)
    expect((await ask(`${log}/${now}/payload`)).json).toMatchObject({
      request: { text: '{"a":1}', bytes: 7, truncated: false },
      answer: { bytes: 900, truncated: true },
    })
    expect((await ask(`${log}/${old}/payload`)).status).toBe(404)
    expect((await ask(`${log}/${now}/payload`, platform.other.adminKey)).status).toBe(404)
    for (const scopes of [['api.usage.read'], ['api.all.read']]) {
      const made = await platform.send(platform.first.adminKey, 'POST', '/v1/organization/admin_api_keys', {
        name: 'reader',
        scopes,
      })
      const refused = await ask(`${log}/${now}/payload`, made.json.value)
      expect([refused.status, refused.json.error.message]).toEqual([401, expect.stringContaining('api.calls.payloads')])
      expect((await ask(`${log}?limit=1`, made.json.value)).status).toBe(200)
    }
  })

  test('is deleted when its time is over, and at once unreadable when capturing is deleted', async () => {
    const count = async (): Promise<bigint> =>
      only(
        await platform.database.query<{ n: bigint }>(
          sql('select count(*) as n from call_payloads where project_id = $1'),
          [platform.projectId],
        ),
      ).n
    const id = `req_${randomUUID()}`
    await keep(id)
    const before = await count()
    await applyRetention(platform.database, new Date(), { usageDays: 400 })
    expect(await count()).toBe(before - 1n)
    expect((await ask(`${log}/${id}/payload`)).status).toBe(200)
    await change('DELETE')
    expect((await ask(`${log}/${id}/payload`)).status).toBe(404)
    await applyRetention(platform.database, new Date(), { usageDays: 400 })
    expect(await count()).toBe(0n)
  })
})

describe('files', () => {
  const span = () => `start_time=${midnight - 3 * day}&end_time=${midnight}`
  const rowsOf = (csv: string): string[][] =>
    csv
      .trimEnd()
      .split('\r\n')
      .map(line => line.split(','))

  test('usage as CSV, JSON and JSON lines is the same, and is what the pages say, rolled up or not', async () => {
    const query = `usage/export?${span()}&group_by=model,endpoint&format=`
    const [csv, json, jsonl] = await Promise.all(['csv', 'json', 'jsonl'].map(format => ask(query + format)))
    expect([csv, json, jsonl].map(answer => answer?.headers.get('content-type'))).toEqual([
      'text/csv; charset=utf-8',
      'application/json',
      'application/x-ndjson',
    ])
    const [names, ...rows] = rowsOf(csv?.text ?? '')
    const objects = json?.json.data
    expect(
      jsonl?.text
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line)),
    ).toEqual(objects)
    expect(rows).toEqual(objects.map((row: Json) => names?.map(name => String(row[name] ?? ''))))
    await rollUpUsage(platform.database)
    expect((await ask(`${query}csv`)).text).toBe(csv?.text)

    const page = await ask(`usage/completions?${span()}`)
    const ofCompletions = objects.filter(({ endpoint }: Json) => endpoint === 'chat.completions')
    const sum = (list: Json[], member: string) => list.reduce((total, row) => total + row[member], 0)
    const results = page.json.data.flatMap(({ results }: Json) => results)
    expect([sum(ofCompletions, 'requests'), sum(ofCompletions, 'output_tokens')]).toEqual([
      sum(results, 'num_model_requests'),
      sum(results, 'output_tokens'),
    ])
  })

  test('costs as a file are exact dollars, by day', async () => {
    const { json } = await ask(`costs/export?${span()}&group_by=line_item&format=json`)
    const nano = json.data.reduce(
      (sum: bigint, row: Json) => sum + BigInt(Math.round(Number(row.amount_usd) * 1e9)),
      0n,
    )
    const [row] = await platform.database.query<{ sum: bigint }>(
      sql(`select sum(charged_nano_usd)::bigint as sum from usage_events where organization_id = $1 and occurred_at >= to_timestamp($2)
             and occurred_at < to_timestamp($3)`),
      [platform.first.organizationId, midnight - 3 * day, midnight],
    )
    expect(nano).toBe(row?.sum)
    expect(json.data[0]).toMatchObject({ currency: 'usd', quantity_unit: 'tokens', line_item: expect.any(String) })
  })

  test('no cell is a formula, and quotes and line breaks stay inside theirs', async () => {
    const { database, first } = platform
    for (const model of ['=1+1', '+x', '-x', '@x', '\tx', 'a"b,c\nd', "'x"])
      await database.query(
        sql(`insert into usage_events (id, occurred_at, request_id, organization_id, project_id, api_key_id, endpoint, model, provider,
               upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, charged_nano_usd,
               overrun_nano_usd, duration_ms)
             values (gen_random_uuid(), to_timestamp($1), 'req_f', $2, 'p', 'k', 'chat.completions', $3, 'f', 'f', 'complete', false,
               1, 0, 1, 0, 0, 0, 1)`),
        [midnight - 300 * day, first.organizationId, model],
      )
    const { text } = await ask(
      `costs/export?start_time=${midnight - 300 * day}&end_time=${midnight - 299 * day}&group_by=line_item`,
    )
    const cells = text
      .split('\r\n')
      .slice(1, -1)
      .map(line => line.slice('2026-01-01T00:00:00Z,'.length, line.indexOf(',0.00')))
    expect(cells.sort()).toEqual(['"\'\tx"', '"\'+x"', '"\'-x"', '"\'=1+1"', '"\'@x"', '"\'x"', '"a""b,c\nd"'].sort())
  })

  test('a long one comes whole, and is read no faster than it is taken; when whoever asked leaves, the database is let go', async () => {
    const { database, first, url } = platform
    for (let seed = 0; seed < 4; seed += 1)
      await insertManyEvents(database, {
        organizationId: first.organizationId,
        from: midnight - 250 * day,
        to: midnight - 220 * day,
        count: 50_000,
        seed: 100 + seed,
        ...shape,
        keys: 5_000,
      })
    const path = `/v1/organization/usage/export?start_time=${midnight - 250 * day}&end_time=${midnight - 220 * day}&bucket_width=1h`
    const headers = { authorization: `Bearer ${first.adminKey}` }
    let lines = 0
    const answer = await fetch(url + path, { headers })
    for await (const piece of answer.body ?? []) {
      lines += Buffer.from(piece).toString('latin1').split('\r\n').length - 1
    }
    expect(lines).toBeGreaterThan(150_000)

    const open = async (): Promise<number> =>
      (
        await database.query(
          sql(`select 1 from pg_stat_activity where query like '%usage_rows%' and pid <> pg_backend_pid()`),
        )
      ).length
    const becomes = async (count: number): Promise<void> => {
      for (let tries = 0; tries < 50 && (await open()) !== count; tries += 1) await sleep(100)
      expect(await open()).toBe(count)
    }
    const leaving = new AbortController()
    const left = await fetch(url + path, { headers, signal: leaving.signal })
    await left.body?.getReader().read()
    await becomes(1)
    // Nobody reads, so nothing more is read from the database either: it is not gathered in memory
    await sleep(1_000)
    expect(await open()).toBe(1)
    leaving.abort()
    await becomes(0)
  }, 60_000)
})
