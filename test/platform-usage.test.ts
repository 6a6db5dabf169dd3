// Usage and costs, summed from real rows; the first start and the key of this machine's command line.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OrganizationId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { firstStart } from '#platform/first-start.ts'
import { mintLocalAccess } from '#platform/local-access.ts'
import { openDatabase, sql } from '#storage/database.ts'
import { findGrant } from '#storage/grants.ts'
import { migrate } from '#storage/migrate.ts'
import { hashKey } from '#storage/secrets.ts'
import { rollUpUsage } from '#storage/usage-rollups.ts'
import { uuidv7 } from '#storage/uuid.ts'
import { insertManyEvents } from './support/many-events.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
const day = 86_400
// A Thursday, midnight UTC
const midnight = 1_763_596_800

beforeAll(async () => {
  platform = await testPlatform()
  const { organizationId } = platform.first
  await used(organizationId, { at: midnight, model: 'a', input: 100, cached: 40, output: 10, nanoUsd: 1_500n })
  await used(organizationId, {
    at: midnight + day - 1,
    model: 'b',
    project: 'proj_2',
    input: 7,
    output: 1,
    nanoUsd: 1n,
  })
  await used(organizationId, { at: midnight + day, model: 'a', input: 1, output: 1, nanoUsd: 2_000_000_000n })
  await used(organizationId, {
    at: midnight + 60,
    model: 'e',
    endpoint: 'embeddings',
    input: 33,
    output: 0,
    nanoUsd: 9n,
  })
  await used(platform.other.organizationId, { at: midnight, model: 'a', input: 1_000_000, output: 1, nanoUsd: 5n })
})
afterAll(() => platform?.stop())

type Used = {
  readonly at: number
  readonly model: string
  readonly project?: string
  readonly endpoint?: string
  readonly input: number
  readonly cached?: number
  readonly output: number
  readonly nanoUsd: bigint
}

async function used(organization: OrganizationId, { at, model, project = 'proj_1', ...rest }: Used): Promise<void> {
  const { endpoint = 'chat.completions', input, cached = 0, output, nanoUsd: charged } = rest
  await platform.database.query(
    sql(`insert into usage_events (id, occurred_at, request_id, organization_id, project_id, api_key_id, user_id, endpoint,
           model, provider, upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens,
           reasoning_tokens, charged_nano_usd, overrun_nano_usd, duration_ms)
         values ($1, to_timestamp($2), 'req_1', $3, $4, 'key_1', 'user-1', $5, $6, 'fake', $6, 'complete', false, $7, $8, $9,
           0, $10, 0, 1)`),
    [uuidv7(at * 1000), at, organization, project, endpoint, model, input, cached, output, charged],
  )
}

const ask = (path: string, query: Record<string, string | number>) => {
  const text = new URLSearchParams(
    Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
  )
  return platform.send(platform.first.adminKey, 'GET', `/v1/organization/${path}?${text}`)
}

