/** Requests and tokens a minute: exact under concurrency, told as OpenAI tells them, and taken from nobody who was refused. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import { type Body, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'

let gateway: TestGateway
let project = ''
/** A model of its own for each test, so that each begins with full buckets. */
let model = ''
let models = 0

type List = { readonly data: readonly { readonly id: string }[] }

beforeAll(async () => {
  gateway = await startGateway({
    settings: { 'first-credit-usd': '20', 'unknown-keys-per-minute': '10' },
    cases: {
      fails: { fault: 'status', status: 500 },
      short: { promptTokens: 10, outputTokens: 5 },
      'very long': { promptTokens: 400, outputTokens: 500 },
      waits: { promptTokens: 10, outputTokens: 5, latencyMs: 1_500 },
    },
  })
  const { data } = await gateway.admin<List>('GET', '/v1/organization/projects')
  project = data[0]?.id ?? ''
})

afterAll(() => gateway.stop())

beforeEach(async () => {
  model = `limited-${++models}`
  const routes = [{ provider: 'upstream', upstream_model: 'm' }]
  await gateway.admin('POST', `/v1/platform/models/${model}`, { kind: 'chat', routes })
  await gateway.admin('POST', `/v1/platform/models/${model}/price`, {
    input_usd_per_million: '1',
    output_usd_per_million: '1',
  })
})

type Limits = { requests?: number; tokens?: number; day?: number; dayTokens?: number; concurrent?: number }

const named = ({ requests, tokens, day, dayTokens, concurrent }: Limits) => ({
  ...(requests !== undefined && { max_requests_per_1_minute: requests }),
  ...(tokens !== undefined && { max_tokens_per_1_minute: tokens }),
  ...(day !== undefined && { max_requests_per_1_day: day }),
  ...(dayTokens !== undefined && { max_tokens_per_1_day: dayTokens }),
  ...(concurrent !== undefined && { max_concurrent_requests: concurrent }),
})

/** Sets limits for the model of this test, of the project or what is named, and waits until the gateway has heard of both. */
async function limit(limits: Limits, of = `projects/${project}/`): Promise<void> {
  await gateway.admin('POST', `/v1/organization/${of}rate_limits/rl-${model}`, named(limits))
  await sleep(heardMs)
}
const heardMs = 400

const ask = (user = 'short', more: Body = {}): Promise<Response> =>
  gateway.chat(user, { model, max_tokens: 5, ...more })
const numberIn = (response: Response, header: string): number => Number(response.headers.get(header))
const durationMs = (text: string): number => {
  const [, minutes = 0, seconds = 0, ms = 0] = /^(?:(\d+)m)?(?:([\d.]+)s)?(?:(\d+)ms)?$/.exec(text) ?? []
  return (Number(minutes) * 60 + Number(seconds)) * 1_000 + Number(ms)
}

test('the fourth of three requests a minute is refused in the words and headers of OpenAI', async () => {
  await limit({ requests: 3 })
  for (let count = 1; count <= 3; count += 1) {
    const response = await ask()
    expect(response.status).toBe(200)
    expect(numberIn(response, 'x-ratelimit-limit-requests')).toBe(3)
    expect(numberIn(response, 'x-ratelimit-remaining-requests')).toBe(3 - count)
    const resetMs = durationMs(response.headers.get('x-ratelimit-reset-requests') ?? '')
    expect(resetMs).toBeGreaterThan(20_000 * count - 3_000)
    expect(resetMs).toBeLessThanOrEqual(20_000 * count)
  }
  const refused = await ask()
  const retryAfter = numberIn(refused, 'retry-after')
  const retryAfterMs = numberIn(refused, 'retry-after-ms')
  expect(retryAfter).toBe(Math.ceil(retryAfterMs / 1_000))
  expect(retryAfterMs).toBeGreaterThan(17_000)
  expect(retryAfterMs).toBeLessThanOrEqual(20_000)
  expect(refused.headers.get('x-should-retry')).toBeNull()
  expect(refused.headers.get('x-ratelimit-limit-requests')).toBe('3')
  expect(refused.headers.get('x-ratelimit-remaining-requests')).toBe('0')
  const { message } = await expectRefusal(refused, { status: 429, type: 'requests', code: 'rate_limit_exceeded' })
  expect(message).toMatch(
    new RegExp(
      `^Rate limit reached for ${model} in project ${project} on requests per min \\(RPM\\): ` +
        'Limit 3, Used 3, Requested 1\\. Please try again in [\\d.]+s\\.',
    ),
  )
})

