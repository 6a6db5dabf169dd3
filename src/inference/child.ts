/**
 * The entry point of the child process that runs the models. It listens on a Unix socket that only this user can reach,
 * tells its parent when it does, and never outlives it.
 *
 * argv[2] is a `ChildOptions` as JSON.
 */
import { writeFileSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { createLlamaHost } from './llama.ts'
import { createModelServer } from './server.ts'

export type ChildOptions = {
  readonly models: string
  readonly socketPath: string
  readonly threads: number
  readonly queueMax: number
}

export type ChildMessage = { readonly type: 'listening' } | { readonly type: 'error'; readonly message: string }

const parentCheckMs = 2_000
const idleCheckMs = 50
const messageCharsMax = 2_000

const tell = (message: ChildMessage): void => {
  process.send?.(message, undefined, {}, () => undefined)
}

const logError = (message: string): void => tell({ type: 'error', message: message.slice(0, messageCharsMax) })

/** The channel closes when the parent ends, however it ends; the second look is for a parent that forked without one. */
const dieWithParent = (): void => {
  const parent = process.ppid
  process.once('disconnect', () => process.exit(0))
  setInterval(() => {
    if (process.ppid !== parent) process.exit(0)
  }, parentCheckMs).unref()
}

/** When processor or memory run short, the gateway and the database come first. */
const stepBack = (): void => {
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
    if (process.platform === 'linux') writeFileSync('/proc/self/oom_score_adj', '500')
  } catch (error) {
    logError(`the model process keeps its priority: ${String(error)}`)
  }
}

const stopServing = (server: ReturnType<typeof createModelServer>): void => {
  server.close(() => process.exit(0))
  // a connection that is kept open for a next call is not a call
  setInterval(() => server.closeIdleConnections(), idleCheckMs)
}

const main = (): void => {
  // our own parent wrote it, see `ChildOptions`
  const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions
  dieWithParent()
  stepBack()
  const host = createLlamaHost({ ...options, logError })
  const server = createModelServer({ host, queueMax: options.queueMax, logError })
  // Ctrl-C reaches every process of the terminal; the parent decides when this one ends
  process.on('SIGINT', () => undefined)
  process.once('SIGTERM', () => stopServing(server))
  process.umask(0o077)
  server.listen(options.socketPath, () => tell({ type: 'listening' }))
}

main()
