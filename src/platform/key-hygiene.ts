/** The hygiene report: a table of habits, each with how it is seen and what mends it. */
import { type HygieneReason, hygieneReasons, type keyHygiene } from '#contract/key-hygiene.ts'
import { mayDo } from '#core/access.ts'
import { type KeyHabits, listKeyHabits } from '#storage/key-hygiene.ts'
import type { Handlers } from './handler.ts'

const idleDays = 90
const networksMax = 10
const dayMs = 86_400_000

export const keyHygieneHandlers: Handlers<typeof keyHygiene> = {
  async list({ database, wallClock }, { grant, query: { after, limit } }) {
    const now = new Date(wallClock())
    const adminKeysToo = mayDo(grant, 'api.organization.admin_api_keys.read')
    const { rows, hasMore } = await listKeyHabits(database, grant.organizationId, { now, adminKeysToo, after, limit })
    return {
      object: 'list',
      data: rows.flatMap(key => findingsOf(key, now)),
      has_more: hasMore,
      next: hasMore ? (rows.at(-1)?.id ?? null) : null,
    }
  },
}

type Habit = {
  /** Undefined where the key has not this habit. */
  readonly proof: (key: KeyHabits, now: Date) => string | undefined
  readonly mend: (key: KeyHabits) => string
}

const day = (time: Date): string => time.toISOString().slice(0, 10)
const isAdmin = ({ kind }: KeyHabits): boolean => kind === 'admin'
const replaceAdmin = 'Create a narrower or shorter-lived one with `keyhouse keys create --admin`, then revoke this.'

const habits: Readonly<Record<HygieneReason, Habit>> = {
  leaked: {
    proof: ({ leaked_at: at, leaked_from: from, disabled }) =>
      at === null ? undefined : `reported on ${day(at)}: ${from}${disabled ? '; it is disabled' : '; it works again'}`,
    mend: key => (isAdmin(key) ? `keyhouse keys revoke ${key.id}` : `keyhouse keys compromised ${key.id} --replace`),
  },
  owner_left: {
    proof: ({ owner_active: active }) => (active ? undefined : 'its owner is no longer a member'),
    mend: ({ id }) => `keyhouse keys revoke ${id}, or add the person to the project again`,
  },
  never_expires: {
    proof: ({ expires_at: at }) => (at === null ? 'it has no expiry' : undefined),
    mend: key => (isAdmin(key) ? replaceAdmin : `keyhouse keys update ${key.id} --expires 90d`),
  },
  idle: {
    proof: ({ last_used_at: used, created_at: created }, now) => {
      if (now.getTime() - (used ?? created).getTime() < idleDays * dayMs) return undefined
      return used === null ? `never used since ${day(created)}` : `last used on ${day(used)}`
    },
    mend: ({ id }) => `keyhouse keys revoke ${id}`,
  },
  all_permissions: {
    proof: ({ scopes, kind }) => (scopes.length === 0 && kind !== 'test' ? 'its permissions are All' : undefined),
    mend: key => (isAdmin(key) ? replaceAdmin : `keyhouse keys update ${key.id} --scopes model.request`),
  },
  no_limit: {
    proof: ({ limited, kind }) =>
      limited || kind === 'admin' || kind === 'test'
        ? undefined
        : 'neither a spend limit nor rate limits were set for its project',
    mend: ({ project_id: project }) => `keyhouse spend-limit set 50 --project ${project}`,
  },
  many_networks: {
    proof: ({ networks }) =>
      networks < networksMax ? undefined : `used from ${networks} networks (/24 or /48) in the last 30 days`,
    mend: key => `keyhouse keys update ${key.id} --cidr BLOCK, or keyhouse keys rotate ${key.id}`,
  },
}

function findingsOf(key: KeyHabits, now: Date) {
  // keys() forgets that these are the keys of the table
  const reasons = Object.keys(hygieneReasons) as HygieneReason[]
  return reasons.flatMap(reason => {
    const proof = habits[reason].proof(key, now)
    // What is disabled can do no harm; that it was leaked is why, and still to be settled
    if (proof === undefined || (key.disabled && reason !== 'leaked')) return []
    return [
      { object: 'organization.key_finding' as const, reason, key: show(key), proof, mend: habits[reason].mend(key) },
    ]
  })
}

const show = ({ id, name, redacted, kind, project_id: project, project_name: projectName }: KeyHabits) => ({
  id,
  name,
  redacted_value: redacted,
  kind,
  project: project && { id: project, name: projectName ?? '' },
})
