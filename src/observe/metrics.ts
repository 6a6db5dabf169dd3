/** Prometheus metrics. Names end in their unit; labels have few values and never a person's text. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

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
  upstreamFailed(provider: string, code: string): void
}

/** What is asked for when the metrics are read. */
export type Gauges = {
  callsActive(): number
  journalWaiting(): number
  journalBytes(): number
  grantsRemembered(): number
  stalenessSeconds(): number
}

export type Metrics = GatewayMetrics & {
  refused(code: string): void
  watch(gauges: Gauges): void
  text(): Promise<string>
  readonly contentType: string
}

const secondBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const byCall = ['endpoint', 'model', 'provider', 'outcome'] as const
  const byModel = ['model', 'provider'] as const
  const calls = new Counter({
    name: 'keyhouse_calls_total',
    help: 'Calls that were answered',
    labelNames: byCall,
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
  })
  const cost = new Counter({
    name: 'keyhouse_cost_nano_usd_total',
    help: 'Charged, in nano-US-dollars (for trends; the ledger is exact)',
    labelNames: byModel,
    registers,
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

  return {
    settled(call) {
      const { endpoint, model, provider, outcome } = call
      calls.inc({ endpoint, model, provider, outcome })
      tokens.inc({ model, provider, direction: 'input' }, call.input_tokens)
      tokens.inc({ model, provider, direction: 'output' }, call.output_tokens)
      cost.inc({ model, provider }, Number(call.charged_nano_usd))
      if (call.overrun_nano_usd !== '0') overrun.inc({ model, provider }, Number(call.overrun_nano_usd))
      duration.observe({ endpoint, model }, call.duration_ms / 1000)
      if (call.first_byte_ms !== null) firstByte.observe({ endpoint, model }, call.first_byte_ms / 1000)
    },
    upstreamFailed: (provider, code) => failures.inc({ provider, code }),
    refused: code => refusals.inc({ code }),
    watch(gauges) {
      const gauge = (name: string, help: string, read: () => number): void => {
        new Gauge({
          name,
          help,
          registers,
          collect() {
            this.set(read())
          },
        })
      }
      gauge('keyhouse_calls_active', 'Calls in flight', gauges.callsActive)
      gauge('keyhouse_journal_waiting', 'Usage records on their way to the database', gauges.journalWaiting)
      gauge('keyhouse_journal_bytes', 'Size of the usage journal', gauges.journalBytes)
      gauge('keyhouse_grants_remembered', 'Keys whose grants are in memory', gauges.grantsRemembered)
      gauge('keyhouse_auth_staleness_seconds', 'Since all changes to keys were last known', gauges.stalenessSeconds)
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
