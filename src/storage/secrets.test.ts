import { createHmac, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hashKey, loadSecrets, seal, unseal } from './secrets.ts'

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keyhouse-secrets-'))
})
afterEach(() => rm(directory, { recursive: true }))

const hex = (): string => randomBytes(32).toString('hex')

test('a key is hashed with HMAC-SHA-256, as node:crypto computes it', async () => {
  const secrets = await loadSecrets('', { pepper: hex(), sealingKey: hex() })
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), key =>
      hashKey(secrets, key).equals(createHmac('sha256', secrets.pepper).update(key).digest()),
    ),
  )
})

test('the first start makes the secrets, readable by their owner only; every later one finds the same', async () => {
  const file = join(directory, 'secrets.json')
  const started = await Promise.all([loadSecrets(file, {}), loadSecrets(file, {}), loadSecrets(file, {})])
  expect(new Set(started.map(({ pepperId }) => pepperId)).size).toBe(1)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const [first] = started
  expect((await loadSecrets(file, {})).sealingKey.equals(first?.sealingKey ?? Buffer.alloc(0))).toBe(true)
  expect(await readFile(file, 'utf8')).not.toContain(first?.pepperId)
})

test('half of the secrets in the settings, or a malformed one, stops the start', async () => {
  await expect(loadSecrets('', { pepper: hex() })).rejects.toThrow(/both/)
  await expect(loadSecrets('', { pepper: 'short', sealingKey: hex() })).rejects.toThrow(/key-pepper must be/)
})

test('a sealed credential opens on its own row only, and not once a bit has changed', async () => {
  const secrets = await loadSecrets('', { pepper: hex(), sealingKey: hex() })
  const sealed = seal(secrets, 'sk-upstream', 'prov_1')
  expect(unseal(secrets, sealed, 'prov_1')).toBe('sk-upstream')
  expect(() => unseal(secrets, sealed, 'prov_2')).toThrow()
  const flipped = Buffer.from(sealed)
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1
  expect(() => unseal(secrets, flipped, 'prov_1')).toThrow()
})
