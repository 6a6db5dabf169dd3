/** Which models there are, what they cost and who serves them: small, so every node keeps all of it in memory. */
import type { ProviderId } from '#contract/ids.ts'
import type { DatedPrice } from './price.ts'

export type ModelKind = 'chat' | 'completion' | 'embedding'

/** One way to reach a model: a provider, and the name that the model has there. */
export type Target = {
  readonly providerId: ProviderId
  readonly providerName: string
  readonly adapter: string
  readonly baseUrl: string | null
  /** Null for providers that need none. */
  readonly credential: string | null
  readonly upstreamModel: string
}

export type Model = {
  readonly name: string
  readonly kind: ModelKind
  readonly ownedBy: string
  readonly createdAt: number
  readonly contextTokensMax: number | null
  readonly outputTokensMax: number | null
  /** In force and later ones; priceAt finds the one to charge by. Empty: nobody has set one. */
  readonly prices: readonly DatedPrice[]
  /** In the order in which they are tried. */
  readonly targets: readonly Target[]
}

export type Catalogue = {
  readonly models: ReadonlyMap<string, Model>
  readonly aliases: ReadonlyMap<string, string>
}

export const emptyCatalogue: Catalogue = { models: new Map(), aliases: new Map() }

/** The model of that name, or the one that the alias stands for. */
export function findModel(catalogue: Catalogue, name: string): Model | undefined {
  return catalogue.models.get(name) ?? catalogue.models.get(catalogue.aliases.get(name) ?? '')
}
