/**
 * Prices of well-known providers, from a table that is bundled with Keyhouse: nothing is fetched. Read when a provider
 * is added and copied into dated rows of ours, so that a new version of the table changes nobody's bill by itself.
 */
import { parseUsd } from '#core/money.ts'
import type { PriceDraft } from '#storage/models.ts'

export type PriceLookup = (model: string) => PriceDraft | undefined

/** Loaded on demand: the table is large, and a server may never add a provider. */
export async function knownPrices(provider: { name: string; baseUrl: string }): Promise<PriceLookup> {
  const { calcPrice, findProvider } = await import('@pydantic/genai-prices')
  const known = findProvider({ providerApiUrl: provider.baseUrl }) ?? findProvider({ providerId: provider.name })
  if (!known) return () => undefined
  return model => toPrice(calcPrice({}, model, { provider: known })?.model_price)
}

type ListedPrice = number | { readonly base: number } | undefined

/** A model that is not sold by tokens alone, both in and out, has no price that we could charge by. */
function toPrice(listed: Record<string, ListedPrice> | undefined): PriceDraft | undefined {
  const input = perMillion(listed?.input_mtok)
  if (input === undefined) return undefined
  return {
    input,
    cachedInput: perMillion(listed?.cache_read_mtok) ?? input,
    // Embeddings have no output
    output: perMillion(listed?.output_mtok) ?? parseUsd('0'),
  }
}

/** Of a price in tiers the base: the dearer tiers are for contexts longer than most calls ever are. */
function perMillion(price: ListedPrice) {
  if (price === undefined) return undefined
  return parseUsd((typeof price === 'number' ? price : price.base).toFixed(9))
}
