import { afterAll, beforeAll, expect, test } from 'vitest'
import { type TestDatabase, testDatabase } from '../../test/support/postgres.ts'
import { longTransaction } from './open-transactions.ts'

let postgres: TestDatabase
beforeAll(async () => {
  postgres = await testDatabase()
})
afterAll(() => postgres.stop())

test('a transaction that somebody leaves open is found, and named by what ends it', async () => {
  const { database } = postgres
  const client = await database.connect()
  await client.query('begin')
  const { rows } = await client.query('select pg_backend_pid() as pid')
  await expect.poll(() => longTransaction(database, 1), { timeout: 5_000 }).toMatchObject({ pid: rows[0].pid })
  expect(await longTransaction(database, 600)).toBeUndefined()
  await client.query('rollback')
  expect(await longTransaction(database, 1)).toBeUndefined()
  await client.end()
})
