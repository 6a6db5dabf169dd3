/** A restore replaces the audit log as well: the entry that tells of it is in the restored one, and the chain is whole. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { admin, newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './support/keyhouse.ts'

let dataDir: string
let keyhouse: RunningKeyhouse

beforeAll(async () => {
  dataDir = await newDataDir()
  keyhouse = await startKeyhouse({ dataDir })
})
afterAll(async () => {
  await keyhouse?.stop()
  await removeDataDir(dataDir)
})

type Entry = { readonly type: string; readonly actor: { api_key: { id: string } }; readonly [type: string]: unknown }

test('whoever restores a backup stands in the audit log that came with it', async () => {
  const key = keyhouse.keys?.admin ?? ''
  const headers = { authorization: `Bearer ${key}` }
  const entries = async () =>
    (await admin<{ data: Entry[] }>(keyhouse, key, 'GET', '/v1/organization/audit_logs?limit=100')).data
  const create = (name: string) => admin(keyhouse, key, 'POST', '/v1/organization/projects', { name })
  await create('before the backup')
  const backup = await fetch(`${keyhouse.url}/v1/platform/backup`, { headers })
  const snapshot = Buffer.from(await backup.arrayBuffer())
  await create('after the backup')
  const lost = await entries()

  const restored = await fetch(`${keyhouse.url}/v1/platform/restore`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/gzip' },
    body: snapshot,
    signal: AbortSignal.timeout(60_000),
  })
  expect(restored.status, await restored.text()).toBe(200)
  const found = await entries()
  const restores = found.filter(entry => JSON.stringify(entry).includes('restored_from_backup'))
  expect(restores).toMatchObject([{ type: 'organization.updated', actor: { type: 'api_key', api_key: {} } }])
  expect(JSON.stringify(found)).toContain('before the backup')
  expect(JSON.stringify(found)).not.toContain('after the backup')
  expect(JSON.stringify(lost)).toContain('after the backup')
})
