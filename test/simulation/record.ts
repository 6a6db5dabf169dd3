/** A call as the journal would keep it. Everything but the money is always the same. */
import { usageColumns } from '#core/usage.ts'
import type { UsageRecord } from '#storage/usage.ts'
import type { Used } from './oracle.ts'

const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }

export function usageRecord({ id, spender, key, beganAtMs, cost, journalled, leases }: Used): string {
  const limitLeases = [...leases].filter(([account]) => account !== 'credit').map(([, lease]) => lease)
  return JSON.stringify({
    id,
    occurred_at: new Date(beganAtMs).toISOString(),
    request_id: `req_${id}`,
    organization_id: spender.organization,
    project_id: spender.project,
    api_key_id: key,
    user_id: null,
    endpoint: 'chat.completions',
    model: 'simulated',
    provider: 'simulated',
    upstream_model: 'simulated',
    outcome: 'complete',
    estimated: false,
    ...usageColumns(usage),
    input_tokens: 1,
    cached_input_tokens: 0,
    output_tokens: 1,
    reasoning_tokens: 0,
    price_id: null,
    lease_id: leases.get('credit') ?? null,
    limit_lease_ids: limitLeases.length > 0 ? limitLeases : null,
    charged_nano_usd: `${journalled}`,
    overrun_nano_usd: `${cost - journalled}`,
    duration_ms: 1,
    first_byte_ms: 1,
    client_address: null,
  } satisfies UsageRecord)
}
