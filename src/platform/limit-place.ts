/** Where rate limits are set: the organization, a project of it, a key of that. Each lies inside the one before. */
import { apiError } from '#contract/errors.ts'
import type { OrganizationId } from '#contract/ids.ts'
import type { Grant } from '#core/grant.ts'
import { type EveryLimit, type LimitsByModel, tighter } from '#core/limit-dimensions.ts'
import { limitsSet, organizationLimits, organizationLimitsOfAll } from '#core/rate-limits.ts'
import type { AuthSubject } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { type LimitScope, readLimits, readOrganizationLimits } from '#storage/rate-limits.ts'
import { readTier } from '#storage/usage-tiers.ts'
import { activeProject, existing } from './active-project.ts'
import { existingKey } from './existing-key.ts'
import type { PlatformParts } from './platform.ts'

export type LimitPlace = {
  readonly level: 'organization' | 'project' | 'key'
  readonly scope: LimitScope
  /** An organization's owner sets what is beside what the operator grants. */
  readonly byOwner: boolean
  readonly project: ProjectRow | null
  readonly affects: readonly [AuthSubject, string]
  /** What holds above it, which it cannot exceed; undefined: nothing does. */
  ceiling(model: string): EveryLimit | undefined
  /** What holds for it. */
  holds(model: string): EveryLimit
}

type Asked = { readonly grant: Grant; readonly params: { readonly project_id: string } }
type AskedKey = Asked & { readonly params: { readonly key_id: string } }
type Read = Pick<PlatformParts, 'limitsDefault'> & { readonly database: Queryable }

/**
 * The asking organization, or the one that the operator's names. An owner can lower its limits, and not raise them again:
 * they are what the operator grants.
 * @throws ApiError operator_only, not_found
 */
export async function organizationPlace(
  { database, limitsDefault }: Read,
  { isOperator, organizationId }: Grant,
  named: string = organizationId,
): Promise<LimitPlace> {
  if (named !== organizationId && !isOperator) throw apiError('operator_only')
  const tier = await readTier(database, named)
  if (!tier) throw apiError('not_found', { what: 'organization' })
  const { organization_id: scope, usage_tier: usageTier } = tier
  const { holds, holdsForAll } = await holdsOf(database, { scope, usageTier, limitsDefault })
  return {
    level: 'organization',
    scope,
    byOwner: !isOperator,
    project: null,
    affects: ['organization', scope],
    ceiling: model => (isOperator ? undefined : model === '*' ? holdsForAll : holds(model)),
    holds,
  }
}

type Organization = Pick<PlatformParts, 'limitsDefault'> & Pick<Grant, 'usageTier'> & { readonly scope: OrganizationId }

async function holdsOf(database: Queryable, { scope, usageTier, limitsDefault }: Organization) {
  const { granted, byOwner } = await readOrganizationLimits(database, scope)
  const holder = { kind: 'project' as const, usageTier, organizationLimits: granted, ownerLimits: byOwner }
  return {
    holds: (model: string): EveryLimit => organizationLimits(holder, model, limitsDefault),
    holdsForAll: organizationLimitsOfAll(holder, limitsDefault),
  }
}

/** @throws ApiError not_found */
export async function projectPlace(read: Read, { grant, params }: Asked): Promise<LimitPlace> {
  return insideOf(read, grant, existing(await findProject(read.database, grant.organizationId, params.project_id)))
}

/** For a change. @throws ApiError not_found, conflict */
export async function changedProjectPlace(read: Read, { grant, params }: Asked): Promise<LimitPlace> {
  return insideOf(read, grant, await activeProject(read.database, grant, params.project_id))
}

async function insideOf(read: Read, grant: Grant, project: ProjectRow): Promise<LimitPlace> {
  const { holds: ceiling } = await organizationPlace(read, grant)
  const set = await readLimits(read.database, project.id)
  return inside({ level: 'project', scope: project.id, project, affects: ['project', project.id], ceiling }, set)
}

type Inner = Omit<LimitPlace, 'holds' | 'ceiling' | 'byOwner'> & { ceiling(model: string): EveryLimit }

const inside = (place: Inner, set: LimitsByModel): LimitPlace => ({
  ...place,
  byOwner: false,
  holds: model => tighter(place.ceiling(model), limitsSet(set, model)),
})

/** @throws ApiError not_found */
export async function keyPlace(read: Read, { grant, params }: AskedKey): Promise<LimitPlace> {
  const project = existing(await findProject(read.database, grant.organizationId, params.project_id))
  return insideProject(read, grant, project, params.key_id)
}

/** For a change. @throws ApiError not_found, conflict */
export async function changedKeyPlace(read: Read, { grant, params }: AskedKey): Promise<LimitPlace> {
  return insideProject(read, grant, await activeProject(read.database, grant, params.project_id), params.key_id)
}

/** A key's limits are those of the first of the keys that replaced one another: they share them. */
async function insideProject(read: Read, grant: Grant, project: ProjectRow, keyId: string): Promise<LimitPlace> {
  const { database } = read
  const key = await existingKey(database, { organizationId: grant.organizationId, projectId: project.id }, keyId)
  const { holds: ceiling } = await insideOf(read, grant, project)
  const scope = key.budget_key_id ?? key.id
  return inside(
    { level: 'key', scope, project, affects: ['project', project.id], ceiling },
    await readLimits(database, scope),
  )
}
