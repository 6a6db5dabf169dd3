import { expect, test } from 'vitest'
import { type ApiError, apiError } from '#contract/errors.ts'
import type { ApiKeyId } from '#contract/ids.ts'
import type { Model } from '#core/catalogue.ts'
import { ActiveCalls, type CallNeeds } from './active-calls.ts'

// Ids are strings with a brand, and a verdict looks at nothing of a model but its name here
const key = 'key_1' as ApiKeyId
const model = (name: string): Model => ({ name }) as Model
const known = { keyId: key, redacted: 'sk-kh-proj-…1', expiresAtMs: null }
const other = { keyId: 'key_2' as ApiKeyId, redacted: 'sk-kh-proj-…2', expiresAtMs: 10_000 }

const noChat = ({ scope }: CallNeeds): ApiError | undefined =>
  scope === 'model.request.chat_completions' ? apiError('missing_scopes', { scopes: [scope] }) : undefined
const notModelM = ({ model }: CallNeeds): ApiError | undefined =>
  model?.name === 'm' ? apiError('model_not_permitted', { project: 'proj_1', model: 'm' }) : undefined

test('a narrowed key loses the calls that it may not make any more, and keeps the others', () => {
  const active = new ActiveCalls()
  const chat = active.begin(known, 'model.request.chat_completions')
  const embedding = active.begin(known, 'model.request.embeddings')
  const elsewhere = active.begin(other, 'model.request.chat_completions')
  active.judge(key, noChat)
  expect(chat.cutSwitch.reason?.outcome).toBe('revoked')
  expect(chat.cutSwitch.reason?.told.errorCode).toBe('missing_scopes')
  expect(embedding.cutSwitch.reason).toBeUndefined()
  expect(elsewhere.cutSwitch.reason).toBeUndefined()
})

test('a call whose model is taken from its key is cut', () => {
  const active = new ActiveCalls()
  const calls = ['m', 'other'].map(name => {
    const call = active.begin(known, 'model.request.chat_completions')
    call.uses(model(name))
    return call
  })
  active.judge(key, notModelM)
  expect(calls.map(({ cutSwitch }) => cutSwitch.reason?.outcome)).toEqual(['revoked', undefined])
})

test('a model that is taken while the body is still on its way is refused when the body is there', () => {
  const active = new ActiveCalls()
  const [late, lateToo] = [known, known].map(each => active.begin(each, 'model.request.chat_completions'))
  active.judge(key, notModelM)
  expect(late?.cutSwitch.reason).toBeUndefined()
  expect(() => late?.uses(model('m'))).toThrow('revoked')
  expect(() => lateToo?.uses(model('other'))).not.toThrow()
})

test('the last verdict counts: what was allowed again goes on', () => {
  const active = new ActiveCalls()
  const call = active.begin(known, 'model.request.chat_completions')
  active.judge(key, notModelM)
  active.judge(key, () => undefined)
  expect(() => call.uses(model('m'))).not.toThrow()
})

test('a key that expires loses its calls, by the expiry that was last heard of, and no other key does', () => {
  const active = new ActiveCalls()
  const [forever, untilTen] = [known, other].map(grant => active.begin(grant, 'model.request.embeddings').cutSwitch)
  active.cutExpired(9_999)
  expect(untilTen?.reason).toBeUndefined()
  active.judge(other.keyId, () => undefined, { ...other, expiresAtMs: 20_000 })
  active.cutExpired(19_999)
  expect(untilTen?.reason).toBeUndefined()
  active.cutExpired(20_000)
  expect(untilTen?.reason?.told).toMatchObject({
    errorCode: 'key_expired',
    message: expect.stringContaining('00:00:20'),
  })
  expect(forever?.reason).toBeUndefined()
})
