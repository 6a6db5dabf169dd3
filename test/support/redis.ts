/**
 * A real Redis (or Valkey) for one test, on a loopback port of its own that it keeps when it is killed and started again.
 * It dies with the process that started it, whatever ends that one.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { holdLifeline } from '#storage/lifeline.ts'
import { redisProgram } from './system.ts'

export type TestRedis = {
  readonly url: string
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
  /** After `kill`: the same port; empty, unless it was asked to persist. */
  start(): Promise<void>
  stop(): Promise<void>
}

export type RedisOptions = {
  /** Whether what it acknowledged survives `kill`. Default: no. */
  readonly persistent?: boolean
}

const loopback = '127.0.0.1'
const startTimeoutMs = 10_000

export async function startRedis({ persistent = false }: RedisOptions = {}): Promise<TestRedis> {
  const program = redisProgram()
  if (!program) {
    throw new Error('No Redis 7 or newer was found: `npm test` brings one, or install one (apt install redis-server).')
  }
  const folder = await mkdtemp(join(tmpdir(), 'keyhouse-redis-'))
  const port = await freePort()
  const settings = {
    bind: loopback,
    port: String(port),
    dir: folder,
    save: '',
    appendonly: persistent ? 'yes' : 'no',
    appendfsync: 'always',
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 5 })
  let running: ChildProcess | undefined
  const kill = async (): Promise<void> => {
    if (running) await killed(running)
    running = undefined
  }
  const start = async (): Promise<void> => {
    if (running) throw new Error('Redis runs already: kill it first')
    running = await started(program, args)
  }
  await start().catch(async error => {
    await remove()
    throw error
  })
  return {
    url: `redis://${loopback}:${port}`,
    kill,
    start,
    async stop() {
      await kill()
      await remove()
    },
  }
}

async function started(program: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child, 'spawn')
  const lifeline = holdLifeline(child.pid ?? 0, 'KILL', error => console.error(error))
  child.once('exit', () => lifeline.end())
  const lines: string[] = []
  const ready = new Promise<boolean>(resolve => {
    createInterface({ input: child.stdout }).on('line', line => {
      lines.push(line)
      if (line.includes('Ready to accept connections')) resolve(true)
    })
    child.once('exit', () => resolve(false))
  })
  if (await Promise.race([ready, sleep(startTimeoutMs, false, { ref: false })])) return child
  await killed(child)
  throw new Error(`Redis did not start:\n${lines.join('\n')}`)
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, loopback)
  await once(server, 'listening')
  // A server that listens on a TCP port has such an address.
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
