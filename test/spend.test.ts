/** Spend limits and key budgets: what is set on the control plane holds at the gateway, within a second of the change. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { type Body, chatBody, type ProjectKey, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'

type Spend = {
  readonly limit_usd: string | null
  readonly spent_usd: string
  readonly reserved_usd: string
  readonly remaining_usd: string | null
  readonly starts_at: number | null
  readonly resets_at: number | null
}
type Budget = Spend & { readonly key_id: string; readonly shared_from: string }

/** At 15 dollars a million: 1.50 a call. */
const outputTokens = 100_000
/** What a call's prompt can cost at the most is less. */
const prompt = 0.01
const knownWithinMs = 1_000

let gateway: TestGateway
let books: Books
let project: string
beforeAll(async () => {
  gateway = await startGateway({
    settings: { 'first-credit-usd': '1000', 'clamped-output-tokens-min': '0' },
    cases: { dear: { promptTokens: 0, outputTokens }, slow: { latencyMs: 1_500, promptTokens: 0, outputTokens } },
  })
  books = await Books.open(gateway.keyhouse.dataDir)
  project = (await gateway.newKey()).path.split('/api_keys')[0] ?? ''
})
afterAll(async () => {
  await books?.close()
  await gateway?.stop()
})

const admin = <Answer = unknown>(method: string, path: string, body?: unknown) =>
  gateway.admin<Answer>(method, path, body)

function call(key: { readonly value: string }, user = 'dear', times = 1): Promise<Response> {
  const headers = { authorization: `Bearer ${key.value}` }
  return gateway.post('/v1/chat/completions', chatBody(user, { max_tokens: times * outputTokens }), { headers })
}

async function spend(key: { readonly value: string }): Promise<void> {
  const response = await call(key)
  expect(response.status, await response.text()).toBe(200)
}

async function refused(response: Response, code: string): Promise<string> {
  expect(response.headers.get('x-should-retry')).toBe('false')
  expect(response.headers.get('retry-after')).toBeNull()
  return (await expectRefusal(response, { status: 429, code, type: 'insufficient_quota' })).message
}

/** Calls that are refused cost nothing, so it is asked until it is, and no longer than the promise. */
async function refusedSoon(key: ProjectKey, code: string): Promise<string> {
  await sleep(knownWithinMs)
  return refused(await call(key), code)
}

/** Sooner than an idle server hands back what it leased, and asks for less than it has left of that. */
async function refusedOfTheLease(key: ProjectKey, code: string): Promise<void> {
  await sleep(knownWithinMs / 2)
  await refused(await call(key, 'dear', 0.5), code)
}

const cents = (usd: number) => ({ threshold_amount: Math.round(usd * 100), currency: 'USD', interval: 'month' })

describe.each([
  { of: 'organization', code: 'organization_spend_limit_exceeded', path: () => '/v1/organization' },
  { of: 'project', code: 'project_spend_limit_exceeded', path: () => project },
])('the spend limit of the $of', ({ code, path }) => {
  let key: ProjectKey
  let before: number
  const read = () => admin<Spend>('GET', `${path()}/spend`)
  const set = (usd: number) => admin('POST', `${path()}/spend_limit`, cents(before + usd))
  const clear = () => admin('DELETE', `${path()}/spend_limit`)

  beforeEach(async () => {
    key = await gateway.newKey()
    // Whatever ran before is settled
    await books.expectBalanced()
    before = Number((await read()).spent_usd)
  })

  test('is enforced as it is shown, and calls beyond it say when it starts anew', async () => {
    await spend(key)
    await expect.poll(async () => (await read()).spent_usd, { timeout: 4_000 }).toBe((before + 1.5).toFixed(2))
    before += 1.5
    await set(1.5 + prompt)
    await sleep(knownWithinMs)
    expect(await admin('GET', `${path()}/spend_limit`)).toMatchObject({ enforcement: { status: 'enforcing' } })
    await spend(key)
    expect(await refused(await call(key), code)).toMatch(/It starts anew at \d{4}-\d\d-01T00:00:00.000Z/)
    const now = new Date()
    const spent = { spent_usd: (before + 1.5).toFixed(2), reserved_usd: '0.00' }
    await expect.poll(read, { timeout: 5_000 }).toMatchObject(spent)
    expect(await read()).toMatchObject({
      remaining_usd: '0.01',
      starts_at: Date.UTC(now.getUTCFullYear(), now.getUTCMonth()) / 1000,
      resets_at: Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1) / 1000,
    })
    await clear()
    await sleep(knownWithinMs)
    await spend(key)
    expect(await read()).toMatchObject({ limit_usd: null, remaining_usd: null })
  })

  test('that is lowered beneath what is spent refuses whatever comes, also what calls in flight hand back', async () => {
    await set(100)
    await sleep(knownWithinMs)
    await spend(key)
    const running = call(key, 'slow')
    await sleep(100)
    await set(0.02)
    await refusedOfTheLease(key, code)
    expect((await running).status).toBe(200)
    for (let turn = 0; turn < 3; turn += 1) await refused(await call(key, 'dear', 0.5), code)
    await expect
      .poll(read, { timeout: 4_000 })
      .toMatchObject({ spent_usd: (before + 3).toFixed(2), remaining_usd: '0.00' })
    await set(100)
    await sleep(knownWithinMs)
    await spend(key)
    await clear()
  })
})

