/** What every part is built from. */
import type { Log, Warn } from '#observe/log.ts'
import type { Closers } from '#src/closers.ts'
import type { Config } from '#src/config.ts'
import type { Seat } from '#src/seat.ts'
import type { Troubles } from '#src/troubles.ts'

export type Base = {
  readonly config: Config
  readonly log: Log
  readonly closing: Closers
  /** Undefined: the only process of this installation on this machine. */
  readonly seat: Seat | undefined
  readonly troubles: Troubles
  /** For what may come with every call. */
  readonly warn: Warn
  onError(message: string, error: unknown): void
}

export const now = (): number => performance.now()
export const wallClock = (): number => Date.now()

/** The one of several workers that does what is for one to do. */
export const isLeader = ({ seat }: Base): boolean => seat === undefined || seat.worker === 1

export const isOn = ({ values }: Config, name: 'local-model' | 'test-models'): boolean => values[name] === 'on'
