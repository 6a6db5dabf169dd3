/** The rate-limit counters that this node uses: its own, kept in a file, or those that it shares with others in Redis. */
import type { Trouble } from '#contract/troubles.ts'
import { keepCounters } from './counter-file.ts'
import { type Counters, memoryCounters, RateLevels } from './counters.ts'
import { type Nodes, type SharedCounters, sharedCounters, shareOf } from './shared-counters.ts'

export type CountersOptions = {
  /** Empty: this is the only node, or each gives out its share. */
  readonly redisUrl: string
  nodes(): Nodes
  /** Where the long counters of a single node are kept. */
  readonly file: string
  readonly now?: () => number
  /** Of Redis. */
  readonly away: Trouble
  /** Of the file. */
  readonly unkept: Trouble
  onError(message: string, error: unknown): void
}

export type OpenCounters = Counters & {
  /** Where limits are taken now: in this node's memory, in Redis, or by this node's share of them while Redis is away. */
  readonly mode: 'memory' | SharedCounters['mode']
  close(): Promise<void>
}

/** Of a clock that shows the time of day when it starts, and never goes back afterwards. */
export function countersClock(): () => number {
  // Milliseconds since 2026: the fewer digits in front, the more behind
  const startedAt = Date.now() - Date.UTC(2026, 0) - performance.now()
  return () => startedAt + performance.now()
}

export async function openCounters(options: CountersOptions): Promise<OpenCounters> {
  const { redisUrl, nodes, file, now = countersClock(), away, unkept, onError } = options
  if (redisUrl !== '') return sharedCounters({ redisUrl, nodes, now, away })
  const levels = new RateLevels()
  const kept = keepCounters({ path: file, levels, now, unkept, onError })
  const counters = memoryCounters(now, { levels, shareOf: limit => shareOf(limit, nodes()) })
  return Object.assign(counters, { mode: 'memory' as const, close: () => kept.close() })
}
