/** What a job is, and what it works with. */
import type { Mailer } from '../mail/mailer.ts'
import type { PlatformParts } from '../platform.ts'

export type JobParts = Pick<PlatformParts, 'database' | 'secrets' | 'log' | 'wallClock'> & {
  /** Minutes without a sign of life after which a node is given up for lost. */
  readonly lostNodeMinutes: number
  /** Undefined: there is no mail server, and mail waits. */
  readonly mailer: Mailer | undefined
  /** @returns how many usage events were rolled up */
  rollUpUsage(): Promise<number>
  /** @returns what was dropped, for people; null when nothing was due */
  applyRetention(): Promise<string | null>
}

/** Each is safe to run twice, on several nodes at once, and to be cut anywhere: what it finds done it leaves alone. */
export type Job = {
  /** One sentence. */
  readonly about: string
  /** When it is due, as cron says it, in UTC. */
  readonly cron: string
  /** Besides, every node runs it so often by a timer of its own: what cannot wait for a minute. */
  readonly everyMs?: number
  /** @returns what was done, for people; null when nothing was due */
  run(parts: JobParts): Promise<string | null>
}