test('whoever waits as long as retry-after-ms says is admitted, and not before', async () => {
  await limit({ requests: 60 })
  await Promise.all(Array.from({ length: 60 }, () => ask()))
  // A request fits again every second: a refusal that leaves time to ask once more in between
  let waitMs = 0
  while (waitMs < 600) waitMs = numberIn(await ask(), 'retry-after-ms')
  expect(waitMs).toBeLessThanOrEqual(1_000)
  const askedAtMs = performance.now()
  expect((await ask()).status).toBe(429)
  await sleep(waitMs + 5 - (performance.now() - askedAtMs))
  expect((await ask()).status).toBe(200)
})

test('of 50 requests at once exactly as many pass as the limit allows', async () => {
  await limit({ requests: 10 })
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask()))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(10)
  expect(answers.filter(({ status }) => status === 429)).toHaveLength(40)
})

test('tokens are counted by what a call may use, and corrected to what it used', async () => {
  await limit({ tokens: 1_000 })
  const first = await ask('short', { max_tokens: 500 })
  expect(numberIn(first, 'x-ratelimit-limit-tokens')).toBe(1_000)
  // The head of a stream shows what is set aside while it runs
  const streamed = await ask('short', { max_tokens: 500, stream: true })
  expect(numberIn(streamed, 'x-ratelimit-remaining-tokens')).toBeLessThan(500)
  await streamed.text()
  const after = numberIn(await ask('short', { max_tokens: 5 }), 'x-ratelimit-remaining-tokens')
  expect(after).toBeGreaterThan(850)
})

test('tokens beyond the limit are refused in the words of OpenAI, and the request is given back', async () => {
  await limit({ requests: 100, tokens: 1_000 })
  const used = await ask('very long', { max_tokens: 500 })
  expect(used.status).toBe(200)
  const refused = await ask('short', { max_tokens: 400 })
  expect(numberIn(refused, 'retry-after')).toBeGreaterThan(0)
  const { message } = await expectRefusal(refused, { status: 429, type: 'tokens', code: 'rate_limit_exceeded' })
  expect(message).toMatch(
    /on tokens per min \(TPM\): Limit 1000, Used \d+, Requested \d+\. Please try again in [\d.]+m?s\./,
  )
  const [, requested] = /Requested (\d+)/.exec(message) ?? []
  expect(Number(requested)).toBeGreaterThan(400)
  const small = await ask('short', { max_tokens: 5 })
  expect(small.status).toBe(200)
  // Of 100 requests: the first, and this one
  expect(numberIn(small, 'x-ratelimit-remaining-requests')).toBe(98)
})

test('a request that can never fit is refused for good', async () => {
  await limit({ tokens: 1_000 })
  const refused = await ask('short', { max_tokens: 5_000 })
  expect(refused.headers.get('x-should-retry')).toBe('false')
  expect(refused.headers.get('retry-after')).toBeNull()
  const { message } = await expectRefusal(refused, { status: 429, type: 'tokens', code: 'rate_limit_exceeded' })
  expect(message).toMatch(/^Request too large for .*: Limit 1000, Requested 5\d\d\d\. Lower max_tokens/)
  expect((await ask()).status).toBe(200)
})

test('a call that the credit does not cover takes nothing of the limits', async () => {
  await limit({ requests: 5, tokens: 50_000_000 })
  // Priced so that not even a short answer is covered
  await gateway.admin('POST', `/v1/platform/models/${model}/price`, {
    input_usd_per_million: '1000000',
    output_usd_per_million: '1000000',
  })
  await sleep(heardMs)
  for (let count = 0; count < 10; count += 1) {
    await expectRefusal(await ask('short', { n: 3, max_tokens: 9_000_000 }), {
      status: 429,
      code: 'credit_balance_exhausted',
    })
  }
  await gateway.admin('POST', `/v1/platform/models/${model}/price`, {
    input_usd_per_million: '1',
    output_usd_per_million: '1',
  })
  await sleep(heardMs)
  const response = await ask()
  expect(numberIn(response, 'x-ratelimit-remaining-requests')).toBe(4)
  expect(numberIn(response, 'x-ratelimit-remaining-tokens')).toBeGreaterThan(49_999_000)
})

test('a call that failed gives its tokens back, but not its request', async () => {
  await limit({ requests: 100, tokens: 10_000 })
  await expectRefusal(await ask('fails', { max_tokens: 9_000 }), { status: 502, code: 'upstream_error' })
  const response = await ask()
  expect(numberIn(response, 'x-ratelimit-remaining-requests')).toBe(98)
  expect(numberIn(response, 'x-ratelimit-remaining-tokens')).toBeGreaterThan(9_800)
})

test('the limit of one model leaves the others alone', async () => {
  await limit({ requests: 1 })
  expect((await ask()).status).toBe(200)
  expect((await ask()).status).toBe(429)
  expect((await gateway.chat('short')).status).toBe(200)
})

