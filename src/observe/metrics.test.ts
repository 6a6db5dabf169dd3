import { expect, test } from 'vitest'
import { createMetrics, type SettledCall } from './metrics.ts'

const call: SettledCall = {
  endpoint: 'chat_completions',
  model: 'gpt-4o-mini',
  provider: 'openai',
  outcome: 'completed',
  input_tokens: 10,
  output_tokens: 3,
  charged_nano_usd: '1500',
  overrun_nano_usd: '0',
  duration_ms: 40,
  first_byte_ms: null,
}

const lines = async (metrics: ReturnType<typeof createMetrics>): Promise<string[]> =>
  (await metrics.text()).split('\n').filter(line => /^keyhouse_\w+(_total|_count)\{/.test(line))

test('calls are told to the last one whenever the metrics are read, and none twice', async () => {
  const metrics = createMetrics()
  metrics.settled(call)
  metrics.settled(call)
  const expected = (times: number): string[] => [
    `keyhouse_calls_total{endpoint="chat_completions",model="gpt-4o-mini",provider="openai",outcome="completed"} ${times}`,
    `keyhouse_tokens_total{model="gpt-4o-mini",provider="openai",direction="input"} ${10 * times}`,
    `keyhouse_tokens_total{model="gpt-4o-mini",provider="openai",direction="output"} ${3 * times}`,
    `keyhouse_cost_nano_usd_total{model="gpt-4o-mini",provider="openai"} ${1500 * times}`,
    `keyhouse_call_duration_seconds_count{endpoint="chat_completions",model="gpt-4o-mini"} ${times}`,
  ]
  expect(await lines(metrics)).toEqual(expected(2))
  expect(await lines(metrics)).toEqual(expected(2))
  metrics.settled(call)
  expect(await lines(metrics)).toEqual(expected(3))
})

test('whoever reads first, as text or as data, reads the same', async () => {
  const metrics = createMetrics()
  metrics.settled(call)
  const counted = (await metrics.snapshot()).flatMap(({ name, values }) => (/_total$/.test(name) ? values : []))
  expect(counted.filter(({ labels }) => labels.model).map(({ value }) => value)).toEqual([1, 10, 3, 1500])
  expect(await lines(metrics)).toHaveLength(5)
})

test('kinds of calls that share a model add up where their labels are the same, and only there', async () => {
  const metrics = createMetrics()
  metrics.settled(call)
  metrics.settled({ ...call, outcome: 'client_left', overrun_nano_usd: '7', first_byte_ms: 5 })
  metrics.settled({ ...call, provider: 'azure' })
  const told = await lines(metrics)
  expect(told.filter(line => line.startsWith('keyhouse_calls_total'))).toHaveLength(3)
  expect(told).toContain('keyhouse_cost_nano_usd_total{model="gpt-4o-mini",provider="openai"} 3000')
  expect(told).toContain('keyhouse_cost_nano_usd_total{model="gpt-4o-mini",provider="azure"} 1500')
  expect(told).toContain('keyhouse_overrun_nano_usd_total{model="gpt-4o-mini",provider="openai"} 7')
  expect(told.find(line => line.startsWith('keyhouse_time_to_first_byte_seconds_count'))).toMatch(/ 1$/)
})
