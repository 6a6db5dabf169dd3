/** When something changed about keys: finds the calls in flight whose key is dead now, and cuts them. */
import { mayDo } from '#core/access.ts'
import type { Grant } from '#core/grant.ts'
import type { AuthEvent } from '#storage/auth-events.ts'
import type { Database } from '#storage/database.ts'
import { findDeadKeys } from '#storage/grants.ts'
import type { ActiveCalls } from './active-calls.ts'

const capabilities = [
  'model.request.chat_completions',
  'model.request.completions',
  'model.request.embeddings',
] as const

/** What would be refused were it to begin now is cut. Addresses were checked when it began, and do not change. */
const mayGoOn = (grant: Grant, nowMs: number): boolean =>
  grant.state === 'active' &&
  grant.projectActive &&
  (grant.expiresAtMs === null || grant.expiresAtMs > nowMs) &&
  capabilities.some(scope => mayDo(grant, scope))

export async function cutDeadKeys(
  database: Database,
  active: ActiveCalls,
  event: AuthEvent,
  nowMs: number,
): Promise<void> {
  if (event.subject_kind === 'catalogue') return
  const keys = [...active.keys()]
  const concerned = event.subject_kind === 'api_key' ? keys.filter(key => key === event.subject_id) : keys
  if (concerned.length === 0) return
  const dead = await findDeadKeys(database, concerned, grant => mayGoOn(grant, nowMs))
  for (const key of dead) active.cutKey(key)
}
