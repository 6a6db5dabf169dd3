/** What Linux knows of a process and its descendants: CPU time and memory. */
import { readdirSync, readFileSync } from 'node:fs'

/** proc(5) counts CPU time in these; the kernel's interface fixes them at a hundredth of a second. */
const msPerTick = 10

type Stat = { readonly parent: number; readonly ownTicks: number; readonly childTicks: number }

function readStat(pid: number): Stat | undefined {
  const text = readProc(pid, 'stat')
  if (text === undefined) return undefined
  // "pid (name) state ppid …": the name may contain spaces and brackets
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (index: number): number => Number(fields[index])
  return { parent: field(1), ownTicks: field(11) + field(12), childTicks: field(13) + field(14) }
}

/** Undefined for a process that is gone, or gone between two looks. */
function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}

/** The process and all of its descendants. */
export function treeOf(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    const stat = Number.isInteger(pid) ? readStat(pid) : undefined
    if (stat) children.set(stat.parent, [...(children.get(stat.parent) ?? []), pid])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

/** Milliseconds on a CPU, user and system, of all threads of this process. */
export function cpuMs(pid: number): number {
  const stat = readStat(pid)
  if (!stat) throw new Error(`process ${pid} is gone`)
  return stat.ownTicks * msPerTick
}

/** The same of the whole tree, with the children that came and went meanwhile. */
export function treeCpuMs(root: number): number {
  let ticks = 0
  for (const pid of treeOf(root)) {
    const stat = readStat(pid)
    if (stat) ticks += stat.ownTicks + stat.childTicks
  }
  return ticks * msPerTick
}

/** Resident bytes; `pss` counts what processes share in equal parts, so that a tree adds up to what it really takes. */
export type Memory = { readonly rss: number; readonly pss: number }

export function memoryOf(pids: readonly number[]): Memory {
  let [rss, pss] = [0, 0]
  for (const pid of pids) {
    const text = readProc(pid, 'smaps_rollup') ?? ''
    rss += kilobytes(text, 'Rss') * 1024
    pss += kilobytes(text, 'Pss') * 1024
  }
  return { rss, pss }
}

const kilobytes = (text: string, name: string): number =>
  Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1] ?? 0)