describe('the budget of a key', () => {
  let key: ProjectKey
  beforeEach(async () => {
    key = await gateway.newKey()
  })
  const budgetOf = ({ path }: ProjectKey = key) => admin<Budget>('GET', `${path}/budget`)
  const set = (limit_usd: string, period: string, { path }: ProjectKey = key) =>
    admin<Budget>('POST', `${path}/budget`, { limit_usd, period })
  const settled = (spent: string) =>
    expect.poll(async () => (await budgetOf()).spent_usd, { timeout: 4_000 }).toBe(spent)

  test.each(['day', 'week', 'month', 'total'])('by the %s refuses what goes beyond it', async period => {
    expect(await set('1.51', period)).toMatchObject({ limit_usd: '1.51', spent_usd: '0.00', remaining_usd: '1.51' })
    await spend(key)
    const message = await refusedSoon(key, 'insufficient_quota')
    expect(message).toContain('keyhouse keys budget set')
    expect(message).toMatch(period === 'total' ? /It does not start anew/ : /It starts anew at/)
    await settled('1.50')
    const { resets_at, starts_at } = await budgetOf()
    expect(resets_at === null).toBe(period === 'total')
    if (starts_at !== null) expect(new Date(starts_at * 1000).toISOString()).toContain('T00:00:00.000Z')

    // As if it had been spent in the period before
    const back = { day: '1 day', week: '7 days', month: '1 month', total: '0' }[period]
    const moved = `starts_at = (starts_at at time zone 'UTC' - interval '${back}') at time zone 'UTC'`
    await expect.poll(async () => (await budgetOf()).reserved_usd, { timeout: 5_000 }).toBe('0.00')
    await books.query(`update spend_windows set ${moved} where scope_id = $1`, [key.id])
    if (period === 'total') await refused(await call(key), 'insufficient_quota')
    else await spend(key)
  })

  test('is as of now when it is set: what the key has spent in the period stands, and no edit forgets it', async () => {
    await spend(key)
    await expect.poll(async () => (await set('2', 'day')).spent_usd, { timeout: 4_000 }).toBe('1.50')
    await refusedSoon(key, 'insufficient_quota')
    expect(await set('100', 'total')).toMatchObject({ spent_usd: '1.50', remaining_usd: '98.50' })
    expect(await admin('DELETE', `${key.path}/budget`)).toMatchObject({ key_id: key.id, deleted: true })
    expect(await admin('DELETE', `${key.path}/budget`)).toMatchObject({ deleted: false })
    await expect(budgetOf()).rejects.toThrow(/404.*none is set/)
    await sleep(knownWithinMs)
    await spend(key)
    await expect.poll(async () => (await set('2', 'total')).spent_usd, { timeout: 4_000 }).toBe('3.00')
    await refusedSoon(key, 'insufficient_quota')
  })

  test('does not shrink when usage is kept no longer', async () => {
    await set('10', 'total')
    await sleep(knownWithinMs)
    await spend(key)
    await settled('1.50')
    await books.query('delete from usage_events where api_key_id = $1', [key.id])
    expect(await set('11', 'total')).toMatchObject({ spent_usd: '1.50' })
  })

  test('that is lowered beneath what is spent refuses, leases and calls in flight notwithstanding', async () => {
    await set('100', 'month')
    await sleep(knownWithinMs)
    await spend(key)
    const running = call(key, 'slow')
    await sleep(100)
    await set('1', 'month')
    await refusedOfTheLease(key, 'insufficient_quota')
    expect((await running).status).toBe(200)
    for (let turn = 0; turn < 3; turn += 1) await refused(await call(key, 'dear', 0.5), 'insufficient_quota')
    await settled('3.00')
    expect(await budgetOf()).toMatchObject({ remaining_usd: '0.00' })
  })

  test('is one for all keys that replace each other, and for the client secrets that they mint', async () => {
    await set('4.60', 'total')
    await sleep(knownWithinMs)
    await spend(key)
    const after = await admin<ProjectKey>('POST', `${key.path}/rotate`, {})
    await spend(after)
    const minted = await gateway.post('/v1/client_secrets', {}, { headers: { authorization: `Bearer ${after.value}` } })
    // The shape that its contract says
    const secret = (await minted.json()) as ProjectKey
    await spend(secret)
    for (const each of [key, after, secret]) await refused(await call(each), 'insufficient_quota')
    const path = `${project}/api_keys/${after.id}`
    await expect
      .poll(() => admin('GET', `${path}/budget`))
      .toMatchObject({
        key_id: after.id,
        shared_from: key.id,
        spent_usd: '4.50',
      })
    // Set on the newest of them, it reaches all
    await admin('POST', `${path}/budget`, { limit_usd: '20', period: 'total' })
    await sleep(knownWithinMs)
    for (const each of [key, after, secret]) await spend(each)
    await expect(set('30', 'total', { ...after, path: `${project}/api_keys/${secret.id}` })).rejects.toThrow(
      /client secret/,
    )
  })

  test('that is set on one of them reaches those that were in use without one', async () => {
    const after = await admin<ProjectKey>('POST', `${key.path}/rotate`, {})
    const minted = await gateway.post('/v1/client_secrets', {}, { headers: { authorization: `Bearer ${after.value}` } })
    // The shape that its contract says
    const all = [key, after, (await minted.json()) as ProjectKey]
    for (const each of all) await spend(each)
    await admin('POST', `${project}/api_keys/${after.id}/budget`, { limit_usd: '1', period: 'total' })
    await sleep(knownWithinMs)
    for (const each of all) await refused(await call(each), 'insufficient_quota')
  })

  test('can come with the key, of a person or of a service account', async () => {
    const budget = { limit_usd: '1.51', period: 'week' }
    const made = await gateway.newKey({ budget })
    await spend(made)
    await refused(await call(made), 'insufficient_quota')
    await expect(gateway.newKey({ budget, backup_of: made.id })).rejects.toThrow(/Set it there/)
    const account = await admin<{ api_key: ProjectKey }>('POST', `${project}/service_accounts`, { name: 'ci' })
    const theirs = { ...account.api_key, path: `${project}/api_keys/${account.api_key.id}` }
    await set('1.51', 'week', theirs)
    await sleep(knownWithinMs)
    await spend(theirs)
    await refused(await call(theirs), 'insufficient_quota')
  })

  test.each<[Body]>([[{ limit_usd: '1' }], [{ limit_usd: '-1', period: 'day' }], [{ limit_usd: '1', period: 'year' }]])(
    '%j is none',
    async body => {
      await expect(admin('POST', `${key.path}/budget`, body)).rejects.toThrow(/400/)
    },
  )

  test('of nothing refuses all that costs something', async () => {
    await set('0', 'day')
    await refusedSoon(key, 'insufficient_quota')
  })

  test('is set while its calls are being settled, and counts each of them once', async () => {
    const calls = Array.from({ length: 20 }, () => spend(key))
    const edits = Array.from({ length: 20 }, (_, turn) => set(String(1000 + turn), turn % 2 ? 'month' : 'total'))
    await Promise.all([...calls, ...edits])
    await set('1000', 'total')
    await settled('30.00')
    expect(await set('1000', 'month')).toMatchObject({ spent_usd: '30.00' })
  })
})

test('afterwards what remains of the grants is the credit and what is leased of it', async () => {
  await books.expectGrants()
})
