/**
 * What comes with Keyhouse: the models that run inside it, and the deterministic ones for tests. Looked at on every
 * start; each model is offered once, and what the operator has changed or removed since stays changed or removed.
 */
import { newId, type ProviderId } from '#contract/ids.ts'
import type { ModelKind } from '#core/catalogue.ts'
import { parseUsd } from '#core/money.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import type { Database, Queryable } from '#storage/database.ts'
import { findModel, lockCatalogue, setRoutes, upsertModel } from '#storage/models.ts'
import { insertPrices, type PriceDraft, wasPricedBy } from '#storage/prices.ts'
import { ensureProvider } from '#storage/providers.ts'
import { kindOf, type LocalModel, localProvider, testProvider } from './local-models.ts'
import { builtinSource } from './price-sources.ts'

export type Builtins = {
  readonly database: Database
  readonly localModels: readonly Pick<LocalModel, 'name' | 'kind' | 'contextTokensMax' | 'outputTokensMax'>[]
  readonly fakeModels: Readonly<Record<string, { readonly kind: 'chat' | 'embedding' }>>
}

type BuiltinModel = {
  readonly name: string
  readonly kind: ModelKind
  readonly providerId: ProviderId
  readonly contextTokensMax?: number
  readonly outputTokensMax?: number | undefined
  readonly price: PriceDraft
}

const ownedBy = 'keyhouse'

const price = (input: string, output: string): PriceDraft => ({
  input: parseUsd(input),
  cachedInput: parseUsd(input),
  output: parseUsd(output),
})

/** Dollars per million tokens. Nominal: electricity is what they cost, but money that moves can be seen to be right. */
const localPrices: Readonly<Record<string, PriceDraft>> = {
  'tinyllama-1.1b-chat': price('0.02', '0.04'),
  'all-minilm-l6-v2': price('0.01', '0'),
}
const testPrices: Readonly<Record<'chat' | 'embedding', PriceDraft>> = {
  chat: price('0.15', '0.60'),
  embedding: price('0.02', '0'),
}

export async function ensureBuiltins({ database, localModels, fakeModels }: Builtins): Promise<void> {
  await database.transaction(async tx => {
    await lockCatalogue(tx)
    const local = await ensureProvider(tx, { id: newId('provider'), name: localProvider, adapter: localProvider })
    const fake = await ensureProvider(tx, { id: newId('provider'), name: testProvider, adapter: testProvider })
    const builtin = [...localModels.flatMap(model => localModel(model, local)), ...testModels(fakeModels, fake)]
    let news = 0
    for (const model of builtin) news += await offerOnce(tx, model)
    if (news > 0) await recordAuthEvent(tx, 'catalogue', '')
  })
}

/** A model without a price here was brought by the operator, who sets one. */
function localModel(model: Builtins['localModels'][number], providerId: ProviderId): BuiltinModel[] {
  const nominal = localPrices[model.name]
  if (!nominal) return []
  const { name, contextTokensMax, outputTokensMax } = model
  // An embedding model has no output, and the table takes no zero
  return [
    {
      name,
      kind: kindOf(model),
      providerId,
      contextTokensMax,
      outputTokensMax: outputTokensMax || undefined,
      price: nominal,
    },
  ]
}

const testModels = (fakeModels: Builtins['fakeModels'], providerId: ProviderId): BuiltinModel[] =>
  Object.entries(fakeModels).map(([name, { kind }]) => ({ name, kind, providerId, price: testPrices[kind] }))

async function offerOnce(tx: Queryable, model: BuiltinModel): Promise<0 | 1> {
  const { name, providerId } = model
  if ((await wasPricedBy(tx, name, builtinSource)) || (await findModel(tx, name))) return 0
  await upsertModel(tx, { ...model, ownedBy })
  await setRoutes(tx, name, [{ providerId, upstreamModel: name }])
  await insertPrices(tx, name, [model.price], builtinSource)
  return 1
}
