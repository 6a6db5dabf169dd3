import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { troubles as rows, troubleKinds } from '#contract/troubles.ts'
import { createLog } from '#observe/log.ts'
import { Troubles } from './troubles.ts'

const noonMs = Date.UTC(2026, 10, 28, 12)

function watched() {
  const lines: Record<string, unknown>[] = []
  let nowMs = noonMs
  const troubles = new Troubles(createLog('info', { write: line => void lines.push(JSON.parse(line)) }), () => nowMs)
  const pass = (ms: number): void => {
    nowMs += ms
  }
  return { lines, troubles, pass }
}

test('what is wrong is said once when it begins, and once when it is over, with since when and for how long', () => {
  const { lines, troubles, pass } = watched()
  const redis = troubles.of('redis_away')
  redis.over()
  for (let met = 0; met < 1_000; met += 1) redis.began(new Error('connect ECONNREFUSED'))
  pass(90_000)
  for (let served = 0; served < 1_000; served += 1) redis.over()
  expect(lines).toHaveLength(2)
  expect(lines[0]).toMatchObject({ level: 'error', trouble: 'redis_away', err: { message: 'connect ECONNREFUSED' } })
  const since = new Date(noonMs).toISOString()
  expect(lines[1]).toMatchObject({ trouble: 'redis_away', since, lasted_s: 90, msg: 'over: Redis does not answer' })
})

test('what is wrong now is told with what was met last, each of a kind by itself, and not any more when it is over', () => {
  const { troubles, pass } = watched()
  troubles.of('job_failing', 'send-mail').began(new Error('first'))
  pass(1_000)
  troubles.of('job_failing', 'clean-up').began('other')
  troubles.of('job_failing', 'send-mail').began(new Error('last'))
  expect(troubles.list()).toMatchObject([
    { kind: 'job_failing', about: 'send-mail', sinceMs: noonMs, reason: 'last' },
    { kind: 'job_failing', about: 'clean-up', sinceMs: noonMs + 1_000, reason: 'other' },
  ])
  expect([troubles.counts().get('job_failing'), troubles.counts().get('redis_away')]).toEqual([2, 0])
  troubles.of('job_failing', 'send-mail').over()
  expect(troubles.list().map(({ about }) => about)).toEqual(['clean-up'])
})

test('a provider that nobody calls any more does not fail for ever', () => {
  const { troubles, pass } = watched()
  troubles.of('provider_failing', 'mine m').began('down')
  troubles.of('database_away').began('down')
  pass(rows.provider_failing.quietMs + 1)
  expect(troubles.list().map(({ kind }) => kind)).toEqual(['database_away'])
})

test('the page for operators has each kind of trouble, in the words of the log', () => {
  const page = readFileSync(new URL('../docs/operations.md', import.meta.url), 'utf8')
  for (const kind of troubleKinds) {
    const [what = ''] = rows[kind].message.split(':')
    expect(page).toContain(`| \`${kind}\` | ${what} |`)
  }
})
