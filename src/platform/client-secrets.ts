/**
 * Client secrets. They die with the key that minted them (grants.ts reads both), and with any change to what that key may
 * do. The minting key's addresses are not theirs: it calls from a server, they are for browsers elsewhere. What the
 * organization and the project restrict holds for them as for every key.
 */
import type { clientSecrets } from '#contract/client-secrets.ts'
import { type ApiError, apiError } from '#contract/errors.ts'
import { allScopes, impliedScopes } from '#contract/scopes.ts'
import { mayDo } from '#core/access.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable } from '#core/granting.ts'
import type { ApiKeyRow } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { countClientSecrets } from '#storage/key-successors.ts'
import { change } from './change.ts'
import { conflict, existingKey, openPlace } from './existing-key.ts'
import type { Handlers } from './handler.ts'
import { keyCreated } from './key-audit.ts'
import { checkLifetime, keyPolicyOf } from './key-policy.ts'
import { readKeySettings } from './key-settings.ts'
import { mintKey } from './mint-key.ts'
import { unixSeconds } from './page.ts'

/** Of one key, alive at the same time. */
const clientSecretsMax = 10_000
const minting = 'api.client_secrets.write'

export const clientSecretHandlers: Handlers<typeof clientSecrets> = {
  create(parts, call) {
    const { grant, body } = call
    // One of a project: authenticate() refuses any other where the row says so
    const projectId = grant.projectId ?? ''
    return change(parts, call, async tx => {
      const place = await openPlace(tx, grant, projectId)
      const parent = await existingKey(tx, place, grant.keyId)
      await checkMinter(tx, parent)
      const expiresAt = new Date(parts.wallClock() + body.expires_in_seconds * 1000)
      checkLifetime(await keyPolicyOf(tx, place), expiresAt, parts.wallClock())
      const minted = await mintKey(tx, parts.secrets, {
        organizationId: place.organizationId,
        projectId: place.projectId,
        kind: parent.kind,
        ownerUserId: parent.owner_user_id,
        serviceAccountId: parent.service_account_id,
        name: `client secret of ${parent.name}`.slice(0, 200),
        ...(await readKeySettings(tx, body)),
        scopes: scopesFor(grant, body.scopes),
        allowedOrigins: originsFor(parent, body.allowed_origins),
        allowedModels: modelsFor(parent, body.allowed_models),
        expiresAt,
        budgetKeyId: grant.budgetKeyId,
        mintedBy: parent.id,
      })
      const row = await existingKey(tx, place, minted.id)
      return {
        answer: { ...showSecret(row, expiresAt), value: minted.value },
        audit: [keyCreated(row, place.project)],
        // Nobody can have asked for it before it was made, so no node remembers anything that has changed; and events at
        // the pace of page views would keep every node from remembering
        affects: [],
      }
    })
  },
}

async function checkMinter(tx: Queryable, parent: ApiKeyRow): Promise<void> {
  if (parent.minted_by !== null) throw cannotMint()
  if ((await countClientSecrets(tx, parent.id, clientSecretsMax)) >= clientSecretsMax) {
    throw conflict(
      `The API key has ${clientSecretsMax} client secrets that live. Let them live shorter with expires_in_seconds, or ` +
        'mint one for a visitor and not for a page view.',
    )
  }
}

const cannotMint = (): ApiError =>
  conflict('A client secret mints no others. Mint on the server, with the key that is kept there.')

function scopesFor(grant: Grant, asked: readonly string[] | undefined): readonly string[] {
  const scopes = asked ?? callingModels(grant)
  if (scopes.length === 0) throw nothingLeft()
  if (impliedScopes(scopes).includes(minting)) throw cannotMint()
  requireGrantable(grant, scopes)
  return scopes
}

/** All endpoints, or those that the minting key has. */
function callingModels(grant: Grant): readonly string[] {
  if (mayDo(grant, 'model.request')) return ['model.request']
  return allScopes.filter(scope => scope.startsWith('model.request.') && mayDo(grant, scope))
}

const nothingLeft = (): ApiError =>
  apiError('invalid_parameter', {
    param: 'scopes',
    message: 'This key may not call models, so send scopes: what of its own the client secret may do.',
    code: 'missing_required_parameter',
  })

function originsFor(parent: ApiKeyRow, asked: readonly string[] | undefined): readonly string[] {
  if (asked === undefined || asked.length === 0) return parent.allowed_origins
  const index = asked.findIndex(origin => !covered(parent.allowed_origins, origin))
  if (index >= 0) throw notCovered('allowed_origins', index, asked[index] ?? '')
  return [...new Set(asked)]
}

/** Is this pattern one of the list's, or below one of its `*.`? */
const covered = (patterns: readonly string[], origin: string): boolean =>
  patterns.length === 0 ||
  patterns.some(pattern => pattern === origin || (pattern.startsWith('*.') && origin.endsWith(pattern.slice(1))))

function modelsFor({ allowed_models: own }: ApiKeyRow, asked: readonly string[] | undefined): readonly string[] {
  if (asked === undefined || asked.length === 0) return own
  const index = own.length === 0 ? -1 : asked.findIndex(model => !own.includes(model))
  if (index >= 0) throw notCovered('allowed_models', index, asked[index] ?? '')
  return [...new Set(asked)]
}

const notCovered = (list: 'allowed_origins' | 'allowed_models', index: number, entry: string): ApiError =>
  apiError('invalid_parameter', {
    param: `${list}[${index}]`,
    message: `'${entry}' is not on the list ${list} of the key that mints. A client secret may do no more than its key.`,
    code: 'invalid_value',
  })

const showSecret = (row: ApiKeyRow, expiresAt: Date) => ({
  object: 'client_secret' as const,
  id: row.id as string,
  created_at: unixSeconds(row.created_at),
  expires_at: unixSeconds(expiresAt),
  scopes: row.scopes,
  allowed_cidrs: row.allowed_cidrs,
  allowed_origins: row.allowed_origins,
  allowed_models: row.allowed_models,
})