describe('usage', () => {
  test('is summed by day, with the last second in its own day and nothing of others', async () => {
    const { json } = await ask('usage/completions', { start_time: midnight, end_time: midnight + 2 * day })
    expect(json).toMatchObject({ object: 'page', has_more: false, next_page: null })
    expect(json.data.map((bucket: { start_time: number }) => bucket.start_time)).toEqual([midnight, midnight + day])
    expect(json.data[0].results).toEqual([
      expect.objectContaining({
        object: 'organization.usage.completions.result',
        input_tokens: 107,
        input_cached_tokens: 40,
        input_uncached_tokens: 67,
        output_tokens: 11,
        num_model_requests: 2,
        project_id: null,
        model: null,
        batch: null,
      }),
    ])
    expect(json.data[1].results).toEqual([expect.objectContaining({ input_tokens: 1, num_model_requests: 1 })])
  })

  test('groups and filters, in each spelling of an array', async () => {
    const period = { start_time: midnight, end_time: midnight + day }
    const grouped = await ask('usage/completions', { ...period, group_by: 'model,project_id,batch' })
    expect(grouped.json.data[0].results).toEqual([
      expect.objectContaining({ model: 'a', project_id: 'proj_1', api_key_id: null, batch: false, input_tokens: 100 }),
      expect.objectContaining({ model: 'b', project_id: 'proj_2', api_key_id: null, batch: false, input_tokens: 7 }),
    ])
    const spellings = ['models=a&models=b', 'models[]=a&models[]=b', 'models=a,b']
    for (const spelling of spellings) {
      const path = `/v1/organization/usage/completions?start_time=${midnight}&end_time=${midnight + day}&${spelling}`
      const { json } = await platform.send(platform.first.adminKey, 'GET', path)
      expect(json.data[0].results[0].num_model_requests).toBe(2)
    }
    const one = await ask('usage/completions', { ...period, 'project_ids[]': 'proj_2' })
    expect(one.json.data[0].results[0].num_model_requests).toBe(1)
    const none = await ask('usage/completions', { ...period, batch: 'true' })
    expect(none.json.data).toEqual([expect.objectContaining({ results: [] })])
  })

  test('a page of thousands of results comes whole, in as many pieces as it takes, and its HEAD too', async () => {
    const at = midnight - 100 * day
    const { organizationId } = platform.first
    const many = { organizationId, from: at, to: at + day, count: 9_000, projects: 7, keys: 4_000, models: 3, seed: 1 }
    await insertManyEvents(platform.database, many)
    const period = { start_time: at, end_time: at + day }
    const query = { ...period, group_by: 'api_key_id,model' }
    const { json, text } = await ask('usage/completions', query)
    const [{ results }] = json.data
    expect([results.length > 5_000, text.length > 2_000_000]).toEqual([true, true])
    const requests = results.map((row: { num_model_requests: number }) => row.num_model_requests)
    const all = await ask('usage/completions', period)
    expect(requests.reduce((sum: number, count: number) => sum + count, 0)).toBe(
      all.json.data[0].results[0].num_model_requests,
    )
    const names = results.map((row: { api_key_id: string; model: string }) => `${row.api_key_id} ${row.model}`)
    expect(new Set(names).size).toBe(names.length)
    const head = await fetch(
      `${platform.url}/v1/organization/usage/completions?${new URLSearchParams({ ...query, start_time: `${at}`, end_time: `${at + day}` })}`,
      {
        method: 'HEAD',
        headers: { authorization: `Bearer ${platform.first.adminKey}` },
      },
    )
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  test('comes in pages of empty and full buckets', async () => {
    const query = { start_time: midnight, end_time: midnight + 3_600, bucket_width: '1m', limit: 25 }
    const sizes: number[] = []
    let [requests, page] = [0, '']
    for (let more = true; more; ) {
      const { json } = await ask('usage/embeddings', { ...query, ...(page !== '' && { page }) })
      sizes.push(json.data.length)
      for (const bucket of json.data) requests += bucket.results[0]?.num_model_requests ?? 0
      more = json.has_more
      page = json.next_page ?? ''
    }
    expect([sizes, requests]).toEqual([[25, 25, 10], 1])
  })

  test('a period that begins and ends between two buckets counts nothing outside of it', async () => {
    const { json } = await ask('usage/completions', { start_time: midnight + 1, end_time: midnight + day + 1 })
    expect(
      json.data.map((bucket: { start_time: number; end_time: number }) => [bucket.start_time, bucket.end_time]),
    ).toEqual([
      [midnight + 1, midnight + day],
      [midnight + day, midnight + day + 1],
    ])
    expect(json.data[0].results[0].input_tokens).toBe(7)
  })

  test('costs are exact dollars, by line item where asked', async () => {
    const { json } = await ask('costs', { start_time: midnight, end_time: midnight + 2 * day, group_by: 'line_item' })
    expect(json.data[0].results).toEqual([
      expect.objectContaining({ line_item: 'a', amount: { value: 0.0000015, currency: 'usd' }, quantity: 110 }),
      expect.objectContaining({ line_item: 'b', amount: { value: 1e-9, currency: 'usd' }, quantity_unit: 'tokens' }),
      expect.objectContaining({ line_item: 'e', amount: { value: 9e-9, currency: 'usd' } }),
    ])
    const whole = await ask('costs', { start_time: midnight + day, end_time: midnight + 2 * day, limit: 180 })
    expect(whole.json.data[0].results).toEqual([
      expect.objectContaining({ amount: { value: 2, currency: 'usd' }, quantity: null }),
    ])
  })

  test.each([
    [{}, 'start_time'],
    [{ start_time: 'yesterday' }, 'start_time'],
    [{ start_time: midnight, end_time: midnight }, 'end_time'],
    [{ start_time: midnight, limit: 32 }, 'limit'],
    [{ start_time: midnight, bucket_width: '1w' }, 'bucket_width'],
    [{ start_time: midnight, group_by: 'colour' }, 'group_by[0]'],
    [{ start_time: midnight, page: 'page_nonsense' }, 'page'],
  ])('%j is refused by the name of %s', async (query, param) => {
    const { status, json } = await ask('usage/completions', query)
    expect([status, json.error.param]).toEqual([400, param])
    if (param === 'group_by[0]') expect(json.error.message).toMatch(/^Invalid 'group_by\[0\]': .* but got 'colour'/)
  })

  test('the official SDK reads it', async () => {
    const baseURL = `${platform.url}/v1`
    const { usage } = new OpenAI({ adminAPIKey: platform.first.adminKey, apiKey: 'unused', baseURL }).admin.organization
    const period = { start_time: midnight, end_time: midnight + day }
    const completions = await usage.completions({
      ...period,
      group_by: ['model'],
      models: ['a', 'b'],
      project_ids: ['proj_1'],
    })
    expect(completions.data[0]?.results).toEqual([expect.objectContaining({ model: 'a', input_tokens: 100 })])
    const embeddings = await usage.embeddings({ ...period, bucket_width: '1h', limit: 1 })
    expect(embeddings.next_page).toMatch(/^page_/)
    const costs = await usage.costs({ ...period, group_by: ['project_id', 'line_item'] })
    expect(costs.data[0]?.results).toHaveLength(3)
  })
})

describe('usage of every kind', () => {
  const at = midnight + 30 * day
  const period = { start_time: at, end_time: at + day }
  const insert =
    sql(`insert into usage_events (id, occurred_at, request_id, organization_id, project_id, api_key_id, user_id, endpoint,
      model, provider, upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
      charged_nano_usd, overrun_nano_usd, duration_ms, cache_write_tokens, audio_input_tokens, cached_audio_input_tokens,
      image_input_tokens, cached_image_input_tokens, audio_output_tokens, image_output_tokens, tool_calls, service_tier)
    values ($1, to_timestamp($2), 'req_1', $3, $4, 'key_1', null, 'chat.completions', 'm', 'fake', 'm', 'complete', false, 1000, 300,
      200, 50, 7, 0, 1, 40, 100, 30, 200, 60, 25, 15, $5, $6)`)

  beforeAll(async () => {
    const { organizationId } = platform.first
    const add = (second: number, project: string, tools: object | null, tier: string | null) =>
      platform.database.query(insert, [uuidv7(at * 1000), at + second, organizationId, project, tools, tier])
    await add(0, 'proj_1', { web_search: 2, file_search: 1 }, null)
    await add(1, 'proj_1', { web_search: 3, code_interpreter: 4 }, 'batch')
    await add(2, 'proj_2', null, 'flex')
  })

  test('what OpenAI calls tokens of a kind is what was neither read from a cache nor written to one', async () => {
    const expected = {
      input_tokens: 3_000,
      input_cached_tokens: 900,
      input_cache_write_tokens: 120,
      input_uncached_tokens: 3_000 - 900 - 120,
      input_audio_tokens: 210,
      input_cached_audio_tokens: 90,
      input_image_tokens: 420,
      input_cached_image_tokens: 180,
      input_text_tokens: 3_000 - 900 - 120 - 210 - 420,
      input_cached_text_tokens: 900 - 90 - 180,
      output_tokens: 600,
      output_audio_tokens: 75,
      output_image_tokens: 45,
      output_text_tokens: 480,
      num_model_requests: 3,
    }
    for (const rolledUp of [false, true]) {
      if (rolledUp) await rollUpUsage(platform.database)
      const { json } = await ask('usage/completions', period)
      expect(json.data[0].results).toEqual([expect.objectContaining({ ...expected, batch: null, service_tier: null })])
    }
  })

  test('by tier, and batches apart from all others', async () => {
    const { json } = await ask('usage/completions', { ...period, group_by: 'service_tier,batch' })
    const tiers = json.data[0].results.map((row: Record<string, unknown>) => [row.service_tier, row.batch])
    expect(tiers.sort()).toEqual([
      ['batch', true],
      ['default', false],
      ['flex', false],
    ])
    for (const [batch, requests] of [
      ['true', 1],
      ['false', 2],
    ]) {
      const one = await ask('usage/completions', { ...period, batch: String(batch) })
      expect(one.json.data[0].results[0].num_model_requests).toBe(requests)
    }
  })

  test('tools are counted where there were some', async () => {
    const web = await ask('usage/web_search_calls', { ...period, group_by: 'project_id' })
    expect(web.json.data[0].results).toEqual([
      expect.objectContaining({ project_id: 'proj_1', num_requests: 5, num_model_requests: 2, context_level: null }),
    ])
    const files = await ask('usage/file_search_calls', period)
    expect(files.json.data[0].results).toEqual([expect.objectContaining({ num_requests: 1, vector_store_id: null })])
    const code = await ask('usage/code_interpreter_sessions', { ...period, project_ids: 'proj_2' })
    expect(code.json.data[0].results).toEqual([])
    const all = await ask('usage/code_interpreter_sessions', { ...period, 'group_by[]': 'project_id' })
    expect(all.json.data[0].results).toEqual([expect.objectContaining({ project_id: 'proj_1', num_sessions: 4 })])
  })

  test.each(['moderations', 'images', 'audio_speeches', 'audio_transcriptions', 'vector_stores', 'decisions'])(
    '%s, of which there can be none, are empty buckets in the pages that were asked for',
    async kind => {
      const { json } = await ask(`usage/${kind}`, { ...period, bucket_width: '1h', limit: 5 })
      expect([json.data.length, json.has_more, json.data.flatMap(({ results }: { results: [] }) => results)]).toEqual([
        5,
        true,
        [],
      ])
      expect((await ask(`usage/${kind}`, { start_time: at, end_time: at })).status).toBe(400)
    },
  )
})

describe('the first start', () => {
  test('makes one organization, however many nodes start at once', async () => {
    await platform.database.query(sql('create database another'))
    const connection = { ...platform.connection, database: 'another' }
    const settings = { connection, connectionsMax: 6, connectTimeoutMs: 5_000, statementTimeoutMs: 5_000 }
    const database = openDatabase(settings, () => undefined)
    try {
      await migrate(database)
      const { secrets } = platform
      const starts = await Promise.all(
        Array.from({ length: 5 }, () => firstStart({ database, secrets, firstCreditUsd: nanoUsd(7_000_000_000n) })),
      )
      const [made, ...others] = starts.filter(start => start !== undefined)
      expect(others).toEqual([])
      const kinds = [made?.adminKey, made?.projectKey, made?.testKey].map(async key => {
        const grant = await findGrant(database, hashKey(secrets, key ?? ''))
        return [grant?.kind, grant?.isOperator, grant?.projectActive]
      })
      expect(await Promise.all(kinds)).toEqual([
        ['admin', true, false],
        ['project', true, true],
        ['test', true, true],
      ])
      const balances = await database.query(
        sql('select id, balance_nano_usd as balance from ledger_accounts order by id'),
      )
      expect(balances).toEqual(
        expect.arrayContaining([
          { id: `${made?.organizationId}/credit`, balance: 7_000_000_000n },
          { id: 'platform/funding', balance: -7_000_000_000n },
        ]),
      )
    } finally {
      await database.close()
    }
  })
})

describe('the key of this machine’s command line', () => {
  const list = (key: string) => platform.send(key, 'GET', '/v1/organization/projects')

  test('is in a file for this user alone, replaces the one that a crash left, and ends with the server', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kh-'))
    const file = join(folder, 'cli.json')
    try {
      const { database, secrets, url } = platform
      await writeFile(file, '{"half of a fi')
      await mintLocalAccess({ database, secrets, file, url })
      const before = JSON.parse(await readFile(file, 'utf8'))
      expect(before).toEqual({ url, key: expect.stringMatching(/^sk-kh-admin-/) })
      expect((await stat(file)).mode & 0o777).toBe(0o600)
      expect((await list(before.key)).status).toBe(200)
      // The server was killed and starts again
      const access = await mintLocalAccess({ database, secrets, file, url })
      const after = JSON.parse(await readFile(file, 'utf8'))
      expect([(await list(before.key)).status, (await list(after.key)).status]).toEqual([401, 200])
      await access.revoke()
      expect((await list(after.key)).status).toBe(401)
      await expect(stat(file)).rejects.toThrow('ENOENT')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('does not count as the last admin key, and a key that it makes belongs to the owner', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kh-'))
    const { database, secrets, url, first } = platform
    const access = await mintLocalAccess({ database, secrets, file: join(folder, 'cli.json'), url })
    try {
      const { key } = JSON.parse(await readFile(join(folder, 'cli.json'), 'utf8'))
      const { json } = await platform.send(key, 'GET', '/v1/organization/admin_api_keys')
      const owned = json.data.filter((row: { owner: { type: string } }) => row.owner.type === 'user')
      expect([json.data.length, owned.length]).toEqual([2, 1])
      expect((await platform.send(key, 'DELETE', `/v1/organization/admin_api_keys/${owned[0].id}`)).status).toBe(409)
      const made = await platform.send(key, 'POST', '/v1/organization/admin_api_keys', { name: 'by the CLI' })
      expect(made.json.owner).toMatchObject({ type: 'user', name: 'Owner' })
      expect((await platform.send(key, 'DELETE', `/v1/organization/admin_api_keys/${owned[0].id}`)).status).toBe(200)
      await database.query(sql('update api_keys set revoked_at = null where id = $1'), [owned[0].id])
      expect((await list(first.adminKey)).status).toBe(200)
    } finally {
      await access.revoke()
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('gets in when a list of addresses shuts everybody out, and takes the list away', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kh-'))
    const { database, secrets, url, first } = platform
    const access = await mintLocalAccess({ database, secrets, file: join(folder, 'cli.json'), url })
    try {
      const { key } = JSON.parse(await readFile(join(folder, 'cli.json'), 'utf8'))
      const policy = '/v1/organization/key_policy'
      const cidrs = ['127.0.0.1/32', '203.0.113.0/24']
      expect((await platform.send(first.adminKey, 'POST', policy, { allowed_cidrs: cidrs })).status).toBe(200)
      // The office has moved
      await database.query(sql(`update key_policies set allowed_cidrs = '{203.0.113.0/24}' where scope_id = $1`), [
        first.organizationId,
      ])
      expect((await list(first.adminKey)).status).toBe(401)
      expect((await list(key)).status).toBe(200)
      expect((await platform.send(key, 'POST', policy, { allowed_cidrs: [] })).status).toBe(200)
      expect((await list(first.adminKey)).status).toBe(200)
    } finally {
      await access.revoke()
      await rm(folder, { recursive: true, force: true })
    }
  })
})
