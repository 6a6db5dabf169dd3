/** A key as somebody pasted it: what is wrong with its text, found without asking anybody. */
import { parseKey, redactKey } from '#core/key-format.ts'
import { type Check, ok, wrong } from './check.ts'

/** `key` is what to go on with; undefined where no server could take it. */
export type GivenKey = { readonly check: Check; readonly key: string | undefined }

export function checkGivenKey(text: string, from: string): GivenKey {
  if (text === '') return { check: noKey(from), key: undefined }
  const parsed = parseKey(text)
  if (parsed.ok) return { check: ok('key', `${redactKey(text)} (from ${from}) is whole`), key: text }
  const bare = text.replaceAll(/^[\s"'`]+|[\s"'`]+$/g, '')
  const wrapped = bare !== text && parseKey(bare).ok
  if (wrapped)
    return {
      check: wrong('key', `${around(text)} (from ${from})`, `Take it out, around ${redactKey(bare)}.`),
      key: bare,
    }
  return { check: wrong('key', `${redactKey(text)} (from ${from}) is no key of Keyhouse`, parsed.hint), key: undefined }
}

const noKey = (from: string): Check =>
  wrong(
    'key',
    `there is none (${from}), so a call carries no Authorization header`,
    'Set OPENAI_API_KEY, or give --key; `keyhouse keys create` makes one.',
  )

function around(text: string): string {
  const found = [
    /["'`]/.test(text) && 'a quote',
    /[\r\n]/.test(text) && 'a line break',
    /[^\S\r\n]/.test(text) && 'a space',
  ].filter(Boolean)
  return `there is ${found.join(' and ')} around it`
}
