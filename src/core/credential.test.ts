import { expect, test } from 'vitest'
import { readCredential } from './credential.ts'

const read = (rawHeaders: string[], query = '') => readCredential({ rawHeaders, query })
const code = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return (error as { errorCode?: string }).errorCode
  }
}

test.each([
  ['Bearer', ['Authorization', 'Bearer sk-kh-1']],
  ['bearer in small letters', ['authorization', 'bearer sk-kh-1']],
  ['the bare key', ['Authorization', 'sk-kh-1']],
  ['Basic, as the password', ['Authorization', `Basic ${Buffer.from(':sk-kh-1').toString('base64')}`]],
  ['Basic, as the user', ['Authorization', `Basic ${Buffer.from('sk-kh-1:').toString('base64')}`]],
  ['x-api-key', ['X-Api-Key', 'sk-kh-1']],
  ['api-key', ['api-key', 'sk-kh-1']],
  ['the same one twice', ['Authorization', 'Bearer sk-kh-1', 'x-api-key', 'sk-kh-1']],
])('a key is read from %s', (_name, headers) => {
  expect(read(headers)).toBe('sk-kh-1')
})

test('two different credentials are refused, also in two headers of one name', () => {
  expect(code(() => read(['Authorization', 'Bearer a', 'x-api-key', 'b']))).toBe('conflicting_credentials')
  expect(code(() => read(['Authorization', 'Bearer a', 'Authorization', 'Bearer b']))).toBe('conflicting_credentials')
})

test('a key in the URL is refused, even beside a good one', () => {
  expect(code(() => read(['Authorization', 'Bearer sk-kh-1'], 'api_key=sk-kh-1'))).toBe('key_in_url')
  expect(code(() => read([], 'x=sk-abc'))).toBe('key_in_url')
})

test('no key at all says how to send one', () => {
  expect(code(() => read([]))).toBe('missing_api_key')
  expect(code(() => read(['Authorization', 'Bearer']))).toBe('missing_api_key')
  expect(code(() => read(['Authorization', '']))).toBe('missing_api_key')
})
