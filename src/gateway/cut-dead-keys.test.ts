import { expect, test } from 'vitest'
import type { ApiKeyId } from '#contract/ids.ts'
import type { Database } from '#storage/database.ts'
import { ActiveCalls } from './active-calls.ts'
import { cutDeadKeys } from './cut-dead-keys.ts'

// Ids are strings with a brand
const key = 'key_1' as ApiKeyId
const grant = { keyId: key, redacted: 'sk-kh-proj-…1', expiresAtMs: null }
const event = { id: 1n, subject_kind: 'api_key', subject_id: key } as const

test('a database that fails for a moment after a revocation was heard of saves no running call', async () => {
  let failures = 2
  const query = async (): Promise<unknown[]> => {
    if (failures === 0) return []
    failures -= 1
    throw new Error('the connection was reset')
  }
  const active = new ActiveCalls()
  const { cutSwitch } = active.begin(grant, 'model.request.chat_completions')
  // Nothing but query is asked for; that it finds no row means that the key is gone
  await cutDeadKeys({ query } as unknown as Database, active, event, 0)
  expect(cutSwitch.reason?.outcome).toBe('revoked')
})

test('a change of the catalogue concerns no key, and asks nobody', async () => {
  const query = () => Promise.reject(new Error('nothing should be asked'))
  const active = new ActiveCalls()
  const { cutSwitch } = active.begin(grant, 'model.request.chat_completions')
  await cutDeadKeys({ query } as unknown as Database, active, { ...event, subject_kind: 'catalogue' }, 0)
  expect(cutSwitch.reason).toBeUndefined()
})
