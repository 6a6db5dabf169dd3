/**
 * One call, from the client's bytes to the last byte of the answer: the seven verbs. Everything else in this folder is
 * one of them, or what they stand on.
 */
import { apiError } from '#contract/errors.ts'
import { CallCut } from './active-calls.ts'
import { type Admission, admit } from './admit.ts'
import type { Answer } from './answer.ts'
import { authenticate } from './authenticate.ts'
import { authorizeCall, authorizeKey } from './authorize.ts'
import type { Call } from './call.ts'
import { answerDryRun, isDryRun } from './dry-run.ts'
import type { CallEndpoint } from './endpoints/ask.ts'
import type { Exchange } from './exchange.ts'
import { forward } from './forward.ts'
import type { Gateway } from './gateway.ts'
import { meter } from './meter.ts'
import { parseBody } from './request-body.ts'
import { route } from './route.ts'
import { release, settle } from './settle.ts'
import { showCost } from './shown-cost.ts'

export async function handle(
  gateway: Gateway,
  exchange: Exchange,
  endpoint: CallEndpoint,
  pathModel: string | null,
): Promise<void> {
  if (gateway.active.count >= gateway.settings.callsMax) throw apiError('server_is_overloaded')
  const grant = authorizeKey(exchange, await authenticate(gateway, exchange), endpoint.scope)
  const { cutSwitch, uses, end } = gateway.active.begin(grant, endpoint.scope)
  exchange.onClientLeft(() => cutSwitch.cut('client_left'))
  try {
    const came = exchange.body()
    const body = parseBody(came instanceof Promise ? await came : came)
    cutSwitch.throwIfCut()
    const found = authorizeCall(gateway, { exchange, endpoint, grant, body, pathModel, cutSwitch })
    const call = found instanceof Promise ? await found : found
    uses(call.model)
    if (isDryRun(call)) answerDryRun(gateway, call)
    else await gateway.payloads.during(call, watched => answer(gateway, watched))
  } catch (error) {
    throw error instanceof CallCut ? error.told : error
  } finally {
    end()
  }
}

async function answer(gateway: Gateway, call: Call): Promise<void> {
  const admission = await admit(gateway, call)
  try {
    const answer = await routeAndForward(gateway, call, admission)
    const metered = meter(gateway, call, admission, answer)
    const charged = await settle(gateway, call, admission, answer, metered)
    finish(call.exchange, showCost(call, answer, admission.hold, charged))
  } finally {
    // Where settling failed: the call no longer runs
    admission.limits.end()
  }
}

/** A client that stopped reading must not take what it has for the whole, should it ever read on. */
function finish(exchange: Exchange, { head, tail, outcome, refusal }: Answer): void {
  if (outcome === 'client_left') return exchange.destroy()
  if (refusal) throw refusal
  if (head) exchange.start(200, head)
  exchange.end(tail)
}

/** A call that got no answer used nothing. One that got an answer is settled, and never released. */
async function routeAndForward(gateway: Gateway, call: Call, admission: Admission): Promise<Answer> {
  try {
    const targets = route(gateway, call)
    return await forward(gateway, call, admission, targets)
  } catch (error) {
    release(admission)
    throw error
  }
}
