/** A whole Keyhouse in a process of its own, started as a user starts it, on a data directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../../bin/keyhouse.cjs', import.meta.url))
const startTimeoutMs = 60_000
const stopTimeoutMs = 40_000

export type Keys = { readonly admin: string; readonly project: string; readonly test: string }

export type RunningKeyhouse = {
  readonly url: string
  readonly pid: number
  readonly dataDir: string
  /** Of the first start on this data directory only. */
  readonly keys: Keys | undefined
  /** Everything that it wrote to its standard output and error so far. */
  output(): string
  /** SIGTERM, and waits for the end. @returns its exit code */
  stop(): Promise<number | null>
  /** SIGKILL, and waits until the process is gone. */
  kill(): Promise<void>
}

export type KeyhouseOptions = {
  readonly dataDir: string
  /** By setting name. */
  readonly settings?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
}

export const newDataDir = (): Promise<string> => mkdtemp(join(tmpdir(), 'keyhouse-test-'))
export const removeDataDir = (dataDir: string): Promise<void> =>
  rm(dataDir, { recursive: true, force: true, maxRetries: 5 })

export async function startKeyhouse({ dataDir, settings = {}, env = {} }: KeyhouseOptions): Promise<RunningKeyhouse> {
  const all = { port: '0', 'data-dir': dataDir, 'local-model': 'off', 'log-level': 'warn', ...settings }
  const flags = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])
  const child = spawn(process.execPath, [launcher, 'start', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  })
  const lines: string[] = []
  const url = await Promise.race([listeningUrl(child, lines), sleep(startTimeoutMs, undefined, { ref: false })])
  if (url === undefined) {
    child.kill('SIGKILL')
    throw new Error(`Keyhouse did not start:\n${lines.join('\n')}`)
  }
  return {
    url,
    pid: child.pid ?? 0,
    dataDir,
    keys: readKeys(lines),
    output: () => lines.join('\n'),
    stop: () => end(child, 'SIGTERM'),
    async kill() {
      await end(child, 'SIGKILL')
    },
  }
}

/** The URL in the banner, once the rest of the banner is there too; undefined when the process ends before. */
function listeningUrl(child: ChildProcess, lines: string[]): Promise<string | undefined> {
  return new Promise(resolve => {
    let url: string | undefined
    const take = (line: string): void => {
      lines.push(line)
      url ??= /listens on (https?:\S+)/.exec(line)?.[1]
    }
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', take)
    }
    // The banner is one write: when its first line is here, the rest follows at once
    const look = setInterval(() => {
      if (url === undefined) return
      clearInterval(look)
      setTimeout(() => resolve(url), 30)
    }, 10)
    child.once('exit', () => {
      clearInterval(look)
      setTimeout(() => resolve(undefined), 50)
    })
  })
}

function readKeys(lines: readonly string[]): Keys | undefined {
  const text = lines.join('\n')
  const find = (kind: string): string => new RegExp(`sk-kh-${kind}-\\w{49}`).exec(text)?.[0] ?? ''
  const keys = { admin: find('admin'), project: find('proj'), test: find('test') }
  return keys.admin === '' ? undefined : keys
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  const exited = once(child, 'exit')
  child.kill(signal)
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  await exited
  clearTimeout(timer)
  return child.exitCode
}

/** A request to the Administration API that must succeed. */
export async function admin<Answer = unknown>(
  keyhouse: Pick<RunningKeyhouse, 'url'>,
  key: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(keyhouse.url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  // What the caller expects of this endpoint; the assertions that follow would fail on anything else.
  return JSON.parse(text) as Answer
}
