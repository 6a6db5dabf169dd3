/**
 * The life of the one child process that runs the models: started at first need, watched, started again after a crash
 * with a growing pause, ended on request. A crash costs the calls in flight and nothing else.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ChildMessage, ChildOptions } from './child.ts'

/** pino's shape. */
export type Log = {
  readonly info: (details: object, message: string) => void
  readonly warn: (details: object, message: string) => void
  readonly error: (details: object, message: string) => void
}

export type ModelProcessOptions = ChildOptions & {
  readonly log: Log
  /** The program to run instead of `child.ts`, for tests. */
  readonly entry?: string
}

export type ModelProcess = {
  /** Resolves when the socket accepts connections. Rejects after `startMs`, and while the process keeps crashing. */
  readonly ensureRunning: () => Promise<void>
  /** Lets calls in flight end, then kills. Afterwards it does not start again. */
  readonly stop: (deadlineMs: number) => Promise<void>
  readonly pid: () => number | null
}

const startMs = 15_000
const pauseFirstMs = 250
const pauseMaxMs = 10_000
/** A process that lived this long has recovered, whatever happened before. */
const recoveredMs = 60_000
const crashesMax = 8
const stderrCharsMax = 2_000
/** Linux allows 107 bytes, macOS 103. */
const socketPathBytesMax = 103

const checkSocketPath = (socketPath: string): void => {
  const bytes = Buffer.byteLength(socketPath)
  if (bytes <= socketPathBytesMax) return
  throw new Error(
    `The socket path ${socketPath} is ${bytes} bytes long and the system allows ${socketPathBytesMax}. ` +
      'Choose a shorter data directory (--data-dir).',
  )
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

export const createModelProcess = (options: ModelProcessOptions): ModelProcess => {
  checkSocketPath(options.socketPath)
  const { log, models, socketPath, threads, queueMax } = options
  const entry = options.entry ?? fileURLToPath(new URL('./child.ts', import.meta.url))
  const childOptions: ChildOptions = { models, socketPath, threads, queueMax }
  let child: ChildProcess | undefined
  let listening: Promise<void> | undefined
  let crashes = 0
  let crashedAt = 0
  let stopped = false

  const onMessage = (message: ChildMessage): void => {
    if (message.type === 'error') log.error({ component: 'inference' }, message.message)
  }

  const onExit = (started: ChildProcess, startedAt: number, stderr: () => string): void => {
    if (child === started) {
      child = undefined
      listening = undefined
    }
    if (stopped) return
    crashes = Date.now() - startedAt > recoveredMs ? 1 : crashes + 1
    crashedAt = Date.now()
    const { exitCode, signalCode } = started
    log.warn(
      { exitCode, signalCode, crashes, stderr: stderr() },
      'the model process ended; the next call starts it again',
    )
  }

  const launch = (): ChildProcess => {
    // one that was killed left its socket behind
    rmSync(options.socketPath, { force: true })
    const started = spawn(process.execPath, [entry, JSON.stringify(childOptions)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // an inspector or a watcher of the parent is not for the child
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    let stderr = ''
    started.stderr?.on('data', chunk => {
      stderr = (stderr + chunk).slice(-stderrCharsMax)
    })
    const startedAt = Date.now()
    started.on('message', onMessage)
    started.once('exit', () => onExit(started, startedAt, () => stderr))
    return started
  }

  const untilListening = (started: ChildProcess, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const onListening = (message: ChildMessage): void => {
        if (message.type === 'listening') resolve()
      }
      started.on('message', onListening)
      started.once('error', reject)
      started.once('exit', () => reject(new Error('The model process ended before it was ready.')))
      signal.addEventListener('abort', () => reject(new Error(`The model process was not ready after ${startMs} ms.`)))
    })

  const start = async (): Promise<void> => {
    await sleep(pauseLeft())
    if (stopped) throw new Error('The model process has been stopped.')
    const started = launch()
    child = started
    try {
      await untilListening(started, AbortSignal.timeout(startMs))
      log.info({ pid: started.pid, threads: options.threads }, 'the model process is ready')
    } catch (error) {
      started.kill('SIGKILL')
      throw error
    }
  }

  const pauseLeft = (): number => {
    if (crashes === 0) return 0
    const pause = Math.min(pauseFirstMs * 2 ** (crashes - 1), pauseMaxMs)
    return Math.max(0, crashedAt + pause - Date.now())
  }

  const ensureRunning = (): Promise<void> => {
    if (stopped) return Promise.reject(new Error('The model process has been stopped.'))
    if (crashes >= crashesMax && Date.now() - crashedAt < recoveredMs) {
      const seconds = Math.ceil((crashedAt + recoveredMs - Date.now()) / 1000)
      return Promise.reject(new Error(`The model process crashed ${crashes} times in a row; next try in ${seconds} s.`))
    }
    if (listening === undefined) {
      const attempt = start().catch(error => {
        if (listening === attempt) listening = undefined
        throw error
      })
      listening = attempt
    }
    return listening
  }

  const stop = async (deadlineMs: number): Promise<void> => {
    stopped = true
    const last = child
    if (last !== undefined && !hasEnded(last)) {
      const ended = new Promise(resolve => last.once('exit', resolve))
      last.kill('SIGTERM')
      const timer = setTimeout(() => last.kill('SIGKILL'), deadlineMs)
      await ended
      clearTimeout(timer)
    }
    rmSync(options.socketPath, { force: true })
  }

  return { ensureRunning, stop, pid: () => child?.pid ?? null }
}
