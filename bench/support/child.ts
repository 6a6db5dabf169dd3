/** Processes of a bench: each ends with the bench, whatever ends that. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const startTimeoutMs = 10_000
const stopTimeoutMs = 5_000

export type Peer = AsyncDisposable & { readonly url: string; readonly pid: number }

const running = new Set<ChildProcess>()
const drained = new Set<number>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const pid of drained) process.kill(pid, 'SIGTERM')
})

/** A Keyhouse of the bench ends with it too, and in good order. @returns to be called when it has ended by itself */
export function endsWithUs(pid: number): () => void {
  drained.add(pid)
  return () => drained.delete(pid)
}

export function startChild(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const child = spawn(command, args, options)
  running.add(child)
  child.on('exit', () => running.delete(child))
  return child
}

export async function endChild(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  await exited
  clearTimeout(timer)
}

/** A Node program of ours that prints its URL as its first line, as all of those in peers/ do. */
export async function startPeer(file: URL, ...args: string[]): Promise<Peer> {
  const child = startChild(process.execPath, [fileURLToPath(file), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  if (!child.stdout) throw new Error('a peer has no standard output')
  const lines = createInterface({ input: child.stdout })
  const [url] = await once(lines, 'line', { signal: AbortSignal.timeout(startTimeoutMs) })
  return { url: String(url), pid: child.pid ?? 0, [Symbol.asyncDispose]: () => endChild(child) }
}
