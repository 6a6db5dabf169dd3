// Directories on a real disk, and real processes that hold them and are killed.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDataDirectory, usualDataDirectory } from './data-directory.ts'

const modeOf = (path: string) => statSync(path).mode & 0o777

// What another server does, reduced to the directory: says `open` or why not, and stays.
const holderSource = `
  import { openDataDirectory } from ${JSON.stringify(join(import.meta.dirname, 'data-directory.ts'))}
  setInterval(() => undefined, 1000)
  await openDataDirectory(process.argv[1]).then(() => console.log('open'), error => console.log(error.message))`

let home: string
const children: ChildProcess[] = []

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'keyhouse-test-'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(home, { recursive: true })
})

/** Another process that opens the directory, and the first line it has to say about it. */
async function openElsewhere(path: string): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', holderSource, path])
  children.push(child)
  const [said] = await once(createInterface({ input: child.stdout }), 'line', { signal: AbortSignal.timeout(20_000) })
  return { child, said }
}

async function killAndWait(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit', { signal: AbortSignal.timeout(20_000) })
}

test('a data directory is made on the first start, for its owner only', async () => {
  const directory = await openDataDirectory(join(home, 'deep', 'in', 'keyhouse'))
  const { path, paths } = directory
  expect([path, paths.journal, paths.models, paths.run].map(modeOf)).toEqual([0o700, 0o700, 0o700, 0o700])
  expect(existsSync(paths.postgres)).toBe(false)
  await directory.release()
})

test('a second server on one data directory is refused and told the process id of the first', async () => {
  const { child, said } = await openElsewhere(home)
  expect(said).toBe('open')
  await expect(openDataDirectory(home)).rejects.toThrow(`in use by another Keyhouse server, process ${child.pid}. Stop`)
})

test('a second opening in the same process is refused too', async () => {
  const directory = await openDataDirectory(home)
  await expect(openDataDirectory(home)).rejects.toThrow(`process ${process.pid}.`)
  await directory.release()
})

test('a released directory can be opened again at once, and releasing twice frees nobody else', async () => {
  const first = await openDataDirectory(home)
  await first.release()
  const second = await openDataDirectory(home)
  await first.release()
  await expect(openDataDirectory(home)).rejects.toThrow('in use')
  await second.release()
})

test('a directory whose server was killed with -9 is free, also when its process id lives on as another process', async () => {
  const { child } = await openElsewhere(home)
  await killAndWait(child)
  writeFileSync(join(home, 'keyhouse.pid'), `${process.ppid}\n`)
  const directory = await openDataDirectory(home)
  await directory.release()
})

test('of eight servers that start at once on a directory left by kill -9, exactly one gets it', async () => {
  await killAndWait((await openElsewhere(home)).child)
  const starts = await Promise.all(Array.from({ length: 8 }, () => openElsewhere(home)))
  const [winner, ...others] = starts.filter(({ said }) => said === 'open')
  expect(others).toEqual([])
  const refusals = starts.filter(start => start !== winner).map(({ said }) => said)
  expect(refusals).toHaveLength(7)
  for (const refusal of refusals) expect(refusal).toContain(`process ${winner?.child.pid}.`)
})

test('a data directory too deep for a Unix socket gets a short private one for its sockets', async () => {
  const directory = await openDataDirectory(join(home, 'x'.repeat(60), 'y'.repeat(60)))
  const { run } = directory.paths
  expect(run.startsWith(home)).toBe(false)
  expect(modeOf(run)).toBe(0o700)
  const server = createServer().listen(join(run, '.s.PGSQL.5432'))
  await once(server, 'listening')
  await new Promise(closed => server.close(closed))
  await directory.release()
  expect(existsSync(run)).toBe(false)
})

test('a short directory that others could enter is not trusted with sockets', async () => {
  const path = join(home, 'x'.repeat(60), 'y'.repeat(60))
  const first = await openDataDirectory(path)
  const usual = first.paths.run
  await first.release()
  mkdirSync(usual, { mode: 0o777 })
  const second = await openDataDirectory(path)
  expect(second.paths.run).not.toBe(usual)
  await second.release()
  rmSync(usual, { recursive: true })
})

test('a file in the place of the data directory is answered with what to do', async () => {
  const file = join(home, 'file')
  writeFileSync(file, '')
  await expect(openDataDirectory(file)).rejects.toThrow(/cannot be used .* --data-dir or KEYHOUSE_DATA_DIR/)
})

test.each([
  ['linux', {}, '/home/ada/.local/share/keyhouse'],
  ['linux', { XDG_DATA_HOME: '/data' }, '/data/keyhouse'],
  ['linux', { XDG_DATA_HOME: 'relative' }, '/home/ada/.local/share/keyhouse'],
  ['darwin', { XDG_DATA_HOME: '/data' }, '/home/ada/Library/Application Support/keyhouse'],
] as const)('on %s with %o the usual data directory is %s', (platform, env, expected) => {
  expect(usualDataDirectory({ platform, env, home: '/home/ada' })).toBe(expected)
})
