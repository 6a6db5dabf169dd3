// Calls that wait for money which other nodes hold, and those that come after them: the real wallets of two nodes, and a clock
// that moves when somebody sleeps.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { OrganizationId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import { periodStart, type SpendAccount } from '#core/spending.ts'
import { type Hold, Wallets } from '#gateway/wallets.ts'
import { sql } from '#storage/database.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
let account: SpendAccount
let slept: number
let onSleep: () => Promise<void>
/** While the database is asked for money. */
let onAsk: () => void
let node: Wallets
let elsewhere: Wallets

const credit = 1_000n
const query = (text: string, values: unknown[]) => platform.database.query(sql(text), values)

beforeAll(async () => {
  platform = await testPlatform()
  const organization = platform.other.organizationId as OrganizationId
  await query(
    `insert into credit_grants (id, organization_id, kind, amount_nano_usd, remaining_nano_usd, priority, reference)
     values ('cg_1', $1, 'purchased', ${credit}, ${credit}, 30, 'one')`,
    [organization],
  )
  await query(
    `select post_ledger('grant', 'one', array['platform/funding', $1 || '/credit'], array[-${credit}, ${credit}])`,
    [organization],
  )
  account = { kind: 'credit', organization }
})

beforeEach(() => {
  slept = 0
  onSleep = async () => undefined
  onAsk = () => undefined
  node = walletsOf('node')
  elsewhere = walletsOf('elsewhere')
})

afterEach(async () => {
  for (const wallets of [node, elsewhere]) await wallets.close()
})

afterAll(() => platform.stop())

const neverMs = 2 ** 31 - 1
const walletsOf = (name: string): Wallets =>
  new Wallets(
    {
      database: {
        ...platform.database,
        query(statement, values) {
          if (statement.name === 'grow_lease') onAsk()
          return platform.database.query(statement, values)
        },
      },
      node: name,
      leaseNanoUsdMax: nanoUsd(1n),
      now: () => slept,
      async sleep(ms) {
        slept += ms
        await onSleep()
      },
      onError: (message, error) => {
        throw new Error(message, { cause: error })
      },
    },
    neverMs,
  )

/** As the other node does when it hears that somebody needs it. */
async function handBack(): Promise<void> {
  elsewhere.recall(account.organization)
  const open = `select from leases where node_id = 'elsewhere' and closed_at is null
    and granted_nano_usd > settled_nano_usd + returned_nano_usd`
  await expect.poll(() => query(open, [])).toEqual([])
}

const ask = async (wallets: Wallets, most: bigint, least = most, of = account): Promise<Hold> =>
  wallets.reserve([of], { most: nanoUsd(most), least: nanoUsd(least) })
const amountOf = (hold: Promise<Hold>): Promise<NanoUsd | string> =>
  hold.then(
    ({ amount }) => amount,
    error => error.errorCode,
  )

test('a call that all nodes together cannot pay for is refused at once, and keeps nobody waiting', async () => {
  await ask(elsewhere, 400n)
  const [large, small] = [amountOf(ask(node, 1_001n)), amountOf(ask(node, 10n))]
  expect(await large).toBe('credit_balance_exhausted')
  expect(await small).toBe(10n)
  expect(slept).toBe(0)
})

test('behind a call that waits for what another node holds, those go on that take nothing of what it waits for', async () => {
  const running = await ask(elsewhere, 400n)
  const order: string[] = []
  const large = ask(node, 900n).then(hold => {
    order.push('large')
    return hold.amount
  })
  const small = ask(node, 60n).then(hold => {
    order.push('small')
    return hold.amount
  })
  // Would have to be taken out of the 900
  const middle = ask(node, 90n).then(hold => {
    order.push('middle')
    return hold
  })
  middle.catch(() => order.push('middle refused'))
  onSleep = async () => {
    if (slept < 200) return
    running.release()
    await handBack()
  }
  expect(await small).toBe(60n)
  expect(await large).toBe(900n)
  expect(order.slice(0, 2)).toEqual(['small', 'large'])
  await expect(middle).rejects.toThrow()
})

test('a call whose whole answer nobody can pay for gets a shorter one without waiting for calls that run elsewhere', async () => {
  await ask(elsewhere, 400n)
  expect(await amountOf(ask(node, 5_000n, 50n))).toBe(600n)
  expect(slept).toBeLessThan(100)
})

test('what another node holds and does not need is in that shorter answer', async () => {
  ;(await ask(elsewhere, 400n)).release()
  onSleep = async () => {
    await handBack()
  }
  expect(await amountOf(ask(node, 5_000n, 50n))).toBe(1_000n)
})

test.each([
  {
    what: 'a limit was lowered',
    of: (): SpendAccount => {
      const { organization } = account
      const startsAtMs = periodStart('month', Date.now())
      return { kind: 'organization', organization, scope: organization, period: 'month', startsAtMs }
    },
    before: 'update organizations set usage_cap_nano_usd = 1000 where id = $1',
    change: 'update organizations set usage_cap_nano_usd = 0 where id = $1',
    after: 'update organizations set usage_cap_nano_usd = null where id = $1',
    code: 'organization_usage_limit_exceeded',
  },
  {
    what: 'credit ended',
    of: () => account,
    before: 'select $1',
    change: 'update credit_grants set expires_at = now() where organization_id = $1',
    after: 'select $1',
    code: 'credit_balance_exhausted',
  },
])('what calls do not need that began before $what is not for the calls that come after', async row => {
  const { organization } = account
  await query(row.before, [organization])
  const before = [await ask(node, 300n, 300n, row.of()), await ask(node, 300n, 300n, row.of())]
  await query(row.change, [organization])
  node.recall(organization)
  onAsk = () => before[0]?.settle(nanoUsd(1n))
  expect(await amountOf(ask(node, 10n, 10n, row.of()))).toBe(row.code)
  onAsk = () => undefined
  before[1]?.settle(nanoUsd(1n))
  expect(await amountOf(ask(node, 10n, 10n, row.of()))).toBe(row.code)
  await query(row.after, [organization])
})
