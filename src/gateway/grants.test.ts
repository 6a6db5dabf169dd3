import { expect, test } from 'vitest'
import type { AuthEvent } from '#storage/auth-events.ts'
import type { Database } from '#storage/database.ts'
import { Grants } from './grants.ts'

/** A database whose answers the test holds in its hand: the real one cannot be made slow at the right microsecond. */
function handHeld() {
  let now = 0
  let revoked = false
  const events: AuthEvent[] = []
  let hold: Promise<void> | undefined
  let away = false
  let reads = 0
  let polls = 0
  const row = () => ({
    id: 'key_1',
    kind: 'project',
    redacted: 'sk-kh-proj-****',
    organization_id: 'org-1',
    is_operator: false,
    project_id: 'proj_1',
    archived_at: null,
    owner_user_id: null,
    owner_removed: false,
    organization_role: null,
    project_roles: [],
    assigned: [],
    service_account_id: null,
    service_account_deleted: false,
    budget_key_id: null,
    scopes: [],
    expires_at: null,
    revoked,
    disabled: false,
    asleep: false,
    allowed_cidrs: [],
    allowed_origins: [],
    restrictions: null,
    model_mode: null,
    model_ids: null,
    limits: null,
  })
  const news = (found: AuthEvent[]) => {
    const told_at = new Date(toldAtMs)
    return found.length === 0 ? [{ id: null, told_at }] : found.map(event => ({ ...event, told_at }))
  }
  const query = async ({ name = '' }: { name?: string }, values: readonly unknown[] = []): Promise<unknown[]> => {
    if (away) throw new Error('the database is away')
    if (name === 'auth_events_newest') return [{ id: events.at(-1)?.id ?? 0n }]
    if (name === 'auth_events_after') polls += 1
    if (name === 'auth_events_after') return news(events.filter(({ id }) => id > (values[0] as bigint)))
    reads += 1
    const answer = row()
    await hold
    return [answer]
  }
  // Grants asks for nothing but query
  const database = { query } as unknown as Database
  return {
    grants: new Grants(database, { grantsMax: 10, freshMs: 1000, pollMs: 250 }, () => now),
    pass(ms: number) {
      now += ms
    },
    revoke() {
      revoked = true
      events.push({ id: BigInt(events.length + 1), subject_kind: 'api_key', subject_id: 'key_1' })
    },
    slow(until: Promise<void>) {
      hold = until
    },
    leave() {
      away = true
    },
    get polls() {
      return polls
    },
    get reads() {
      return reads
    },
  }
}

const toldAtMs = Date.UTC(2026, 10, 21, 12)
const hash = Buffer.alloc(32, 1)

test('a known key costs no query while the node is fresh', async () => {
  const house = handHeld()
  await house.grants.poll()
  await house.grants.find(hash)
  const again = house.grants.find(hash)
  expect(again).not.toBeInstanceOf(Promise)
  expect(house.reads).toBe(1)
})

test('a revoked key is refused as soon as the change is heard of', async () => {
  const house = handHeld()
  await house.grants.poll()
  await house.grants.find(hash)
  house.revoke()
  await house.grants.poll()
  expect((await house.grants.find(hash))?.state).toBe('revoked')
})

test('a node that has heard nothing for a second asks the database for every call', async () => {
  const house = handHeld()
  await house.grants.poll()
  await house.grants.find(hash)
  house.revoke()
  house.pass(1000)
  expect((await house.grants.find(hash))?.state).toBe('revoked')
})

test('and serves nobody when the database is away too', async () => {
  const house = handHeld()
  await house.grants.poll()
  await house.grants.find(hash)
  house.leave()
  expect(await house.grants.find(hash)).toBeDefined()
  house.pass(1000)
  await expect(house.grants.find(hash)).rejects.toMatchObject({ errorCode: 'storage_unavailable' })
})

test('whoever is told that a key is revoked finds it dead, also where the node cannot hear of it any more', async () => {
  const house = handHeld()
  await house.grants.poll()
  await house.grants.find(hash)
  house.revoke()
  await house.grants.learnChanges()
  expect((await house.grants.find(hash))?.state).toBe('revoked')

  const other = handHeld()
  await other.grants.poll()
  await other.grants.find(hash)
  other.revoke()
  other.leave()
  await other.grants.learnChanges()
  await expect(other.grants.find(hash)).rejects.toMatchObject({ errorCode: 'storage_unavailable' })
})

test('many who wait for news share one question, which is asked after they came', async () => {
  const house = handHeld()
  await house.grants.poll()
  const under = house.grants.poll()
  await Promise.resolve()
  const asked = house.polls
  house.revoke()
  await Promise.all([under, ...Array.from({ length: 20 }, () => house.grants.learnChanges())])
  expect(house.polls - asked).toBeLessThanOrEqual(2)
  expect((await house.grants.find(hash))?.state).toBe('revoked')
})

test('a slow read that a revocation overtakes does not bring the key back', async () => {
  const house = handHeld()
  await house.grants.poll()
  const { promise, resolve: arrive } = Promise.withResolvers<void>()
  house.slow(promise)
  const slow = house.grants.find(hash)
  await Promise.resolve()
  house.revoke()
  await house.grants.poll()
  arrive()
  expect((await slow)?.state).toBe('revoked')
  expect((await house.grants.find(hash))?.state).toBe('revoked')
})

test('an answer that took longer than the bound is not believed', async () => {
  const house = handHeld()
  await house.grants.poll()
  const { promise, resolve: arrive } = Promise.withResolvers<void>()
  house.slow(promise)
  const slow = house.grants.find(hash)
  await Promise.resolve()
  house.revoke()
  house.pass(1500)
  arrive()
  expect((await slow)?.state).toBe('revoked')
})

test('each poll tells what time it is at the database, with or without news', async () => {
  const house = handHeld()
  const heard: unknown[] = []
  house.grants.onTime(told => heard.push(told))
  await house.grants.poll()
  house.pass(250)
  house.revoke()
  await house.grants.poll()
  expect(heard).toEqual([
    { askedAtMs: 0, answeredAtMs: 0, toldAtMs },
    { askedAtMs: 250, answeredAtMs: 250, toldAtMs },
  ])
})
