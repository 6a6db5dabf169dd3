/** GET /v1/me: the asking key, seen from inside. */
import type { me } from '#contract/me.ts'
import { allScopes } from '#contract/scopes.ts'
import { mayDo } from '#core/access.ts'
import { plainAddress } from '#core/address.ts'
import type { Grant, Restriction } from '#core/grant.ts'
import type { ScopeLimits } from '#core/limit-dimensions.ts'
import { dimensionNames, dimensions, tighter } from '#core/limit-dimensions.ts'
import { formatUsd } from '#core/money.ts'
import { limitsSet, organizationLimits } from '#core/rate-limits.ts'
import { accountsOf, type SpendAccount } from '#core/spending.ts'
import { hasHadCredit, readCredit } from '#storage/credits.ts'
import type { Queryable } from '#storage/database.ts'
import { type KeyHolder, readKeyHolder } from '#storage/key-holders.ts'
import { readSpendWindow } from '#storage/spend-windows.ts'
import type { Handlers } from './handler.ts'
import { unixSeconds } from './page.ts'

export const meHandlers: Handlers<typeof me> = {
  async retrieve({ database, limitsDefault, wallClock }, { grant, source }) {
    const { organizationId } = grant
    const [holder, credit, billing_active, spend_limits] = await Promise.all([
      readKeyHolder(database, grant),
      readCredit(database, organizationId),
      hasHadCredit(database, organizationId),
      spendLimitsOf(database, grant, wallClock()),
    ])
    const { scopes, modelPermissions: models } = grant
    return {
      object: 'key',
      id: grant.keyId,
      kind: grant.kind,
      redacted_value: grant.redacted,
      organization: { id: grant.organizationId, name: holder.organization },
      project: grant.projectId && { id: grant.projectId, name: holder.project ?? '' },
      owner: holder.minted ? null : ownerOf(grant, holder),
      permissions: permissionsOf(scopes),
      scopes: [...scopes],
      effective_scopes: allScopes.filter(scope => mayDo(grant, scope)),
      expires_at: grant.expiresAtMs === null ? null : Math.floor(grant.expiresAtMs / 1000),
      client_address: plainAddress(source.address),
      restrictions: grant.restrictions.filter(isToldTo(holder)).map(({ where, cidrs, origins }) => ({
        where,
        allowed_cidrs: [...cidrs],
        allowed_origins: [...origins],
      })),
      client_certificate_required: grant.certificates.length > 0,
      model_permissions: models && { mode: models.mode, model_ids: [...models.models] },
      allowed_models: [...grant.allowedModels],
      rate_limits: rateLimitsOf(grant, limitsDefault),
      billing_active,
      credit_available: grant.kind === 'test' || credit.available + credit.reserved > 0n,
      spend_limits: holder.minted ? [] : spend_limits,
    }
  },
}

/** To web pages neither who is behind them, nor from where others may call, nor what is spent. */
const isToldTo =
  ({ minted }: KeyHolder) =>
  ({ where }: Restriction): boolean =>
    !minted || where === 'key'

function ownerOf({ userId, serviceAccountId }: Grant, { owner, email }: KeyHolder) {
  const name = owner ?? ''
  if (userId !== null) return { type: 'user' as const, id: userId, name, email }
  return serviceAccountId === null
    ? null
    : { type: 'service_account' as const, id: serviceAccountId, name, email: null }
}

function permissionsOf(scopes: readonly string[]): 'all' | 'read_only' | 'restricted' {
  if (scopes.length === 0) return 'all'
  return scopes.length === 1 && scopes[0] === 'api.all.read' ? 'read_only' : 'restricted'
}

/** Those that are set, the narrowest first. Admin keys make no calls, and those of test keys are free. */
async function spendLimitsOf(database: Queryable, grant: Grant, nowMs: number) {
  const { projectId } = grant
  if (projectId === null || grant.kind === 'test') return []
  const accounts = accountsOf({ ...grant, projectId }, nowMs)
  const shown = await Promise.all(accounts.map(account => spendLimitOf(database, account)))
  return shown.filter(limit => limit !== undefined)
}

async function spendLimitOf(database: Queryable, account: SpendAccount) {
  if (account.kind === 'credit') return undefined
  const { kind, scope, period } = account
  const { spent, limit, endsAt } = await readSpendWindow(database, scope, period)
  if (limit === undefined) return undefined
  return {
    where: kind,
    period,
    limit_usd: formatUsd(limit),
    spent_usd: formatUsd(spent),
    reached: spent >= limit,
    resets_at: endsAt ? unixSeconds(endsAt) : null,
  }
}

/** What holds, model by model: of the organization's, the project's and the key's limits the tightest. */
function rateLimitsOf(grant: Grant, defaults: ScopeLimits) {
  const { projectLimits, keyLimits } = grant
  const models = new Set([
    '*',
    ...grant.organizationLimits.keys(),
    ...grant.ownerLimits.keys(),
    ...projectLimits.keys(),
    ...keyLimits.keys(),
  ])
  return [...models].map(model => {
    const own = tighter(limitsSet(projectLimits, model), limitsSet(keyLimits, model))
    const limits = tighter(organizationLimits(grant, model, defaults), own)
    const shown = dimensionNames.flatMap(name =>
      limits[name] === undefined ? [] : [[dimensions[name].member, limits[name]]],
    )
    return {
      model,
      max_requests_per_1_minute: limits.requestsPerMinute,
      max_tokens_per_1_minute: limits.tokensPerMinute,
      ...Object.fromEntries(shown),
    }
  })
}
