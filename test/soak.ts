/** `npm run soak -- --minutes 60`: the load of soak.test.ts for as long as it is told. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const { values } = parseArgs({ options: { minutes: { type: 'string', default: '60' } }, strict: false })
if (!(Number(values.minutes) > 0) || Object.keys(values).length > 1) {
  console.error('usage: npm run soak -- --minutes 60')
  process.exit(2)
}
const vitest = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', 'test/soak.test.ts']
const { status } = spawnSync(process.execPath, vitest, {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
  env: { ...process.env, KEYHOUSE_SOAK_MINUTES: String(values.minutes) },
})
process.exit(status ?? 1)
