/** Structured logs. Never a secret, never a prompt: callers log names and numbers, and what looks like a key is masked. */
import { type DestinationStream, type Logger, pino } from 'pino'

export type Log = Logger

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

const credentials = /\b(?:sk|pk|rk)-[\w-]{8,}|\bBearer\s+[\w.~+/-]+=*/g

export const maskCredentials = (text: string): string =>
  text.replace(credentials, found =>
    found.startsWith('Bearer') ? 'Bearer ****' : `${found.slice(0, 3)}****${found.slice(-4)}`,
  )

export function createLog(level: LogLevel, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    // The last gate: whatever a message or a cause carried, no credential gets past it
    hooks: { streamWrite: maskCredentials },
  }
  return pino(options, destination ?? standardError())
}

/** Of lines that could not be written yet; those beyond it are dropped. */
const unwrittenBytesMax = 1024 * 1024

/**
 * Where lines cannot be written, as on a disk that is full, they are tried again with the next one, and the server goes on. pino's own
 * listener would end the process at the first such line, and its flush at the end tries for ever: that process neither served nor died.
 */
function standardError(): DestinationStream {
  const stream = pino.destination({ fd: 2, sync: false, maxLength: unwrittenBytesMax })
  const flush = stream.flushSync.bind(stream)
  let failing = false
  stream.on('error', () => {
    failing = true
  })
  stream.on('write', () => {
    failing = false
  })
  stream.flushSync = () => {
    if (!failing) flush()
  }
  return stream
}

export type Warn = (details: object, message: string) => void

const linesMax = 5
const windowMs = 10_000

/** For what may come with every call: of lines alike, five in ten seconds; the next one says how many were left out. */
export function warnSparingly(log: Log, now: () => number): Warn {
  const kinds = new Map<string, { fromMs: number; lines: number; leftOut: number }>()
  return (details, message) => {
    const { code = '', provider = '' } = details as { code?: string; provider?: string }
    const kind = `${message} ${code} ${provider}`
    const known = kinds.get(kind) ?? { fromMs: now(), lines: 0, leftOut: 0 }
    kinds.set(kind, known)
    if (now() - known.fromMs >= windowMs) Object.assign(known, { fromMs: now(), lines: 0 })
    if (known.lines >= linesMax) {
      known.leftOut += 1
      return
    }
    log.warn(known.leftOut === 0 ? details : { ...details, left_out: known.leftOut }, message)
    known.lines += 1
    known.leftOut = 0
  }
}

const causesMax = 3

function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? error.slice(0, 1000) : error
  const { name, message, stack, cause } = error
  const code = (error as { code?: unknown }).code
  return {
    type: name,
    message,
    ...(code !== undefined && { code }),
    stack,
    ...(cause !== undefined && depth < causesMax && { cause: describeError(cause, depth + 1) }),
  }
}
