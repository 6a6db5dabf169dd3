/**
 * The shape of a Keyhouse key: `sk-kh-<kind>-` + 43 base62 characters (256 random bits) + 6 base62 characters of CRC-32.
 *
 * The checksum is no secret: it lets us refuse a cut or mistyped key without a look-up, and lets scanners tell a real
 * key from a random string. Never contains `T3BlbkFJ`, by which scanners report keys to OpenAI.
 */
import { crc32 } from 'node:zlib'

export const keyKinds = { project: 'proj', service_account: 'svcacct', admin: 'admin', test: 'test' } as const
export type KeyKind = keyof typeof keyKinds

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const secretCharacters = 43
const checksumCharacters = 6
const openAiMarker = 'T3BlbkFJ'
const shape = /^sk-kh-(proj|svcacct|admin|test)-([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/
const kindOfPrefix = { proj: 'project', svcacct: 'service_account', admin: 'admin', test: 'test' } as const

export function base62(value: bigint, characters: number): string {
  let text = ''
  for (let rest = value; text.length < characters; rest /= 62n) text = alphabet[Number(rest % 62n)] + text
  return text
}

const checksum = (body: string): string => base62(BigInt(crc32(body)), checksumCharacters)

/** @param random gives that many random bytes; 32 are asked for at a time. */
export function makeKey(kind: KeyKind, random: (bytes: number) => Uint8Array): string {
  for (;;) {
    const secret = base62(BigInt(`0x${Buffer.from(random(32)).toString('hex')}`), secretCharacters)
    const body = `sk-kh-${keyKinds[kind]}-${secret}`
    const key = body + checksum(body)
    if (!key.includes(openAiMarker)) return key
  }
}

export type ParsedKey = { readonly ok: true; readonly kind: KeyKind } | { readonly ok: false; readonly hint: string }

/** Reads a credential's shape. Does no I/O and says what is wrong with one that cannot be a key of ours. */
export function parseKey(text: string): ParsedKey {
  const match = shape.exec(text)
  if (!match) return { ok: false, hint: whatIsWrong(text) }
  const body = text.slice(0, -checksumCharacters)
  if (checksum(body) !== match[3])
    return { ok: false, hint: 'Its checksum does not match: it was mistyped or cut. Copy it again, whole.' }
  // The pattern admits these four prefixes only.
  return { ok: true, kind: kindOfPrefix[match[1] as keyof typeof kindOfPrefix] }
}

const foreignKeys: readonly (readonly [prefix: string, owner: string])[] = [
  ['sk-ant-', 'Anthropic'],
  ['sk-or-', 'OpenRouter'],
  ['AIza', 'Google'],
  ['gsk_', 'Groq'],
  ['xai-', 'xAI'],
  ['hf_', 'Hugging Face'],
  ['ghp_', 'GitHub'],
]

function whatIsWrong(text: string): string {
  if (/["'`]/.test(text)) return 'It is sent with quotes around it. Remove the quotes.'
  if (/\s/.test(text)) return 'It is sent with spaces or line breaks in or around it. Remove them.'
  if (text.startsWith('sk-kh-')) return 'It is a Keyhouse key, but cut or with extra characters. Copy it again, whole.'
  const foreign = foreignKeys.find(([prefix]) => text.startsWith(prefix))
  if (foreign)
    return `It is a key of ${foreign[1]}. Send a Keyhouse key (sk-kh-…) here; the operator adds providers' keys with \`keyhouse providers add\`.`
  if (/^sk-(proj-|svcacct-|admin-|None-)?[\w-]{20,}$/.test(text))
    return "It looks like a key of OpenAI's. Send a Keyhouse key (sk-kh-…) here; the operator adds an OpenAI key with `keyhouse providers add openai`."
  return 'Keyhouse keys begin with sk-kh-. An owner creates one with `keyhouse keys create`.'
}

const shownPrefixMax = 14
const shownSuffix = 4

/** Prefix and last four, for people and logs: `sk-kh-proj-****wxyz`. Shows nothing else of any credential. */
export function redactKey(text: string): string {
  const kind = /^sk-kh-(?:proj|svcacct|admin|test)-/.exec(text)?.[0] ?? text.slice(0, Math.min(3, text.length >> 2))
  if (text.length < shownPrefixMax + shownSuffix) return `${printable(kind)}****`
  return `${printable(kind)}****${printable(text.slice(-shownSuffix))}`
}

/** Every key of ours in a text that somebody wrote, as `redactKey` shows it. */
export const maskKeys = (text: string): string => text.replaceAll(/sk-kh-[a-z]+-[0-9A-Za-z]+/g, redactKey)

const printable = (text: string): string => text.replace(/[^\x21-\x7e]/g, '?')
