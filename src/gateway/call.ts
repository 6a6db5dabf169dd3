/** What the seven verbs hand to one another. */

import type { Model } from '#core/catalogue.ts'
import type { Grant } from '#core/grant.ts'
import type { Price } from '#core/pricing.ts'
import type { CutSwitch } from './active-calls.ts'
import type { Ask, CallEndpoint, JsonObject } from './endpoints/ask.ts'
import type { Exchange } from './exchange.ts'

export type RequestBody = {
  readonly raw: Buffer
  readonly parsed: JsonObject
  /** A member that decides what the call costs may stand twice in `raw`, or hide behind an escape. */
  readonly isAmbiguous: boolean
}

/** A call that may be made: a known key, a model that it may use, a price. */
export type Call = {
  readonly exchange: Exchange
  /** Milliseconds since 1970. */
  readonly beganAtMs: number
  readonly endpoint: CallEndpoint
  readonly grant: Grant & { readonly projectId: NonNullable<Grant['projectId']> }
  readonly model: Model
  readonly price: Price
  readonly ask: Ask
  readonly body: RequestBody
  /** Cuts the call: the client left, the key was revoked, the server stops. */
  readonly cutSwitch: CutSwitch
}
