/**
 * `npm test`: sets up what the tests need from the system, runs every test, and ends with one line of counts.
 *
 * What is missing is installed where it may be (root on Debian with apt); elsewhere it says what is missing and which tests
 * that leaves out. With KEYHOUSE_TEST_COMPLETE=1, as in CI, nothing may be left out.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepareSystem } from './support/system.ts'

const complete = process.env.KEYHOUSE_TEST_COMPLETE === '1'
const root = fileURLToPath(new URL('..', import.meta.url))
const report = join(mkdtempSync(join(tmpdir(), 'keyhouse-report-')), 'report.json')
const missing = prepareSystem()
for (const { part, tests } of missing) console.log(`Missing: ${part}. Left out: ${tests}.`)
if (complete && missing.length > 0) process.exit(1)

const vitest = [
  join(root, 'node_modules/vitest/vitest.mjs'),
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
]
const run = spawnSync(process.execPath, vitest, {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
  env: { ...process.env, KEYHOUSE_TEST_MISSING: missing.map(({ name }) => name).join(',') },
})

type Counts = { numPassedTests: number; numFailedTests: number; numPendingTests: number; success: boolean }
// Written by vitest's own JSON reporter just now.
const counts = JSON.parse(readFileSync(report, 'utf8')) as Counts
rmSync(report)
const skipped = counts.numPendingTests
console.log(`${counts.numPassedTests} passed, ${counts.numFailedTests} failed, ${skipped} skipped`)
const ok = run.status === 0 && counts.success && counts.numPassedTests > 0 && !(complete && skipped > 0)
process.exit(ok ? 0 : 1)
