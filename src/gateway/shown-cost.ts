/**
 * What a call cost, told with its answer: as headers of a whole answer, and before the end of a stream, whose headers have
 * long left, as a comment that SSE clients pass over; that one only for those who send `x-keyhouse-cost: true`.
 */
import { formatUsd, type NanoUsd } from '#core/money.ts'
import type { Answer } from './answer.ts'
import type { Call } from './call.ts'
import type { Hold } from './wallets.ts'

export function showCost({ exchange }: Call, answer: Answer, hold: Hold, charged: NanoUsd): Answer {
  const remaining = hold.remaining()
  const cost = formatUsd(charged)
  const left = remaining === undefined ? undefined : formatUsd(remaining)
  if (answer.head) {
    answer.head['x-keyhouse-cost-usd'] = cost
    if (left !== undefined) answer.head['x-keyhouse-budget-remaining-usd'] = left
    return answer
  }
  if (exchange.headers['x-keyhouse-cost'] !== 'true') return answer
  const comment = `: cost_usd=${cost}${left === undefined ? '' : ` budget_remaining_usd=${left}`}\n\n`
  return { ...answer, tail: Buffer.concat([Buffer.from(comment), answer.tail]) }
}
