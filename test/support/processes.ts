/** The processes under a server: to stop its database in every way that a database stops, and to see that none is left. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

type Process = { readonly pid: number; readonly parent: number; readonly command: string }

/** The embedded PostgreSQL of a data directory: its main process first, then those that it made. */
export function databaseProcesses(dataDir: string): number[] {
  const file = join(dataDir, 'postgres', 'postmaster.pid')
  const main = Number(readFileSync(file, 'utf8').split('\n', 1)[0])
  const children = processes().filter(({ parent }) => parent === main)
  return [main, ...children.map(({ pid }) => pid)]
}

/** What still runs with this data directory in its command line. */
export const processesOf = (dataDir: string): string[] =>
  processes()
    .filter(({ command, pid }) => command.includes(dataDir) && pid !== process.pid)
    .map(({ pid, command }) => `${pid} ${command}`)

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      // A backend may have ended by itself since it was listed
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

function processes(): Process[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(name => read(Number(name)) ?? [])
}

/** Undefined when it has ended in the meantime. */
function read(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in brackets, and may hold anything; the fields after it are plain
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return state === 'Z' ? undefined : { pid, parent: Number(parent), command }
  } catch {
    return undefined
  }
}
