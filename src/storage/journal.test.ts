import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { noTrouble, troubleInto } from '../../test/support/trouble.ts'
import { Journal, type JournalSink } from './journal.ts'

let directory = ''
const errors: string[] = []
const refusals: string[] = []
const onError = (message: string): void => void errors.push(message)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keyhouse-journal-'))
  errors.length = 0
})
afterEach(async () => {
  vi.useRealTimers()
  await rm(directory, { recursive: true })
})

const open = (sink: JournalSink, settings: Partial<{ segmentBytesMax: number; bytesMax: number }> = {}) =>
  Journal.open({ directory, segmentBytesMax: 1_000_000, bytesMax: 10_000_000, ...settings }, sink, {
    unwritable: troubleInto(refusals),
    undelivered: noTrouble,
    onError,
  })

const away: JournalSink = async () => {
  throw new Error('the database is away')
}
const into =
  (records: string[]): JournalSink =>
  async batch =>
    void records.push(...batch)

test('a record that was appended is on the disk, and reaches the database once', async () => {
  const delivered: string[] = []
  const journal = await open(into(delivered))
  await journal.append({ id: 1 })
  const [segment = ''] = await readdir(directory)
  expect(await readFile(join(directory, segment), 'utf8')).toContain('{"id":1}')
  await journal.flush(5_000)
  await journal.close()
  expect(delivered).toEqual(['{"id":1}'])
  expect(await readdir(directory)).toEqual([])
})

test('what the database has not taken is there after a restart, in order', async () => {
  const first = await open(away)
  for (let id = 0; id < 50; id += 1) await first.append({ id })
  await first.close()
  const delivered: string[] = []
  const second = await open(into(delivered))
  await second.flush(5_000)
  await second.close()
  expect(delivered.map(json => JSON.parse(json).id)).toEqual(Array.from({ length: 50 }, (_, id) => id))
})

test.each([
  ['that ends its file', ''],
  ['with room behind it', '\0'.repeat(10_000)],
])('a torn last line %s is forgotten, and the lines before it are not', async (_where, room) => {
  const first = await open(away)
  await first.append({ id: 1 })
  await first.append({ id: 2 })
  await first.close()
  const [name = ''] = await readdir(directory)
  const [text = ''] = (await readFile(join(directory, name), 'utf8')).split('\0')
  await writeFile(join(directory, name), text.slice(0, -4) + room)
  const delivered: string[] = []
  const second = await open(into(delivered))
  await second.flush(5_000)
  await second.close()
  expect(delivered).toEqual(['{"id":1}'])
  expect(errors).toEqual([])
})

test('a damaged line is reported and its file kept, and the good lines still arrive', async () => {
  const first = await open(away)
  await first.append({ id: 1 })
  await first.append({ id: 2 })
  await first.close()
  const [name = ''] = await readdir(directory)
  const text = await readFile(join(directory, name), 'utf8')
  await writeFile(join(directory, name), text.replace('{"id":1}', '{"id":7}'))
  const delivered: string[] = []
  const second = await open(into(delivered))
  await second.flush(5_000)
  await second.close()
  expect(delivered).toEqual(['{"id":2}'])
  expect(errors.join()).toContain('damaged')
  expect(await readdir(directory)).toEqual([`${name}.damaged`])
})

test('a record goes into room that its file had before', async () => {
  const journal = await open(away)
  const [name = ''] = await readdir(directory)
  const before = await stat(join(directory, name))
  await journal.append({ id: 1 })
  const after = await stat(join(directory, name))
  expect([after.size, after.blocks]).toEqual([before.size, before.blocks])
  expect(journal.report().bytes).toBeLessThan(100)
  await journal.close()
})

test('the next file is there before the last one is full, takes over in order, and is not left behind', async () => {
  const delivered: string[] = []
  const journal = await open(into(delivered), { segmentBytesMax: 1_000 })
  for (let id = 0; id < 30; id += 1) await journal.append({ id })
  await expect.poll(() => readdir(directory)).toHaveLength(2)
  for (let id = 30; id < 500; id += 1) await journal.append({ id })
  await journal.flush(5_000)
  await journal.close()
  expect(delivered.map(json => JSON.parse(json).id)).toEqual(Array.from({ length: 500 }, (_, id) => id))
  expect(await readdir(directory)).toEqual([])
})

test('a journal that is full says so until the database has caught up', async () => {
  let isAway = true
  const journal = await open(async batch => (isAway ? away(batch) : undefined), { bytesMax: 100, segmentBytesMax: 40 })
  for (let id = 0; id < 10; id += 1) await journal.append({ id })
  expect(journal.refusal).toContain('wait for the database')
  isAway = false
  await journal.flush(5_000)
  await journal.append({ id: 10 })
  await journal.flush(5_000)
  expect(journal.refusal).toBeUndefined()
  await journal.close()
})

test('appends that come together share a write', async () => {
  const delivered: string[] = []
  const journal = await open(into(delivered))
  await Promise.all(Array.from({ length: 500 }, (_, id) => journal.append({ id })))
  await journal.flush(5_000)
  await journal.close()
  expect(new Set(delivered).size).toBe(500)
})

const onDisk = (): string =>
  readdirSync(directory)
    .map(name => readFileSync(join(directory, name), 'utf8'))
    .join('')

test('records that share a write are all on the disk before any of their calls goes on', async () => {
  const journal = await open(away)
  const seen = await Promise.all(Array.from({ length: 20 }, (_, id) => journal.append({ id }).then(onDisk)))
  // The first went alone, and the others together while its write was under way
  expect(seen[0]).toContain('{"id":0}')
  for (const disk of seen.slice(1)) for (let id = 0; id < 20; id += 1) expect(disk).toContain(`{"id":${id}}`)
  await journal.close()
})

test('a lone record is written at once, as often as one comes', async () => {
  const journal = await open(away)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  for (let id = 0; id < 5; id += 1) {
    await journal.append({ id })
    expect(onDisk()).toContain(`{"id":${id}}`)
  }
  await journal.close()
})

test('what follows a shared write is gathered for two milliseconds, and no longer', async () => {
  const journal = await open(away)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  await Promise.all([journal.append({ id: 0 }), journal.append({ id: 1 }), journal.append({ id: 2 })])
  const later = [journal.append({ id: 3 }), journal.append({ id: 4 })]
  await vi.advanceTimersByTimeAsync(1)
  expect(onDisk()).not.toContain('{"id":3}')
  await vi.advanceTimersByTimeAsync(1)
  await Promise.all(later)
  expect(onDisk()).toContain('{"id":3}')
  const closed = journal.close()
  await vi.advanceTimersByTimeAsync(2)
  await closed
})

test('records reach the database while calls end without a pause', async () => {
  const delivered: string[] = []
  const journal = await open(into(delivered))
  let isOver = false
  const busy = Array.from({ length: 4 }, async (_, client) => {
    while (!isOver) await Promise.all([journal.append({ client }), journal.append({ client })])
  })
  await expect.poll(() => delivered.length, { timeout: 2_000 }).toBeGreaterThan(0)
  isOver = true
  await Promise.all(busy)
  await journal.close()
})

test('a flush that cannot finish says what is left', async () => {
  const journal = await open(away)
  await journal.append({ id: 1 })
  await expect(journal.flush(300)).rejects.toThrow(/1 usage records still wait.*the database is away/)
  await journal.close()
})