test("another project's calls are counted for themselves", async () => {
  await limit({ requests: 1 })
  expect((await ask()).status).toBe(200)
  expect((await ask()).status).toBe(429)
  const other = await gateway.admin<{ id: string }>('POST', '/v1/organization/projects', { name: 'another' })
  const keys = `/v1/organization/projects/${other.id}/api_keys`
  const { value } = await gateway.admin<{ value: string }>('POST', keys, { name: 'another' })
  const headers = { authorization: `Bearer ${value}` }
  expect((await gateway.chat('short', { model, max_tokens: 5 }, { headers })).status).toBe(200)
})

test('a second key of the project shares its limit', async () => {
  await limit({ requests: 2 })
  const { value } = await gateway.newKey()
  const headers = { authorization: `Bearer ${value}` }
  expect((await ask()).status).toBe(200)
  expect((await ask('short', {})).status).toBe(200)
  expect((await gateway.chat('short', { model, max_tokens: 5 }, { headers })).status).toBe(429)
})

test('a limit that was raised holds within a second', async () => {
  await limit({ requests: 1 })
  await ask()
  expect((await ask()).status).toBe(429)
  await gateway.admin('POST', `/v1/organization/projects/${project}/rate_limits/rl-${model}`, {
    max_requests_per_1_minute: 1_000,
  })
  await expect.poll(async () => (await ask()).status, { timeout: 1_000, interval: 20 }).toBe(200)
})

test('a limit that was lowered holds within a second, for what is left of the minute', async () => {
  await limit({ requests: 1_000 })
  for (let count = 0; count < 20; count += 1) await ask()
  await gateway.admin('POST', `/v1/organization/projects/${project}/rate_limits/rl-${model}`, {
    max_requests_per_1_minute: 5,
  })
  await sleep(1_000)
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask()))
  expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(5)
})

test('the requests of a day are refused as those of a minute, and no SDK tries again', async () => {
  await limit({ day: 2 })
  await ask()
  expect(numberIn(await ask(), 'x-ratelimit-remaining-requests')).toBe(0)
  const refused = await ask()
  expect(refused.headers.get('x-should-retry')).toBe('false')
  expect(refused.headers.get('x-ratelimit-reset-requests')).toMatch(/^2[34]h/)
  const { message } = await expectRefusal(refused, { status: 429, type: 'requests', code: 'rate_limit_exceeded' })
  expect(message).toMatch(/on requests per day \(RPD\): Limit 2, Used 2, Requested 1\. Please try again in 1[12]h/)
})

test('the tokens of a day are pre-debited and corrected', async () => {
  await limit({ dayTokens: 2_000 })
  for (let call = 0; call < 5; call += 1) expect((await ask('short', { max_tokens: 1_000 })).status).toBe(200)
  await ask('very long', { max_tokens: 1_000 })
  const refused = await ask('short', { max_tokens: 1_100 })
  const { message } = await expectRefusal(refused, { status: 429, type: 'tokens', code: 'rate_limit_exceeded' })
  expect(message).toMatch(/on tokens per day \(TPD\): Limit 2000, Used \d+, Requested 11\d\d\. Please try again in \dh/)
})

test('concurrent requests are as many as the limit, and each gives its slot back however it ends', async () => {
  await limit({ concurrent: 2 })
  const running = [ask('waits'), ask('waits')]
  await sleep(300)
  const refused = await ask()
  expect(numberIn(refused, 'retry-after-ms')).toBe(1_000)
  const { message } = await expectRefusal(refused, { status: 429, type: 'requests', code: 'rate_limit_exceeded' })
  expect(message).toContain('on concurrent requests: Limit 2, Used 2, Requested 1. Please try again in 1s.')
  for (const response of await Promise.all(running)) expect(response.status).toBe(200)
  const cut = new AbortController()
  const left = [1, 2].map(() =>
    gateway.chat('waits', { model, max_tokens: 5 }, { signal: cut.signal }).catch(() => null),
  )
  await sleep(300)
  cut.abort()
  await Promise.all(left)
  await Promise.all([ask('fails'), ask('fails')].map(call => call.catch(() => null)))
  // A call whose client left runs on for a moment, until it is known what it cost
  const statuses = async (): Promise<number[]> => (await Promise.all([ask(), ask()])).map(({ status }) => status)
  await expect.poll(statuses, { timeout: 6_000, interval: 100 }).toEqual([200, 200])
})

