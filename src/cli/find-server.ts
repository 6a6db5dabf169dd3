/**
 * Which server, and with which key. A running server leaves `cli.json` in its data directory, readable by its owner only:
 * whoever may read it may use the CLI without being asked for anything. Its key goes to its own server and to no other,
 * whatever --url says.
 */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseKey } from '#core/key-format.ts'
import { usualDataDirectory } from '#storage/data-directory.ts'
import { CliError, messageOf, wrongUsage } from './exit.ts'
import type { Terminal } from './terminal.ts'

export type ServerOptions = { readonly url?: string; readonly adminKey?: string; readonly dataDir?: string }

export type AdminKeyFound = { readonly value: string; readonly from: string }

export type FoundServer = {
  /** Without a slash at the end and without /v1. */
  readonly url: string
  readonly urlFrom: string
  readonly key: AdminKeyFound | undefined
  readonly dataDir: string
  readonly accessFile: AccessFile
}

/** What a running server wrote for us, or why that is not there. */
export type AccessFile =
  | { readonly path: string; readonly url: string; readonly key: string; readonly missing?: undefined }
  | { readonly path: string; readonly missing: string }

const usualUrl = 'http://127.0.0.1:8484'

export function findServer(options: ServerOptions, terminal: Terminal): FoundServer {
  const dataDir = resolve(options.dataDir ?? (terminal.env.KEYHOUSE_DATA_DIR || usualDataDirectory(terminal)))
  const accessFile = readAccessFile(join(dataDir, 'cli.json'))
  const given = firstGiven([
    [options.url, '--url'],
    [terminal.env.KEYHOUSE_URL, 'KEYHOUSE_URL'],
    [accessFile.missing === undefined ? accessFile.url : undefined, accessFile.path],
  ])
  const url = given === undefined ? usualUrl : readUrl(given)
  const urlFrom = given?.from ?? 'the usual place'
  return { url, urlFrom, key: findKey(options, terminal, { url, accessFile }), dataDir, accessFile }
}

function findKey(
  options: ServerOptions,
  terminal: Terminal,
  { url, accessFile }: Pick<FoundServer, 'url' | 'accessFile'>,
): AdminKeyFound | undefined {
  const itsOwn = accessFile.missing === undefined && new URL(accessFile.url).origin === new URL(url).origin
  return firstGiven([
    [options.adminKey, '--admin-key'],
    [terminal.env.KEYHOUSE_ADMIN_KEY, 'KEYHOUSE_ADMIN_KEY'],
    [itsOwn ? accessFile.key : undefined, accessFile.path],
  ])
}

function firstGiven(places: readonly (readonly [value: string | undefined, from: string])[]) {
  const place = places.find(([value]) => value !== undefined && value !== '')
  return place === undefined ? undefined : { value: place[0] ?? '', from: place[1] }
}

function readUrl({ value, from }: { value: string; from: string }): string {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw wrongUsage(`'${value}' (${from}) is not a server's URL. Write it as in ${usualUrl}.`)
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')}`
}

function readAccessFile(path: string): AccessFile {
  try {
    const { url, key } = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof url !== 'string' || !URL.canParse(url) || typeof key !== 'string')
      throw new Error('it has no url and key')
    return { path, url, key }
  } catch (error) {
    return { path, missing: whyMissing(error) }
  }
}

function whyMissing(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'it does not exist: no server runs on that data directory'
  if (code === 'EACCES') return 'it belongs to another user, the one that the server runs as'
  return messageOf(error)
}

/** Refuses a mistyped key before it is sent anywhere, and says what is wrong with it. */
export function checkAdminKey({ value, from }: AdminKeyFound): string {
  const key = value.trim()
  const parsed = parseKey(key)
  if (!parsed.ok) throw new CliError('notAuthorized', `The key from ${from} cannot be used. ${parsed.hint}`)
  if (parsed.kind === 'admin') return key
  throw new CliError(
    'notAuthorized',
    `The key from ${from} is no admin key: those begin with sk-kh-admin-. The first one was printed when Keyhouse first started.`,
  )
}
