// A real PostgreSQL, started, stopped and killed for real.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDataDirectory } from './data-directory.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { endOrphans } from './postgres-orphan.ts'

// A server reduced to its database: counts up in a table, and says each number once it is committed. SIGINT makes it ask
// the database once more before it ends, as a draining server does.
const serverSource = `
  import { join } from 'node:path'
  import pg from ${JSON.stringify(import.meta.resolve('pg'))}
  import { openDataDirectory } from ${JSON.stringify(join(import.meta.dirname, 'data-directory.ts'))}
  import { startEmbeddedPostgres } from ${JSON.stringify(join(import.meta.dirname, 'embedded-postgres.ts'))}
  const { paths } = await openDataDirectory(process.argv[1])
  const options = { directory: paths.postgres, socketDirectory: paths.run, log: () => undefined }
  const postgres = await startEmbeddedPostgres(options)
  const client = new pg.Client(postgres.connection)
  await client.connect()
  process.on('SIGINT', async () => {
    await new Promise(later => setTimeout(later, 300))
    const { rows } = await client.query("select 'drained' as said")
    await client.end()
    await postgres.stop()
    console.log(rows[0].said)
    process.exit()
  })
  await client.query('create table if not exists counted (number int primary key)')
  console.log(postgres.pid)
  for (let number = 1; process.argv[2] === 'count'; number++) {
    await client.query('insert into counted values ($1)', [number])
    console.log(number)
  }`

let home: string
const servers: ChildProcess[] = []
const started: EmbeddedPostgres[] = []

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'keyhouse-test-'))
})
afterEach(async () => {
  for (const server of servers.splice(0)) server.kill('SIGKILL')
  for (const postgres of started.splice(0)) await postgres.stop()
  await endOrphans(join(home, 'postgres'), () => undefined)
  rmSync(home, { recursive: true, maxRetries: 5 })
})

async function start(directory = join(home, 'postgres'), socketDirectory = home, log: string[] = []) {
  const postgres = await startEmbeddedPostgres({ directory, socketDirectory, log: line => log.push(line) })
  started.push(postgres)
  return postgres
}

async function query(postgres: EmbeddedPostgres, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ ...postgres.connection, connectionTimeoutMillis: 5_000, query_timeout: 10_000 })
  await client.connect()
  return client.query(text).then(
    result => client.end().then(() => result.rows),
    error => client.end().then(() => Promise.reject(error)),
  )
}

/** Starts a server of its own process group; answers when its database is up. */
async function startServer(args: string[] = [], env: NodeJS.ProcessEnv = process.env) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', serverSource, home, ...args], {
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  servers.push(child)
  const lines: string[] = []
  const reader = createInterface({ input: child.stdout }).on('line', line => lines.push(line))
  await once(reader, 'line', { signal: AbortSignal.timeout(20_000) })
  return { child, lines, postgresPid: Number(lines[0]) }
}

async function killServer(server: ChildProcess): Promise<void> {
  server.kill('SIGKILL')
  await once(server, 'close', { signal: AbortSignal.timeout(20_000) })
}

/** A process that ended but that nobody has asked about yet (a zombie) still answers a signal: ask ps. */
function isAlive(pid: number): boolean {
  const state = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim()
  return state !== '' && !state.startsWith('Z')
}

/** Processes whose command line names the directory, the postmaster's own children's do not: they end with it. */
function processesNaming(directory: string): number[] {
  const { stdout } = spawnSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' })
  const lines = stdout.split('\n').filter(line => line.includes(directory) && !line.includes('--input-type=module'))
  return lines.map(line => Number.parseInt(line, 10))
}

/** Whether nothing runs on the directory any more, within ten seconds. */
async function vacated(directory: string): Promise<boolean> {
  for (let polls = 0; polls < 200 && processesNaming(directory).length > 0; polls++) await sleep(50)
  return processesNaming(directory).length === 0
}

test('rows survive a stop and a start, and the second start makes nothing anew', async () => {
  const first = await start()
  await query(first, 'create table kept (note text); insert into kept values ($$grüß dich$$)')
  await first.stop()
  expect((await first.exited).expected).toBe(true)
  expect(isAlive(first.pid)).toBe(false)
  const second = await start()
  expect(await query(second, 'select note, current_database() as database from kept')).toEqual([
    { note: 'grüß dich', database: 'keyhouse' },
  ])
})

test('it sorts and compares by its own locale, whatever the system has', async () => {
  const postgres = await start()
  const locales = 'select datlocprovider::text, datlocale, datcollate, pg_encoding_to_char(encoding) as encoding'
  expect(await query(postgres, `${locales} from pg_database where datname = 'keyhouse'`)).toEqual([
    { datlocprovider: 'b', datlocale: 'C.UTF-8', datcollate: 'C', encoding: 'UTF8' },
  ])
})

test('nothing listens on TCP, and only our user may use the socket', async () => {
  const postgres = await start()
  expect(await query(postgres, 'show listen_addresses')).toEqual([{ listen_addresses: '' }])
  expect(statSync(join(home, '.s.PGSQL.5432')).mode & 0o777).toBe(0o700)
})

test('no configuration file can turn durability off', async () => {
  await (await start()).stop()
  appendFileSync(
    join(home, 'postgres', 'postgresql.conf'),
    '\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n',
  )
  const values = `select current_setting('fsync') || current_setting('synchronous_commit') || current_setting('full_page_writes') as "all"`
  expect(await query(await start(), values)).toEqual([{ all: 'ononon' }])
})

