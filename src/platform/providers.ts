/** Providers: adding one brings its models and their prices; the credential is sealed and never shown again. */
import { apiError } from '#contract/errors.ts'
import { newId } from '#contract/ids.ts'
import type { providers } from '#contract/providers.ts'
import type { Queryable } from '#storage/database.ts'
import { dropRoutes } from '#storage/models.ts'
import { deleteProvider, findProvider, listProviders, type ProviderRow, upsertProvider } from '#storage/providers.ts'
import { type Secrets, seal, unseal } from '#storage/secrets.ts'
import { readBaseUrl } from './base-url.ts'
import { changeCatalogue } from './catalogue-change.ts'
import type { Upstream } from './discover-models.ts'
import type { Call, Handlers } from './handler.ts'
import { isBuiltin } from './local-models.ts'
import { toList, unixSeconds } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { chooseModels, saveModels } from './provider-models.ts'

type CreateBody = Call<typeof providers.create>['body']

export const providerHandlers: Handlers<typeof providers> = {
  async list({ database }, { query }) {
    return toList(await listProviders(database, query), toProvider, row => row.id)
  },

  /** The provider is asked for its models before anything is written, so that no transaction waits for a stranger. */
  async create(parts, call) {
    const { body } = call
    const known = await findProvider(parts.database, body.name)
    const upstream = upstreamOf(parts.secrets, body, known)
    const models = await chooseModels(upstream, body)
    return changeCatalogue(parts, call, async tx => {
      const id = await saveUpstream(tx, parts, upstream)
      await saveModels(tx, { id, name: upstream.name }, models)
      const row = await existing(tx, id)
      return { answer: toProvider(row), requested: { provider: requestedOf(row, body) } }
    })
  },

  async retrieve({ database }, { params }) {
    return toProvider(await existing(database, params.provider))
  },

  async delete(parts, call) {
    return changeCatalogue(parts, call, async tx => {
      const { id, name } = await existing(tx, call.params.provider)
      if (isBuiltin(name)) throw builtIn(name)
      await dropRoutes(tx, id, [])
      await deleteProvider(tx, id)
      return {
        answer: { id, object: 'platform.provider.deleted' as const, deleted: true as const },
        requested: { provider: { id, name, deleted: true } },
      }
    })
  },
}

/** What the audit log says of it: that there is a new credential, and never which. */
const requestedOf = ({ id, name, base_url, models }: ProviderRow, body: CreateBody) => ({
  id,
  name,
  base_url,
  credential_replaced: body.api_key !== undefined,
  models,
})

/** What the body leaves out stays as it was. */
function upstreamOf(secrets: Secrets, body: CreateBody, known: ProviderRow | undefined): Upstream {
  const { name, api_key: given } = body
  if (isBuiltin(name)) throw builtIn(name)
  const baseUrl = readBaseUrl(body.base_url ?? known?.base_url ?? undefined, name)
  const kept = known?.credential_sealed
  if (given === undefined && kept && baseUrl !== known.base_url) throw credentialWanted()
  const credential = given ?? (kept ? unseal(secrets, kept, known.id) : null)
  return { name, baseUrl, credential }
}

async function saveUpstream(tx: Queryable, { secrets }: PlatformParts, { name, baseUrl, credential }: Upstream) {
  const id = (await findProvider(tx, name))?.id ?? newId('provider')
  await upsertProvider(tx, {
    id,
    name,
    adapter: 'openai-compatible',
    baseUrl,
    credentialSealed: credential === null ? null : seal(secrets, credential, id),
    credentialHint: credential === null ? null : hintOf(credential),
  })
  return id
}

const hintCharacters = 4
/** Of less than this, four characters would give too much away. */
const hintedLengthMin = 16

const hintOf = (credential: string): string =>
  credential.length < hintedLengthMin ? '…' : `…${credential.slice(-hintCharacters)}`

async function existing(database: Queryable, idOrName: string): Promise<ProviderRow> {
  const row = await findProvider(database, idOrName)
  if (!row) throw apiError('not_found', { what: 'provider' })
  return row
}

const builtIn = (name: string): Error =>
  apiError('conflict', { message: `The provider \`${name}\` is built in: it can be neither changed nor removed.` })

/** Else whoever may change an address could have the credential sent to their own. */
const credentialWanted = (): Error =>
  apiError('invalid_parameter', {
    param: 'api_key',
    message: "Send 'api_key' too: the credential that is on record was given for another base_url.",
  })

const toProvider = (row: ProviderRow) => ({
  object: 'platform.provider' as const,
  id: row.id as string,
  name: row.name,
  adapter: row.adapter,
  base_url: row.base_url,
  credential_hint: row.credential_hint,
  models: row.models,
  unpriced_models: row.unpriced_models,
  created_at: unixSeconds(row.created_at),
})
