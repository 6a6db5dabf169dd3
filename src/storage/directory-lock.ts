/**
 * One server per data directory. The lock is the kernel's (fcntl, through SQLite's own file locking), so it ends with its
 * process however that ends: there is no stale lock to judge, no process id to compare, no moment in which two starters can
 * both take over, and it also holds between containers that share a volume. The file with the process id beside it is only
 * for the message to people; a wrong one left by kill -9 decides nothing.
 *
 * Never open the lock file another way: POSIX drops a process's locks as soon as it closes any descriptor of the file.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'

export type DirectoryLock = { release(): void }

// Two that start at once may refuse each other for a moment; whoever was first wins within this time.
const lockWaitMsMax = 300
const sqliteBusy = 5

// A lock whose object were collected as garbage would be given back: held here until it is released.
const held = new Set<DatabaseSync>()

/** @throws an error that names the process that holds the directory. */
export function lockDirectory(directory: string): DirectoryLock {
  const pidFile = join(directory, 'keyhouse.pid')
  const lock = takeLock(directory, pidFile)
  held.add(lock)
  try {
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 })
  } catch (error) {
    giveBack(lock)
    throw error
  }
  return {
    release() {
      if (!held.has(lock)) return
      rmSync(pidFile, { force: true })
      giveBack(lock)
    },
  }
}

function takeLock(directory: string, pidFile: string): DatabaseSync {
  const { DatabaseSync } = loadSqlite()
  const lock = new DatabaseSync(join(directory, 'keyhouse.lock'), { timeout: lockWaitMsMax })
  try {
    // Nothing is ever written: without this a full disk could refuse the lock for its journal.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    lock.close()
    if (isBusy(cause)) throw new Error(inUse(directory, pidFile), { cause })
    throw new Error(`The data directory ${directory} cannot be locked. Put it on a local disk.`, { cause })
  }
}

function giveBack(lock: DatabaseSync): void {
  held.delete(lock)
  lock.close()
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy
}

function inUse(directory: string, pidFile: string): string {
  return (
    `The data directory ${directory} is in use by another Keyhouse server, process ${readPid(pidFile)}. ` +
    'Stop that one first, or start this one with another --data-dir.'
  )
}

function readPid(pidFile: string): string {
  try {
    return readFileSync(pidFile, 'utf8').trim()
  } catch {
    return '(unknown)'
  }
}

/** Node 22 announces node:sqlite as experimental; whoever starts a server can do nothing with that. */
function loadSqlite(): typeof import('node:sqlite') {
  const emitWarning = process.emitWarning
  process.emitWarning = () => undefined
  try {
    return process.getBuiltinModule('node:sqlite')
  } finally {
    process.emitWarning = emitWarning
  }
}
