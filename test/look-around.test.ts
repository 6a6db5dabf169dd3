// What a node sees of itself before any call runs into it: secrets of another installation, a certificate that ends.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificate } from './support/certificates.ts'
import { admin, type Keys, newDataDir, removeDataDir, startKeyhouse } from './support/keyhouse.ts'

let dataDir = ''
let keys: Keys
const secrets = { KEYHOUSE_KEY_PEPPER: 'a1'.repeat(32), KEYHOUSE_SEALING_KEY: 'b2'.repeat(32) }

beforeAll(async () => {
  dataDir = await newDataDir()
  const first = await startKeyhouse({ dataDir })
  if (!first.keys) throw new Error('the first start showed no keys')
  keys = first.keys
  expect(await first.stop()).toBe(0)
})
afterAll(() => removeDataDir(dataDir))

test('a node with other secrets than its database takes no calls from a balancer, and says why', async () => {
  const wrong = await startKeyhouse({ dataDir, env: secrets })
  const ready = await fetch(`${wrong.url}/health/ready`)
  expect(ready.status).toBe(503)
  expect(await ready.json()).toMatchObject({ reasons: ['the secrets are not those of this database'] })
  expect(await (await fetch(`${wrong.url}/metrics`)).text()).toContain('keyhouse_troubles{trouble="secrets_differ"} 1')
  expect(wrong.output()).toContain('Put back the secrets.json')
  expect(await wrong.stop()).toBe(0)
  const right = await startKeyhouse({ dataDir })
  expect((await fetch(`${right.url}/health/ready`)).status).toBe(200)
  expect(await admin(right, keys.admin, 'GET', '/v1/platform/status')).toMatchObject({ troubles: [] })
  expect(await right.stop()).toBe(0)
})

test('a certificate that ends within two weeks is told of at the start, with when', async () => {
  const { pem, key } = makeCertificate({ name: 'house', address: '127.0.0.1' })
  const [certFile, keyFile] = [join(dataDir, 'cert.pem'), join(dataDir, 'key.pem')]
  await writeFile(certFile, pem)
  await writeFile(keyFile, key)
  const keyhouse = await startKeyhouse({ dataDir, settings: { 'tls-cert': certFile, 'tls-key': keyFile } })
  expect(keyhouse.output()).toMatch(/"trouble":"certificate_ending".*it ends at 20/)
  expect(await keyhouse.stop()).toBe(0)
})
