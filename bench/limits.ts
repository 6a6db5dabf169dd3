/** What the rate limits of a call cost: in the memory of one node, and in a Redis that several share. */
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'
import { rulesOf } from '#core/rate-limits.ts'
import { type Counters, memoryCounters } from '#storage/counters.ts'
import { countersClock } from '#storage/open-counters.ts'
import { type SharedCounters, sharedCounters } from '#storage/shared-counters.ts'
import { startRedis } from '../test/support/redis.ts'
import { has } from '../test/support/system.ts'
import { noTrouble } from '../test/support/trouble.ts'
import type { Bench, BenchContext, Findings } from './support/bench.ts'
import { ratiosOf, showSpread, spreadOf } from './support/statistics.ts'

export const limits: Bench = {
  name: 'limits',
  question: "What do a call's rate limits cost: of its organization, project and key, on requests and on tokens?",
  run,
}

const memoryUsMax = 3
const callsAtOnce = 32
const tokens = 500
const wide = { requestsPerMinute: 1_000_000_000, tokensPerMinute: 1_000_000_000_000 }

/** As the gateway makes them: two dimensions at three levels. */
const set = new Map([['*', wide]])
const rules = rulesOf(
  {
    kind: 'project',
    // Names, and nothing that is looked up
    organizationId: 'org-bench' as OrganizationId,
    projectId: 'proj_bench' as ProjectId,
    budgetKeyId: 'key_bench' as ApiKeyId,
    usageTier: null,
    organizationLimits: set,
    ownerLimits: new Map(),
    projectLimits: set,
    keyLimits: set,
  },
  'm',
  wide,
)
const costs = rules.map(({ dimension }) => (dimension === 'tokensPerMinute' ? tokens : 1))

type Series = { readonly name: string; readonly us: number[]; readonly trips: number[] }

async function run({ quick, progress }: BenchContext): Promise<Findings> {
  const rounds = quick ? 1 : 5
  const lengths = { memory: quick ? 10_000 : 500_000, redis: quick ? 1_000 : 20_000 }
  const memory: Series = { name: 'memory', us: [], trips: [] }
  const redis: Series = { name: `Redis, ${callsAtOnce} calls at once`, us: [], trips: [] }
  const counters = memoryCounters(countersClock())
  await using parts = new AsyncDisposableStack()
  const shared = has('redis') ? await openShared(parts) : undefined
  takeAll(counters, lengths.memory)
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`)
    memory.us.push(msOf(() => takeAll(counters, lengths.memory)) * (1_000 / lengths.memory))
    if (shared) await measureShared(shared, redis, lengths.redis)
  }
  return report(memory, shared && redis)
}

async function openShared(parts: AsyncDisposableStack): Promise<SharedCounters> {
  const redis = await startRedis()
  parts.defer(() => redis.stop())
  const nodes = () => ({ count: 1, rank: 0 })
  const options = { redisUrl: redis.url, nodes, now: countersClock(), away: noTrouble }
  const counters = await sharedCounters(options)
  parts.defer(() => counters.close())
  return counters
}

/** A call as the gateway makes it: taken, and when it has ended corrected. */
function takeAll(counters: Counters, calls: number): void {
  for (let call = 0; call < calls; call += 1) {
    const outcome = counters.take(rules, costs)
    if (outcome instanceof Promise || !outcome.fits) throw new Error('a wide limit refused a call')
    for (const rule of rules) if (rule.dimension === 'tokensPerMinute') counters.adjust(rule, -tokens / 2, outcome)
  }
}

async function measureShared(counters: SharedCounters, { us, trips }: Series, calls: number): Promise<void> {
  const [startedAt, tripsBefore] = [performance.now(), counters.trips]
  let left = calls
  const worker = async (): Promise<void> => {
    for (; left > 0; left -= 1) {
      const outcome = await counters.take(rules, costs)
      if (!outcome.fits) throw new Error('a wide limit refused a call')
      for (const rule of rules) if (rule.dimension === 'tokensPerMinute') counters.adjust(rule, -tokens / 2, outcome)
    }
  }
  await Promise.all(Array.from({ length: callsAtOnce }, worker))
  us.push(((performance.now() - startedAt) * 1_000) / calls)
  trips.push((counters.trips - tripsBefore) / calls)
}

function msOf(work: () => void): number {
  const startedAt = performance.now()
  work()
  return performance.now() - startedAt
}

function report(memory: Series, redis: Series | undefined): Findings {
  const row = ({ name, us, trips }: Series): string[] => [
    name,
    showSpread(spreadOf(us), 2),
    showSpread(ratiosOf(us, memory.us), 1),
    trips.length === 0 ? '0' : showSpread(spreadOf(trips), 3),
  ]
  const aims = [{ what: 'in memory', atMost: memoryUsMax, measured: spreadOf(memory.us).median, unit: 'µs' }]
  if (redis) {
    // Beside the calls: four renewals a second, and what is sent when no call comes
    aims.push({ what: 'round trips to Redis a call', atMost: 1.02, measured: spreadOf(redis.trips).median, unit: '' })
  }
  return {
    tables: [
      {
        title: `A call's ${rules.length} limits`,
        columns: ['counters', 'µs a call', '÷ memory', 'round trips a call'],
        rows: [memory, ...(redis ? [redis] : [])].map(row),
      },
    ],
    aims,
    notes: [
      `In one process, without HTTP: ${rules.length} limits taken at once, and the tokens of three corrected when the call has ended.`,
      redis
        ? 'Redis runs on the same machine and shares its cores: µs is the time from one call to the next, not what this process spends.'
        : 'There is no Redis on this machine, so it was left out.',
    ],
  }
}
