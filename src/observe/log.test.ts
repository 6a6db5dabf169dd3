import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { expect, test } from 'vitest'

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
