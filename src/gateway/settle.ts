/**
 * Verb seven. The usage is on disk before this resolves; then the hold is posted and its remainder is free again. Exactly
 * once, whatever happens. When the disk refuses, the hold stays: money is never given back for what was used.
 */
import { apiError } from '#contract/errors.ts'
import { nanoUsd, smallerUsd } from '#core/money.ts'
import { costOf } from '#core/pricing.ts'
import type { UsageRecord } from '#storage/usage.ts'
import { uuidv7 } from '#storage/uuid.ts'
import type { Admission } from './admit.ts'
import type { Answer } from './answer.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'
import type { Metered } from './meter.ts'

export async function settle(
  gateway: Gateway,
  call: Call,
  admission: Admission,
  answer: Answer,
  metered: Metered,
): Promise<void> {
  const cost = costOf(call.price, metered.usage)
  const charged = smallerUsd(cost, admission.hold.amount)
  const record = usageRecord(gateway, call, answer, metered, {
    charged,
    overrun: cost - charged,
    lease: admission.hold.lease,
  })
  try {
    await gateway.journal.append(record)
  } catch (cause) {
    throw apiError('storage_full', { what: 'its disk cannot be written' }, { cause })
  }
  admission.hold.settle(nanoUsd(charged))
  reconcileTokens(gateway, admission, metered.usage.inputTokens + metered.usage.outputTokens)
  gateway.metrics.settled(record)
}

/** The rate limits were charged with an estimate; now they get what it really was. */
function reconcileTokens(gateway: Gateway, { charges, tokens }: Admission, used: number): void {
  for (const charge of charges) {
    if (charge.dimension === 'tokens') gateway.counters.adjust(charge, used - tokens)
  }
}

/** Gives back what a call took that used nothing: the hold, and the tokens, but not the request. */
export function release(gateway: Gateway, admission: Admission): void {
  admission.hold.release()
  reconcileTokens(gateway, admission, 0)
}

type Charged = { readonly charged: bigint; readonly overrun: bigint; readonly lease: string | null }

function usageRecord(
  gateway: Gateway,
  { exchange, grant, model, endpoint, price }: Call,
  { target, outcome, firstByteMs }: Answer,
  { usage, estimated }: Metered,
  { charged, overrun, lease }: Charged,
): UsageRecord {
  const wallClock = gateway.wallClock()
  return {
    id: uuidv7(wallClock),
    occurred_at: new Date(wallClock).toISOString(),
    request_id: exchange.requestId,
    organization_id: grant.organizationId,
    project_id: grant.projectId,
    api_key_id: grant.keyId,
    user_id: grant.userId,
    endpoint: endpoint.id,
    model: model.name,
    provider: target.providerName,
    upstream_model: target.upstreamModel,
    outcome,
    estimated,
    input_tokens: usage.inputTokens,
    cached_input_tokens: usage.cachedInputTokens,
    output_tokens: usage.outputTokens,
    reasoning_tokens: usage.reasoningTokens,
    price_id: price.id === '' ? null : price.id,
    lease_id: lease,
    charged_nano_usd: charged.toString(),
    overrun_nano_usd: overrun.toString(),
    duration_ms: Math.round(gateway.now() - exchange.startedAtMs),
    first_byte_ms: firstByteMs === null ? null : Math.round(firstByteMs),
    client_address: exchange.clientAddress || null,
  }
}
