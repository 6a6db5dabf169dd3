/** Databases full of keys, in one PostgreSQL as Keyhouse itself starts it, so that the sizes can take turns. */
import { randomBytes } from 'node:crypto'
import { newId, type OrganizationId, type ProjectId } from '#contract/ids.ts'
import { makeKey, redactKey } from '#core/key-format.ts'
import { openDataDirectory } from '#storage/data-directory.ts'
import { type Database, openDatabase, sql } from '#storage/database.ts'
import { startEmbeddedPostgres } from '#storage/embedded-postgres.ts'
import { migrate } from '#storage/migrate.ts'
import { hashKey, loadSecrets, type Secrets } from '#storage/secrets.ts'
import { newDataDir, removeDataDir } from '../../test/support/keyhouse.ts'

export type KeyDatabases = {
  readonly secrets: Secrets
  /** A database with so many keys. */
  create(size: number): Promise<KeyDatabase>
}

export type KeyDatabase = {
  readonly size: number
  readonly database: Database
  /** Some of the keys, spread evenly over all of them. */
  readonly known: readonly string[]
  /** Of the keys' table and its indexes, on the disk. */
  readonly bytes: number
}

/** As the server has it by default. */
const connectionsMax = 12
const connectTimeoutMs = 10_000
const statementTimeoutMs = 120_000
const rowsPerInsert = 10_000
const knownMax = 20_000

export async function startKeyDatabases(parts: AsyncDisposableStack): Promise<KeyDatabases> {
  const dataDir = parts.adopt(await newDataDir(), removeDataDir)
  const directory = parts.adopt(await openDataDirectory(dataDir), opened => opened.release())
  const { postgres, run, secrets: secretsFile } = directory.paths
  const embedded = { directory: postgres, socketDirectory: run, log: () => undefined }
  const { connection } = parts.adopt(await startEmbeddedPostgres(embedded), running => running.stop())
  const open = (name: string): Database => {
    const deadlines = { connectTimeoutMs, statementTimeoutMs }
    const settings = { connection: { ...connection, database: name }, connectionsMax, ...deadlines }
    return parts.adopt(openDatabase(settings, console.error), opened => opened.close())
  }
  const first = open(connection.database)
  const secrets = await loadSecrets(secretsFile, {})
  return {
    secrets,
    async create(size) {
      await first.query(sql(`create database keys_${size}`))
      const database = open(`keys_${size}`)
      await migrate(database)
      const known = await fill(database, secrets, size)
      return { size, database, known, bytes: await tableBytes(database) }
    },
  }
}

type Place = { readonly organization: OrganizationId; readonly project: ProjectId }

async function fill(database: Database, secrets: Secrets, size: number): Promise<string[]> {
  const place = await makeProject(database)
  const known: string[] = []
  const every = Math.ceil(size / knownMax)
  for (let from = 0; from < size; from += rowsPerInsert) {
    const keys = Array.from({ length: Math.min(rowsPerInsert, size - from) }, () => makeKey('project', randomBytes))
    known.push(...keys.filter((_key, index) => (from + index) % every === 0))
    await insertKeys(database, secrets, place, keys)
  }
  await database.query(sql('vacuum (analyze) api_keys'))
  await database.query(sql('checkpoint'))
  return known
}

async function makeProject(database: Database): Promise<Place> {
  const place = { organization: newId('organization'), project: newId('project') }
  await database.query(sql(`insert into organizations (id, name, is_operator) values ($1, 'bench', false)`), [
    place.organization,
  ])
  await database.query(sql(`insert into projects (id, organization_id, name) values ($1, $2, 'bench')`), [
    place.project,
    place.organization,
  ])
  return place
}

/** What `mintKey` stores of each key, many rows a statement. */
async function insertKeys(database: Database, secrets: Secrets, place: Place, keys: readonly string[]): Promise<void> {
  await database.query(
    sql(`insert into api_keys (id, kind, organization_id, project_id, name, secret_hash, pepper_id, redacted)
         select id, 'project', $1, $2, 'bench', hash, $3, redacted
         from unnest($4::text[], $5::bytea[], $6::text[]) as made (id, hash, redacted)`),
    [
      place.organization,
      place.project,
      secrets.pepperId,
      keys.map(() => newId('api_key')),
      keys.map(key => hashKey(secrets, key)),
      keys.map(redactKey),
    ],
  )
}

async function tableBytes(database: Database): Promise<number> {
  const [row] = await database.query<{ bytes: bigint }>(sql(`select pg_total_relation_size('api_keys') as bytes`))
  return Number(row?.bytes)
}