test('the log never shows a statement or a value', async () => {
  const log: string[] = []
  const postgres = await start(join(home, 'postgres'), home, log)
  await query(postgres, 'create table secrets (secret text primary key)')
  await query(postgres, `insert into secrets values ('sk-canary')`)
  await expect(query(postgres, `insert into secrets values ('sk-canary')`)).rejects.toThrow('duplicate key')
  await postgres.stop()
  expect(log.join('\n')).toContain('duplicate key')
  expect(log.join('\n')).not.toContain('canary')
})

test('kill -9 of the server leaves no PostgreSQL behind, and the next start has every committed row', async () => {
  const { child, lines, postgresPid } = await startServer(['count'])
  while (lines.length < 200) await sleep(5)
  await killServer(child)
  expect(await vacated(join(home, 'postgres'))).toBe(true)
  expect(isAlive(postgresPid)).toBe(false)
  const committed = Number(lines.at(-1))
  const [counted] = await query(await start(), 'select count(*)::int as rows, max(number) as last from counted')
  expect(counted?.rows).toBe(counted?.last)
  // One more may have been committed without the server having had the time to say so.
  expect(counted?.rows).toBeGreaterThanOrEqual(committed)
})

test('a PostgreSQL that outlived its server and its lifeline is ended by the next start', async () => {
  const { child, postgresPid } = await startServer()
  const lifelines = spawnSync('pgrep', ['-f', `keyhouse-lifeline ${postgresPid} QUIT`], { encoding: 'utf8' }).stdout
  for (const pid of lifelines.trim().split('\n')) process.kill(Number(pid), 'SIGKILL')
  await killServer(child)
  await sleep(300)
  expect(isAlive(postgresPid)).toBe(true)
  const log: string[] = []
  const postgres = await start(join(home, 'postgres'), join(home, 'run'), log)
  expect(log[0]).toContain(`ending PostgreSQL ${postgresPid}, left on ${join(home, 'postgres')}`)
  expect(isAlive(postgresPid)).toBe(false)
  expect(await query(postgres, 'select * from counted')).toEqual([])
})

test('lock files of a crash whose process ids belong to others by now do not stop the start', async () => {
  await (await start()).stop()
  const lockFile = `${process.ppid}\n${join(home, 'postgres')}\n1700000000\n5432\n${home}\n\n  5432001  32768\nready\n`
  writeFileSync(join(home, 'postgres', 'postmaster.pid'), lockFile, { mode: 0o600 })
  writeFileSync(join(home, '.s.PGSQL.5432.lock'), lockFile, { mode: 0o600 })
  expect(await query(await start(), 'select 1 as one')).toEqual([{ one: 1 }])
})

test('Ctrl-C to the whole group leaves the database to the server until it has drained', async () => {
  const { child, lines } = await startServer()
  process.kill(-Number(child.pid), 'SIGINT')
  await once(child, 'close', { signal: AbortSignal.timeout(20_000) })
  expect(lines.at(-1)).toBe('drained')
  expect(await vacated(join(home, 'postgres'))).toBe(true)
})

test('when PostgreSQL dies by itself its owner is told', async () => {
  const postgres = await start()
  process.kill(postgres.pid, 'SIGKILL')
  expect(await postgres.exited).toEqual({ expected: false, description: 'ended by SIGKILL' })
})

test('stop ends PostgreSQL although sessions are open and in the middle of a transaction', async () => {
  const postgres = await start()
  const client = new pg.Client(postgres.connection)
  client.on('error', () => undefined)
  await client.connect()
  await client.query('begin')
  await Promise.all([postgres.stop(), postgres.stop()])
  expect(isAlive(postgres.pid)).toBe(false)
})

test('it starts below a long path with spaces, commas and quotes', async () => {
  const directory = await openDataDirectory(join(home, `it's "deep", ${'very '.repeat(20)}deep`))
  const postgres = await start(directory.paths.postgres, directory.paths.run)
  expect(await query(postgres, 'select 1 as one')).toEqual([{ one: 1 }])
  await postgres.stop()
  await directory.release()
})

test('a first start that was cut short is begun again', async () => {
  const unfinished = join(home, 'postgres.new-cut')
  mkdirSync(unfinished)
  writeFileSync(join(unfinished, 'PG_VERSION'), '18\n')
  await start()
  expect(existsSync(unfinished)).toBe(false)
})

test('a database of another major version is refused with what to do', async () => {
  mkdirSync(join(home, 'postgres'))
  writeFileSync(join(home, 'postgres', 'PG_VERSION'), '17\n')
  await expect(start()).rejects.toThrow(
    /was made by PostgreSQL 17, .* brings PostgreSQL 18\. Start the Keyhouse that made it/,
  )
})

test('where user namespaces are forbidden, root still gets its database, and gets it back afterwards', async () => {
  // A PATH with everything but unshare. An ordinary user needs neither: for one this is a plain start.
  const tools = join(home, 'tools')
  mkdirSync(tools)
  const setpriv = (process.env.PATH ?? '')
    .split(delimiter)
    .map(folder => join(folder, 'setpriv'))
    .find(existsSync)
  if (setpriv) symlinkSync(setpriv, join(tools, 'setpriv'))
  for (const tool of ['true', 'sh'])
    symlinkSync(existsSync(`/bin/${tool}`) ? `/bin/${tool}` : `/usr/bin/${tool}`, join(tools, tool))
  const { child } = await startServer([], { ...process.env, PATH: tools })
  child.kill('SIGINT')
  await once(child, 'close', { signal: AbortSignal.timeout(20_000) })
  expect(await query(await start(), 'select * from counted')).toEqual([])
})
