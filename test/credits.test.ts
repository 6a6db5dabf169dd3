/** Credit in grants: what is spent first, what ends, what is taken back; and the operator's credit for others. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { type Body, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'

type CreditGrant = {
  readonly id: string
  readonly status: string
  readonly remaining_usd: string
  readonly spent_usd: string
  readonly ended_usd: string
}
type List = { readonly data: readonly CreditGrant[]; readonly has_more: boolean; readonly last_id: string | null }

const grants = '/v1/organization/credit_grants'
/** At 15 dollars a million: 1.50 a call. */
const outputTokens = 100_000

let gateway: TestGateway
let books: Books
beforeAll(async () => {
  gateway = await startGateway({
    settings: { 'first-credit-usd': '0' },
    cases: {
      dear: { promptTokens: 0, outputTokens },
      slow: { latencyMs: 2_500, promptTokens: 0, outputTokens },
    },
  })
  books = await Books.open(gateway.keyhouse.dataDir)
})
afterAll(async () => {
  await books?.close()
  await gateway?.stop()
})

const grant = (body: Body): Promise<CreditGrant> => gateway.admin('POST', grants, body)
const read = (id: string): Promise<CreditGrant> => gateway.admin('GET', `${grants}/${id}`)
const revoke = (id: string): Promise<CreditGrant> => gateway.admin('POST', `${grants}/${id}/revoke`, {})
const balance = () => gateway.admin<Record<string, unknown>>('GET', '/v1/organization/credit_balance')
const call = (user = 'dear'): Promise<Response> => gateway.chat(user, { max_tokens: outputTokens })

async function endOf(id: string): Promise<number> {
  const { expires_at } = await gateway.admin<{ expires_at: number }>('GET', `${grants}/${id}`)
  return expires_at * 1000
}

const untilItEnds = async (id: string): Promise<void> => sleep((await endOf(id)) - Date.now() + 10)

async function spend(): Promise<void> {
  const response = await call()
  expect(response.status, await response.text()).toBe(200)
}

const refused = (response: Response) =>
  expectRefusal(response, { status: 429, code: 'credit_balance_exhausted', type: 'insufficient_quota' })

/** Takes away whatever is there, so that each test begins with nothing. */
async function takeAll(): Promise<void> {
  const { data } = await gateway.admin<List>('GET', `${grants}?status=active&limit=100`)
  for (const { id } of data) await revoke(id)
  await books.expectGrants()
}

describe('what is spent first', () => {
  test('ends soonest, whenever it was granted', async () => {
    await takeAll()
    const lasting = await grant({ amount_usd: '10', kind: 'free' })
    const later = await grant({ amount_usd: '10', expires_in_seconds: 7_200 })
    const soon = await grant({ amount_usd: '2', expires_in_seconds: 3_600, kind: 'promotional' })
    await spend()
    await spend()
    await books.expectBalanced()
    const left = await Promise.all([soon, later, lasting].map(({ id }) => read(id)))
    expect(left.map(({ remaining_usd: left }) => left)).toEqual(['0.00', '9.00', '10.00'])
    expect(left.map(({ spent_usd: spent }) => spent)).toEqual(['2.00', '1.00', '0.00'])
    expect(left.map(({ status }) => status)).toEqual(['spent', 'active', 'active'])
    await books.expectGrants()
  })

  test('of what ends together, is what cost least: free, then promotional, then purchased, or as the priority says', async () => {
    await takeAll()
    const purchased = await grant({ amount_usd: '1' })
    const promotional = await grant({ amount_usd: '1', kind: 'promotional' })
    const free = await grant({ amount_usd: '1', kind: 'free' })
    const first = await grant({ amount_usd: '0.25', priority: 1 })
    await spend()
    await books.expectBalanced()
    const left = await Promise.all([first, free, promotional, purchased].map(({ id }) => read(id)))
    expect(left.map(({ remaining_usd: left }) => left)).toEqual(['0.00', '0.00', '0.75', '1.00'])
  })
})

