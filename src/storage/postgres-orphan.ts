/**
 * A PostgreSQL that outlived the server that started it. The lifeline ends it within moments; this is for the next start
 * that comes even sooner, and for the day on which the lifeline was killed too.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const psTimeoutMs = 5_000
const quitWaitMsMax = 10_000
const killWaitMsMax = 5_000
const pollMs = 20

/**
 * Ends what still runs on this cluster and waits until it is gone. Call it under the lock of the data directory: then
 * whatever runs here is nobody's.
 */
export async function endOrphans(directory: string, log: (line: string) => void): Promise<void> {
  if (!existsSync(directory)) return
  const [orphan] = postgresProcesses(directory)
  if (orphan !== undefined) log(`ending PostgreSQL ${orphan}, left on ${directory} by a server that was killed`)
  const gone =
    (await endWith('SIGQUIT', directory, quitWaitMsMax)) || (await endWith('SIGKILL', directory, killWaitMsMax))
  if (!gone) throw new Error(`PostgreSQL process ${orphan} still holds ${directory}: end it and start again.`)
  await forgetPredecessor(directory)
}

async function endWith(signal: NodeJS.Signals, directory: string, waitMsMax: number): Promise<boolean> {
  for (const pid of postgresProcesses(directory)) signalIfThere(pid, signal)
  for (let waitedMs = 0; waitedMs < waitMsMax; waitedMs += pollMs) {
    if (postgresProcesses(directory).length === 0) return true
    await sleep(pollMs)
  }
  return false
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/**
 * Whatever process has the number in postmaster.pid by now, PostgreSQL takes for its predecessor and refuses to start; in a
 * container, where numbers are small, that is likely. On Linux we have just seen that nobody is left; elsewhere the file
 * stays, as PostgreSQL's own guard.
 */
async function forgetPredecessor(directory: string): Promise<void> {
  if (process.platform === 'linux') await rm(join(directory, 'postmaster.pid'), { force: true })
}

function postgresProcesses(directory: string): number[] {
  return process.platform === 'linux' ? processesIn(realpathSync(directory)) : postmasterOf(directory)
}

/** A postmaster and all its children work in the cluster's directory: the kernel's own word, which no reuse can forge. */
function processesIn(directory: string): number[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  const isOurs = (pid: string) =>
    linkOf(`/proc/${pid}/cwd`) === directory && basename(linkOf(`/proc/${pid}/exe`)).startsWith('postgres')
  return pids.filter(isOurs).map(Number)
}

/** '' for a process that is gone by now, or that is somebody else's. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function postmasterOf(directory: string): number[] {
  const file = join(directory, 'postmaster.pid')
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0
  if (!(pid > 1)) return []
  const ps = spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8', timeout: psTimeoutMs })
  return ps.stdout.includes('postgres') && ps.stdout.includes(directory) ? [pid] : []
}
