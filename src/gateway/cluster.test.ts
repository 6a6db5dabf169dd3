import type pg from 'pg'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Database, Statement } from '#storage/database.ts'
import { noTrouble, troubleInto } from '../../test/support/trouble.ts'
import { joinCluster } from './cluster.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('a database that lets a node in and then does not answer it stops no heartbeat', async () => {
  let beats = 0
  const ended = vi.fn(async () => undefined)
  const silent = { on: () => undefined, query: () => new Promise(() => undefined), end: ended }
  const query = async ({ text }: Statement): Promise<object[]> => {
    if (text.includes('insert into nodes')) beats += 1
    if (text.includes('max(id)')) return [{ id: 0n }]
    return text.includes('insert into nodes') ? [{ count: 2n, rank: 0n, lost: false }] : []
  }
  // As much of a database, and of a connection, as a cluster asks for
  const database = { query, connect: async () => silent as unknown as pg.Client } as unknown as Database
  const reasons: string[] = []
  const joining = joinCluster(
    database,
    { id: 'n', version: '1' },
    { recalled: vi.fn(), lost: vi.fn() },
    troubleInto(reasons),
  )
  await vi.advanceTimersByTimeAsync(20_000)
  const link = await joining
  expect(beats).toBeGreaterThanOrEqual(4)
  expect(ended).toHaveBeenCalled()
  expect(reasons).toHaveLength(1)
  await link.stop()
})

test('two nodes that start at once, and do not see each other, count each other in as soon as they hear', async () => {
  let nodes = 1n
  const said: string[] = []
  let notify = (_message: { payload?: string }): void => undefined
  const connection = {
    on: (event: string, listener: typeof notify) => {
      if (event === 'notification') notify = listener
    },
    query: async () => void said.push('listens'),
    end: async () => undefined,
  }
  const query = async ({ text }: Statement): Promise<object[]> => {
    said.push(text.includes('pg_notify') ? 'announced' : text.includes('insert into nodes') ? 'runs' : 'other')
    if (text.includes('max(id)')) return [{ id: 0n }]
    return text.includes('insert into nodes') ? [{ count: nodes, rank: 0n, lost: false }] : []
  }
  // As much of a database, and of a connection, as a cluster asks for
  const database = { query, connect: async () => connection as unknown as pg.Client } as unknown as Database
  const link = await joinCluster(database, { id: 'n', version: '1' }, { recalled: vi.fn(), lost: vi.fn() }, noTrouble)
  expect(link.current().count).toBe(1)
  expect(said.filter(what => what !== 'other')).toEqual(['listens', 'runs', 'announced'])
  nodes = 2n
  notify({ payload: '' })
  await vi.advanceTimersByTimeAsync(0)
  expect(link.current().count).toBe(2)
  await link.stop()
})

test('a node that hears of its own leaving does not come back, nor listens anew', async () => {
  let beats = 0
  let connections = 0
  let notify = (_message: { payload?: string }): void => undefined
  let ended = (): void => undefined
  const connection = {
    on: (event: string, listener: () => void) => {
      if (event === 'notification') notify = listener
      else ended = listener
    },
    query: async () => undefined,
    end: async () => ended(),
  }
  const query = async ({ text }: Statement): Promise<object[]> => {
    if (text.includes('max(id)')) return [{ id: 0n }]
    if (text.includes('pg_notify')) notify({ payload: '' })
    if (!text.includes('insert into nodes')) return []
    beats += 1
    return [{ count: 1n, rank: 0n, lost: false }]
  }
  const connect = async (): Promise<pg.Client> => {
    connections += 1
    return connection as unknown as pg.Client
  }
  // As much of a database, and of a connection, as a cluster asks for
  const database = { query, connect } as unknown as Database
  const link = await joinCluster(database, { id: 'n', version: '1' }, { recalled: vi.fn(), lost: vi.fn() }, noTrouble)
  await vi.advanceTimersByTimeAsync(0)
  const beatsBefore = beats
  await link.leave()
  await link.stop()
  await vi.advanceTimersByTimeAsync(20_000)
  expect([beats, connections]).toEqual([beatsBefore, 1])
})
