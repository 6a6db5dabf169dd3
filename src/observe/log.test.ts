import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createLog, warnSparingly } from './log.ts'

const program = `
  import { createLog } from '${new URL('log.ts', import.meta.url)}'
  const log = createLog('info')
  log.info('before')
  setTimeout(() => {
    for (let line = 0; line < 3_000; line += 1) log.info('x'.repeat(1_000))
    setTimeout(() => console.log('goes on'), 100)
  }, 100)`
const endsWithinMs = 10_000

test.runIf(process.platform === 'linux')(
  'a server whose log is on a full disk goes on, and ends when it is done',
  () => {
    const full = openSync('/dev/full', 'w')
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', full],
      encoding: 'utf8',
      timeout: endsWithinMs,
      killSignal: 'SIGKILL',
    })
    closeSync(full)
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'goes on\n' })
  },
)

test('of failures alike five are logged in ten seconds, and the next line says how many were left out', () => {
  const lines: Record<string, unknown>[] = []
  let nowMs = 0
  const warn = warnSparingly(createLog('info', { write: line => void lines.push(JSON.parse(line)) }), () => nowMs)
  const fail = (code: string): void => warn({ code, request_id: 'req_1' }, 'request failed')
  for (let call = 0; call < 1_000; call += 1) fail('storage_unavailable')
  fail('internal_error')
  nowMs = 10_000
  fail('storage_unavailable')
  fail('storage_unavailable')
  expect(lines.map(({ code, left_out }) => [code, left_out])).toEqual([
    ...Array.from({ length: 5 }, () => ['storage_unavailable', undefined]),
    ['internal_error', undefined],
    ['storage_unavailable', 995],
    ['storage_unavailable', undefined],
  ])
})
