/**
 * The cluster on disk: made whole or not at all, and refused when it is another major version's.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { giveTo, type PostgresAccount } from './postgres-account.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { explainFailure } from './postgres-failure.ts'

export type ClusterPlace = {
  readonly directory: string
  readonly binaries: PostgresBinaries
  readonly account: PostgresAccount
}

export const superuser = 'keyhouse'

const initTimeoutMs = 120_000

// C.UTF-8 from PostgreSQL itself: no locale of the system can be missing, or change its order with an update.
const initOptions = [
  ...[`--username=${superuser}`, '--auth=trust', '--encoding=UTF8'],
  ...['--no-locale', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--no-instructions'],
]

/** Trust needs no password because only its user can enter the 0700 directory of the socket, and nothing listens on TCP. */
const hostBasedAuthentication = `local all ${superuser} trust\n`

/** Makes the cluster on the first start; afterwards checks that it is one of ours. */
export async function prepareCluster(place: ClusterPlace): Promise<void> {
  const { directory, binaries, account } = place
  await removeUnfinished(directory)
  const version = await readFile(join(directory, 'PG_VERSION'), 'utf8').catch(() => undefined)
  if (version === undefined) return initialize(place)
  refuseOtherMajor(version.trim(), binaries.major, directory)
  await giveTo(account, directory)
}

function refuseOtherMajor(found: string, ours: string, directory: string): void {
  if (found === ours) return
  throw new Error(
    `The database in ${directory} was made by PostgreSQL ${found}, and this Keyhouse brings PostgreSQL ${ours}. ` +
      'Start the Keyhouse that made it, run "keyhouse backup", and restore that backup here into an empty data directory.',
  )
}

/** In a directory aside that takes its name at the end: a cluster that is there is complete. */
async function initialize({ directory, binaries, account }: ClusterPlace): Promise<void> {
  const unfinished = await mkdtemp(`${directory}.new-`)
  try {
    await giveTo(account, unfinished)
    const [program = '', ...prefix] = [...account.prefix, binaries.initdb]
    const options = { env: binaries.env, timeout: initTimeoutMs }
    await promisify(execFile)(program, [...prefix, `--pgdata=${unfinished}`, ...initOptions], options)
    await writeFile(join(unfinished, 'pg_hba.conf'), hostBasedAuthentication)
    await rename(unfinished, directory)
    await syncDirectory(dirname(directory))
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw explainFailure('The embedded database could not be created', directory, error)
  }
}

async function removeUnfinished(directory: string): Promise<void> {
  const siblings = await readdir(dirname(directory))
  const left = siblings.filter(name => name.startsWith(`${basename(directory)}.new-`))
  for (const name of left) await rm(join(dirname(directory), name), { recursive: true, force: true, maxRetries: 5 })
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}
