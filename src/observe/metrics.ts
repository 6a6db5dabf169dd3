/** Prometheus metrics. Names end in their unit; labels have few values and never a person's text. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export type SettledCall = {
  readonly endpoint: string
  readonly model: string
  readonly provider: string
  readonly outcome: string
  readonly input_tokens: number
  readonly output_tokens: number
  readonly charged_nano_usd: string
  readonly overrun_nano_usd: string
  readonly duration_ms: number
  readonly first_byte_ms: number | null
}

export type GatewayMetrics = {
  settled(call: SettledCall): void
  /** Calls whose content was to be kept, and was not. */
  payloadsDropped(count: number): void
  upstreamFailed(provider: string, code: string): void
}

export type JobMetrics = {
  jobEnded(job: string, outcome: 'done' | 'failed', seconds: number): void
  /** @param findings what of the money does not add up: asked for whenever the metrics are read */
  watchLedger(findings: () => Promise<number>): void
}

/** What is asked for when the metrics are read. */
export type Gauges = {
  callsActive(): number
  journalWaiting(): number
  journalBytes(): number
  grantsRemembered(): number
  stalenessSeconds(): number
  /** How many troubles of each kind are open. */
  troubles(): ReadonlyMap<string, number>
}

/** What one process counts, as prom-client tells it; plain data. */
export type MetricsSnapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/** The metrics of several processes as those of one: added up, where nothing else makes sense. */
export const joinMetrics = (snapshots: readonly MetricsSnapshot[]): Promise<string> =>
  AggregatorRegistry.aggregate([...snapshots]).metrics()

export type Metrics = GatewayMetrics &
  JobMetrics & {
    refused(code: string): void
    watch(gauges: Gauges): void
    text(): Promise<string>
    /** For `joinMetrics`. */
    snapshot(): Promise<MetricsSnapshot>
    readonly contentType: string
  }

/** What calls of one kind add to the counters when the metrics are read next. */
type Tally = {
  readonly labels: Pick<SettledCall, 'endpoint' | 'model' | 'provider' | 'outcome'>
  calls: number
  inputTokens: number
  outputTokens: number
  chargedNanoUsd: number
}

/** A database that hangs must not keep whoever reads the metrics from learning just that. */
const findingsMsMax = 500

const secondBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const byCall = ['endpoint', 'model', 'provider', 'outcome'] as const
  const byModel = ['model', 'provider'] as const
  const collect = (): void => tellTallies()
  const calls = new Counter({
    name: 'keyhouse_calls_total',
    help: 'Calls that were answered',
    labelNames: byCall,
    registers,
    collect,
  })
  const droppedPayloads = new Counter({
    name: 'keyhouse_payloads_dropped_total',
    help: 'Calls whose content was to be captured, and was not',
    registers,
  })
  const refusals = new Counter({
    name: 'keyhouse_refusals_total',
    help: 'Requests that got an error, by its code',
    labelNames: ['code'] as const,
    registers,
  })
  const failures = new Counter({
    name: 'keyhouse_upstream_failures_total',
    help: 'Tries at a provider that failed',
    labelNames: ['provider', 'code'] as const,
    registers,
  })
  const tokens = new Counter({
    name: 'keyhouse_tokens_total',
    help: 'Tokens used',
    labelNames: [...byModel, 'direction'] as const,
    registers,
    collect,
  })
  const cost = new Counter({
    name: 'keyhouse_cost_nano_usd_total',
    help: 'Charged, in nano-US-dollars (for trends; the ledger is exact)',
    labelNames: byModel,
    registers,
    collect,
  })
  const overrun = new Counter({
    name: 'keyhouse_overrun_nano_usd_total',
    help: 'Used beyond what was held and borne by the platform, in nano-US-dollars: should stay 0',
    labelNames: byModel,
    registers,
  })
  const duration = new Histogram({
    name: 'keyhouse_call_duration_seconds',
    help: 'From the request to the end of the answer',
    labelNames: ['endpoint', 'model'] as const,
    buckets: secondBuckets,
    registers,
  })
  const firstByte = new Histogram({
    name: 'keyhouse_time_to_first_byte_seconds',
    help: 'From the request to the first byte of a stream',
    labelNames: ['endpoint', 'model'] as const,
    buckets: secondBuckets,
    registers,
  })

  const jobRuns = new Counter({
    name: 'keyhouse_job_runs_total',
    help: 'Runs of jobs on this node, by how they ended',
    labelNames: ['job', 'outcome'] as const,
    registers,
  })
  const jobSeconds = new Counter({
    name: 'keyhouse_job_seconds_total',
    help: 'Time that jobs took on this node',
    labelNames: ['job'] as const,
    registers,
  })

  // prom-client checks and joins the labels at each inc(): calls are added up here, and told when a counter is read
  const tallies = new Map<string, Tally>()

  const tallyOf = ({ endpoint, model, provider, outcome }: SettledCall): Tally => {
    const kind = `${endpoint}\n${model}\n${provider}\n${outcome}`
    const known = tallies.get(kind)
    if (known) return known
    const labels = { endpoint, model, provider, outcome }
    const begun = { labels, calls: 0, inputTokens: 0, outputTokens: 0, chargedNanoUsd: 0 }
    tallies.set(kind, begun)
    return begun
  }

  const tellTallies = (): void => {
    for (const { labels, ...tally } of tallies.values()) {
      const { model, provider } = labels
      calls.inc(labels, tally.calls)
      tokens.inc({ model, provider, direction: 'input' }, tally.inputTokens)
      tokens.inc({ model, provider, direction: 'output' }, tally.outputTokens)
      cost.inc({ model, provider }, tally.chargedNanoUsd)
    }
    tallies.clear()
  }

  return {
    settled(call) {
      const { endpoint, model, provider } = call
      const tally = tallyOf(call)
      tally.calls += 1
      tally.inputTokens += call.input_tokens
      tally.outputTokens += call.output_tokens
      tally.chargedNanoUsd += Number(call.charged_nano_usd)
      if (call.overrun_nano_usd !== '0') overrun.inc({ model, provider }, Number(call.overrun_nano_usd))
      duration.observe({ endpoint, model }, call.duration_ms / 1000)
      if (call.first_byte_ms !== null) firstByte.observe({ endpoint, model }, call.first_byte_ms / 1000)
    },
    payloadsDropped: count => droppedPayloads.inc(count),
    upstreamFailed: (provider, code) => failures.inc({ provider, code }),
    refused: code => refusals.inc({ code }),
    jobEnded(job, outcome, seconds) {
      jobRuns.inc({ job, outcome })
      jobSeconds.inc({ job }, seconds)
    },
    watchLedger(findings) {
      new Gauge({
        name: 'keyhouse_ledger_findings',
        help: 'What of the money does not add up: must be 0',
        registers,
        // Every process sees the same ones
        aggregator: 'max',
        async collect() {
          const known = findings().catch(() => undefined)
          const count = await Promise.race([known, sleep(findingsMsMax, undefined, { ref: false })])
          // Without the database the last one that was known stands
          if (count !== undefined) this.set(count)
        },
      })
    },
    watch(gauges) {
      const gauge = (name: string, help: string, read: () => number, aggregator: 'sum' | 'max' = 'sum'): void => {
        new Gauge({
          name,
          help,
          registers,
          aggregator,
          collect() {
            this.set(read())
          },
        })
      }
      gauge('keyhouse_calls_active', 'Calls in flight', gauges.callsActive)
      gauge('keyhouse_journal_waiting', 'Usage records on their way to the database', gauges.journalWaiting)
      gauge('keyhouse_journal_bytes', 'Size of the usage journal', gauges.journalBytes)
      gauge('keyhouse_grants_remembered', 'Keys whose grants are in memory', gauges.grantsRemembered)
      gauge(
        'keyhouse_auth_staleness_seconds',
        'Since all changes to keys were last known',
        gauges.stalenessSeconds,
        'max',
      )
      new Gauge({
        name: 'keyhouse_troubles',
        help: 'What is wrong now, by its kind: docs/operations.md has each; alert on any above 0',
        labelNames: ['trouble'],
        registers,
        aggregator: 'max',
        collect() {
          for (const [trouble, count] of gauges.troubles()) this.set({ trouble }, count)
        },
      })
    },
    text: () => registry.metrics(),
    snapshot: () => registry.getMetricsAsJSON(),
    contentType: registry.contentType,
  }
}
