/**
 * Verb seven. The usage is on disk before this resolves, to what the caller is charged; then the hold is posted and its remainder is free again. Exactly
 * once, whatever happens. When the disk refuses, the hold stays: money is never given back for what was used.
 */
import { apiError } from '#contract/errors.ts'
import { type NanoUsd, nanoUsd, smallerUsd } from '#core/money.ts'
import { costOf } from '#core/pricing.ts'
import { usageMembers } from '#core/usage.ts'
import type { UsageRecord } from '#storage/usage.ts'
import { uuidv7 } from '#storage/uuid.ts'
import type { Admission } from './admit.ts'
import type { Answer } from './answer.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'
import type { Metered } from './meter.ts'
import type { Hold } from './wallets.ts'

export async function settle(
  gateway: Gateway,
  call: Call,
  admission: Admission,
  answer: Answer,
  metered: Metered,
): Promise<NanoUsd> {
  const cost = costOf(call.price, metered.usage)
  const charged = smallerUsd(cost, admission.hold.amount)
  const record = usageRecord(gateway, call, answer, metered, {
    charged,
    overrun: cost - charged,
    hold: admission.hold,
  })
  try {
    await gateway.journal.append(record)
  } catch (cause) {
    throw apiError('storage_full', { what: 'its disk cannot be written' }, { cause })
  }
  admission.hold.settle(nanoUsd(charged))
  admission.limits.settle(metered.usage.inputTokens + metered.usage.outputTokens)
  gateway.metrics.settled(record)
  return nanoUsd(charged)
}

/** Gives back what a call took that used nothing: the hold, and the tokens, but not the request. */
export function release({ hold, limits }: Admission): void {
  hold.release()
  limits.release()
}

type Charged = { readonly charged: bigint; readonly overrun: bigint; readonly hold: Hold }

function usageRecord(
  gateway: Gateway,
  { exchange, grant, model, endpoint, price, beganAtMs }: Call,
  { target, outcome, firstByteMs }: Answer,
  { usage, estimated }: Metered,
  { charged, overrun, hold }: Charged,
): UsageRecord {
  return {
    id: uuidv7(gateway.wallClock()),
    // When it began: that decides the period whose spend limits it was held against
    occurred_at: new Date(beganAtMs).toISOString(),
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
    ...usageMembers(usage),
    price_id: price.id === '' ? null : price.id,
    lease_id: hold.creditLease,
    ...(hold.limitLeases.length > 0 && { limit_lease_ids: hold.limitLeases }),
    charged_nano_usd: charged.toString(),
    overrun_nano_usd: overrun.toString(),
    duration_ms: Math.round(gateway.now() - exchange.startedAtMs),
    first_byte_ms: firstByteMs === null ? null : Math.round(firstByteMs),
    client_address: exchange.clientAddress || null,
  }
}
