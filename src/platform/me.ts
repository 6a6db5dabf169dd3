/** GET /v1/me: the asking key, seen from inside. */
import type { me } from '#contract/me.ts'
import { allScopes } from '#contract/scopes.ts'
import { mayDo } from '#core/access.ts'
import { plainAddress } from '#core/address.ts'
import { type Grant, limitsFor, type ScopeLimits } from '#core/grant.ts'
import { readCredit } from '#storage/credits.ts'
import { type KeyHolder, readKeyHolder } from '#storage/key-holders.ts'
import type { Handlers } from './handler.ts'

export const meHandlers: Handlers<typeof me> = {
  async retrieve({ database, limitsDefault }, { grant, source }) {
    const [holder, credit] = await Promise.all([
      readKeyHolder(database, grant),
      readCredit(database, grant.organizationId),
    ])
    const { scopes, modelPermissions: models } = grant
    return {
      object: 'key',
      id: grant.keyId,
      kind: grant.kind,
      redacted_value: grant.redacted,
      organization: { id: grant.organizationId, name: holder.organization },
      project: grant.projectId && { id: grant.projectId, name: holder.project ?? '' },
      owner: ownerOf(grant, holder),
      permissions: permissionsOf(scopes),
      scopes: [...scopes],
      effective_scopes: allScopes.filter(scope => mayDo(grant, scope)),
      expires_at: grant.expiresAtMs === null ? null : Math.floor(grant.expiresAtMs / 1000),
      client_address: plainAddress(source.address),
      restrictions: grant.restrictions.map(({ where, cidrs, origins }) => ({
        where,
        allowed_cidrs: [...cidrs],
        allowed_origins: [...origins],
      })),
      client_certificate_required: grant.certificates.length > 0,
      model_permissions: models && { mode: models.mode, model_ids: [...models.models] },
      rate_limits: rateLimitsOf(grant, limitsDefault),
      credit_available: grant.kind === 'test' || credit.available + credit.reserved > 0n,
    }
  },
}

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

function rateLimitsOf({ organizationLimits, projectLimits }: Grant, fallback: ScopeLimits) {
  const models = new Set(['*', ...organizationLimits.keys(), ...projectLimits.keys()])
  return [...models].map(model => {
    const ours = limitsFor(organizationLimits, model, fallback)
    const own = limitsFor(projectLimits, model, fallback)
    return {
      model,
      max_requests_per_1_minute: Math.min(ours.requestsPerMinute, own.requestsPerMinute),
      max_tokens_per_1_minute: Math.min(ours.tokensPerMinute, own.tokensPerMinute),
    }
  })
}
