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
  return pino(options, destination ?? pino.destination({ fd: 2, sync: false }))
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
