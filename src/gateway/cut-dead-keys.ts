/** When something changed about keys: finds the calls in flight whose key is dead now, and cuts them. */
import type { AuthEvent } from '#storage/auth-events.ts'
import type { Database } from '#storage/database.ts'
import { findDeadKeys } from '#storage/grants.ts'
import type { ActiveCalls } from './active-calls.ts'

export async function cutDeadKeys(database: Database, active: ActiveCalls, event: AuthEvent): Promise<void> {
  if (event.subject_kind === 'catalogue') return
  const keys = [...active.keys()]
  const concerned = event.subject_kind === 'api_key' ? keys.filter(key => key === event.subject_id) : keys
  if (concerned.length === 0) return
  for (const key of await findDeadKeys(database, concerned)) active.cutKey(key)
}
