/**
 * A dry run: what a request would be held for, without sending it. Asked for with the header `x-keyhouse-dry-run: true`.
 * It holds nothing, counts against no limit and is not recorded.
 */
import { apiError } from '#contract/errors.ts'
import { formatUsd } from '#core/money.ts'
import { costOf, mostItCanCost } from '#core/pricing.ts'
import { boundOf, estimateInput } from './admit.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'

/** @throws ApiError for another word than true or false: whoever meant a dry run must not pay for a call */
export function isDryRun({ exchange }: Call): boolean {
  const { 'x-keyhouse-dry-run': said = 'false' } = exchange.headers
  if (said === 'true' || said === 'false') return said === 'true'
  const message = "The header x-keyhouse-dry-run is 'true' or 'false'. Nothing was sent to a provider."
  throw apiError('invalid_parameter', { param: 'x-keyhouse-dry-run', message, code: 'invalid_value' })
}

export function answerDryRun(gateway: Gateway, call: Call): void {
  const { exchange, model, price } = call
  const bound = boundOf(gateway, call)
  const inputTokens = estimateInput(call)
  const input = { inputTokens, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const answer = {
    object: 'keyhouse.dry_run',
    model: model.name,
    price_id: price.id === '' ? null : price.id,
    // Every byte of the request can be a token; the output is what max_tokens, or the model, allows
    most_usd: formatUsd(mostItCanCost(price, bound)),
    input_tokens_max: bound.inputTokensMax,
    output_tokens_max: bound.outputTokensMax,
    estimated_input_tokens: inputTokens,
    estimated_input_usd: formatUsd(costOf(price, input)),
  }
  exchange.start(200, { 'content-type': 'application/json' })
  exchange.end(JSON.stringify(answer))
}