describe('credit that ends', () => {
  test('cannot be spent from its second on, though the server had leased it; the balance says so', async () => {
    await takeAll()
    // So much that the server leases more than one call needs
    const { id } = await grant({ amount_usd: '100', expires_in_seconds: 2 })
    await spend()
    expect((await balance()).next_expiry).toMatchObject({ expires_at: expect.any(Number) })
    await sleep((await endOf(id)) - Date.now() - 300)
    await spend()
    await untilItEnds(id)
    const { message } = await refused(await gateway.chat('dear', { max_tokens: 1 }))
    expect(message).toContain('($0.00)')
    await books.expectBalanced()
    const ended = { status: 'expired', remaining_usd: '0.00', spent_usd: '3.00', ended_usd: '97.00' }
    expect(await read(id)).toMatchObject(ended)
    expect(await balance()).toMatchObject({ available_usd: '0.00', next_expiry: null })
    await books.expectGrants()
  })

  test('is there for the call that began before, and what that does not need ends with it', async () => {
    await takeAll()
    const { id } = await grant({ amount_usd: '4', expires_in_seconds: 1 })
    const running = call('slow')
    await untilItEnds(id)
    await refused(await call())
    expect((await running).status).toBe(200)
    await refused(await call())
    await books.expectBalanced()
    expect(await read(id)).toMatchObject({ status: 'expired', spent_usd: '1.50', ended_usd: '2.50' })
    await books.expectGrants()
  })
})

describe('a grant that is revoked', () => {
  test('is gone at once, leases included; what was spent of it stays spent', async () => {
    await takeAll()
    const { id } = await grant({ amount_usd: '10', reference: 'payment 1' })
    await spend()
    const after = await revoke(id)
    expect(after).toMatchObject({ status: 'revoked', remaining_usd: '0.00', spent_usd: '1.50', ended_usd: '8.50' })
    await refused(await call())
    await books.expectGrants()
    expect(await revoke(id)).toEqual(after)
  })

  test('while a call holds some of it: that comes back when the call has ended, and cannot be spent again', async () => {
    await takeAll()
    const { id } = await grant({ amount_usd: '10' })
    const running = gateway.chat('slow', { max_tokens: 4 * outputTokens })
    await sleep(200)
    const { status } = await revoke(id)
    expect(status).toBe('revoked')
    await refused(await call())
    expect((await running).status).toBe(200)
    await refused(await call())
    await books.expectBalanced()
    await expect.poll(async () => (await read(id)).remaining_usd, { timeout: 5_000 }).toBe('0.00')
    expect(await read(id)).toMatchObject({ spent_usd: '1.50', ended_usd: '8.50' })
    await books.expectGrants()
  })
})

describe('the grants', () => {
  test('are listed page by page, by status, with what they came from', async () => {
    await takeAll()
    const made = [
      await grant({ amount_usd: '1', note: 'welcome', kind: 'promotional' }),
      await grant({ amount_usd: '2' }),
    ]
    const first = await gateway.admin<List>('GET', `${grants}?status=active&limit=1`)
    expect([first.data[0]?.id, first.has_more]).toEqual([made[0]?.id, true])
    const second = await gateway.admin<List>('GET', `${grants}?status=active&limit=1&after=${first.last_id}`)
    expect([second.data[0]?.id, second.has_more]).toEqual([made[1]?.id, false])
    expect(first.data[0]).toMatchObject({ note: 'welcome', kind: 'promotional', priority: 20, expires_at: null })
    const revoked = await gateway.admin<List>('GET', `${grants}?status=revoked&order=desc`)
    expect(new Set(revoked.data.map(({ status }) => status))).toEqual(new Set(['revoked']))
    expect(await balance()).toMatchObject({
      by_kind: { purchased_usd: '2.00', promotional_usd: '1.00', free_usd: '0.00' },
    })
  })

  test.each<[string, Body, RegExp]>([
    ['nothing', { amount_usd: '0' }, /grant more than nothing/],
    ['for yesterday', { expires_at: 1_700_000_000 }, /ends in the future/],
    ['in milliseconds', { expires_at: 2_000_000_000_000 }, /not in milliseconds/],
    ['with two ends', { expires_at: 2_000_000_000, expires_in_seconds: 5 }, /not both/],
    ['to nobody', { organization_id: 'org-nobody' }, /organization/],
  ])('%s is refused', async (_what, body, reason) => {
    await expect(grant({ amount_usd: '1', ...body })).rejects.toThrow(reason)
  })

  test('are granted once for each reference', async () => {
    await grant({ amount_usd: '1', reference: 'invoice 7' })
    await expect(grant({ amount_usd: '1', reference: 'invoice 7' })).rejects.toThrow(/409.*posted before/)
    await books.expectGrants()
  })
})