test("a key's own limits lie inside its project's, and keys that replace it share them", async () => {
  const key = await gateway.newKey()
  const of = (value: string) =>
    gateway.chat('short', { model, max_tokens: 5 }, { headers: { authorization: `Bearer ${value}` } })
  const path = key.path.replace('/v1/organization/', '')
  await limit({ requests: 10 })
  await limit({ requests: 3 }, `${path}/`)
  const { value } = await gateway.admin<{ value: string }>('POST', `${key.path}/rotate`, { grace_seconds: 60 })
  expect((await of(key.value)).status).toBe(200)
  expect((await of(value)).status).toBe(200)
  expect(numberIn(await of(key.value), 'x-ratelimit-remaining-requests')).toBe(0)
  const refused = await of(value)
  const { message } = await expectRefusal(refused, { status: 429, type: 'requests' })
  expect(message).toContain(`in key ${key.id} on requests per min (RPM): Limit 3, Used 3`)
  // Refused, it took nothing of the project, whose other keys go on
  const other = await ask()
  expect(numberIn(other, 'x-ratelimit-remaining-requests')).toBe(6)
  await gateway.admin('DELETE', `${key.path}/rate_limits/rl-${model}`)
  await expect.poll(async () => (await of(value)).status, { timeout: 1_000, interval: 50 }).toBe(200)
})

test("the project's own limit has headers beside the tightest", async () => {
  await limit({ requests: 10, tokens: 5_000 })
  await limit({ requests: 4 }, '')
  const response = await ask()
  expect(numberIn(response, 'x-ratelimit-limit-requests')).toBe(4)
  expect(numberIn(response, 'x-ratelimit-limit-project-requests')).toBe(10)
  expect(numberIn(response, 'x-ratelimit-remaining-project-requests')).toBe(9)
  expect(numberIn(response, 'x-ratelimit-limit-project-tokens')).toBe(5_000)
  expect(response.headers.get('x-ratelimit-reset-project-tokens')).toMatch(/^[\d.]+m?s$/)
  await gateway.admin('DELETE', `/v1/organization/projects/${project}/rate_limits/rl-${model}`)
  await sleep(heardMs)
  const { headers } = await ask()
  expect([...headers.keys()].filter(name => name.includes('project-'))).toEqual([])
})

test('test keys have counters of their own', async () => {
  const path = `/v1/organization/projects/${project}/rate_limits/rl-keyhouse-test-chat`
  await gateway.admin('POST', path, { max_requests_per_1_minute: 2 })
  const keys = await Promise.all([gateway.newKey({ test: true }), gateway.newKey({ test: true })])
  await sleep(heardMs)
  const call = (key = keys[0]) =>
    gateway.chat('short', { model: 'keyhouse-test-chat' }, { headers: { authorization: `Bearer ${key?.value}` } })
  expect([(await call()).status, (await call(keys[1])).status, (await call()).status]).toEqual([200, 200, 429])
})

test('a usage tier is what holds where nothing was set', async () => {
  await gateway.admin('POST', '/v1/organization/usage_tier', { usage_tier: 'free' })
  await sleep(heardMs)
  const response = await ask()
  expect(numberIn(response, 'x-ratelimit-limit-requests')).toBe(3)
  expect(numberIn(response, 'x-ratelimit-limit-tokens')).toBe(40_000)
  await limit({ requests: 50 }, '')
  expect(numberIn(await ask(), 'x-ratelimit-limit-requests')).toBe(50)
  await gateway.admin('POST', '/v1/organization/usage_tier', { usage_tier: null })
})

test('an address that tried too many unknown keys is heard from with keys that were good before, and no others', async () => {
  const tries: number[] = []
  const tryKey = (key: string) => gateway.chat('short', {}, { headers: { authorization: `Bearer ${key}` } })
  for (let turn = 0; turn < 12; turn += 1) {
    tries.push((await tryKey(makeKey('project', bytes => new Uint8Array(bytes).fill(turn + 1)))).status)
  }
  expect(tries).toEqual([...Array(10).fill(401), 429, 429])
  expect((await ask()).status).toBe(200)
  // Good too, but nobody has looked: over its limit, the address gets no look-up
  const { value } = await gateway.newKey()
  await expectRefusal(await tryKey(value), { status: 429, code: 'rate_limit_exceeded' })
  // What changed about a good key is looked up all the same
  await limit({ requests: 77 })
  expect(numberIn(await ask(), 'x-ratelimit-limit-requests')).toBe(77)
})

test('what was used of a day is used after a restart', async () => {
  await limit({ day: 3 })
  expect([(await ask()).status, (await ask()).status]).toEqual([200, 200])
  await gateway.keyhouse.stop()
  const { url } = await gateway.restart()
  const again = () =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.keys.project}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, max_tokens: 5, user: 'short', messages: [{ role: 'user', content: 'hello' }] }),
    })
  expect([(await again()).status, (await again()).status]).toEqual([200, 429])
})
