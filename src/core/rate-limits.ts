/**
 * Which limits hold for a call: those of its organization, its project and its key lie inside one another, and all hold.
 */
import type { Grant } from './grant.ts'
import {
  type Dimension,
  dimensionNames,
  dimensions,
  type EveryLimit,
  type Limits,
  type LimitsByModel,
  type ScopeLimits,
  tighter,
} from './limit-dimensions.ts'
import { limitsOfTier, rowsOfTier } from './usage-tiers.ts'

export type Level = 'organization' | 'project' | 'key'

/** One limit that a call is counted against. */
export type LimitRule = {
  readonly counter: string
  readonly limit: number
  readonly periodMs: number
  readonly dimension: Dimension
  readonly level: Level
  /** Whose limit it is. */
  readonly scope: string
}

/** What was set for a model: its own row over the one of all models. */
export const limitsSet = (set: LimitsByModel, model: string): Limits =>
  set.size === 0 ? none : { ...set.get('*'), ...set.get(model) }
const none: Limits = {}

type Holder = Pick<
  Grant,
  | 'kind'
  | 'organizationId'
  | 'projectId'
  | 'budgetKeyId'
  | 'usageTier'
  | 'organizationLimits'
  | 'ownerLimits'
  | 'projectLimits'
  | 'keyLimits'
>

type OrganizationHolder = Pick<Holder, 'usageTier' | 'organizationLimits' | 'ownerLimits'>

/**
 * Whatever is not set for an organization is what its tier gives, or the settings where it has none; and its owner may have
 * set less. A project and a key have only what is set for them. Test keys spend nothing: their calls are counted apart, and no tier concerns them.
 */
export function organizationLimits(
  { kind, usageTier, organizationLimits: set, ownerLimits }: OrganizationHolder & Pick<Holder, 'kind'>,
  model: string,
  defaults: ScopeLimits,
): EveryLimit {
  const base = usageTier === null || kind === 'test' ? defaults : limitsOfTier(usageTier, model)
  return tighter({ ...base, ...limitsSet(set, model) }, limitsSet(ownerLimits, model))
}

/**
 * The tightest that hold for any model without a row of its own: a row of all models stands above each row of the tier, so
 * one that is within these raises nothing.
 */
export function organizationLimitsOfAll(
  { usageTier, organizationLimits: set, ownerLimits }: OrganizationHolder,
  defaults: ScopeLimits,
): EveryLimit {
  const rows = usageTier === null ? [] : rowsOfTier(usageTier)
  const base = rows.reduce<EveryLimit | undefined>((least, [, limits]) => tighter(limits, least ?? {}), undefined)
  return tighter({ ...(base ?? defaults), ...set.get('*') }, ownerLimits.get('*') ?? none)
}

/** All limits that hold for the calls of a key to a model. */
export function rulesOf(grant: Holder, model: string, defaults: ScopeLimits): LimitRule[] {
  const levels: readonly (readonly [Level, string | null, Limits])[] = [
    ['organization', grant.organizationId, organizationLimits(grant, model, defaults)],
    ['project', grant.projectId, limitsSet(grant.projectLimits, model)],
    ['key', grant.budgetKeyId, limitsSet(grant.keyLimits, model)],
  ]
  const apart = grant.kind === 'test' ? 'test ' : ''
  return levels.flatMap(([level, scope, limits]) =>
    dimensionNames.flatMap(dimension => {
      const limit = limits[dimension]
      if (limit === undefined || scope === null) return []
      const { periodMs } = dimensions[dimension]
      return [{ counter: `${apart}${scope} ${model} ${dimension}`, limit, periodMs, dimension, level, scope }]
    }),
  )
}
