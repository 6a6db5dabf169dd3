/** When something changed about keys: cuts those of their calls in flight that would be refused were they to begin now. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, apiError } from '#contract/errors.ts'
import type { ApiKeyId } from '#contract/ids.ts'
import { checkLife, requireScope } from '#core/access.ts'
import type { Grant } from '#core/grant.ts'
import type { AuthEvent } from '#storage/auth-events.ts'
import type { Database } from '#storage/database.ts'
import { findGrants } from '#storage/grants.ts'
import type { ActiveCalls, CallNeeds } from './active-calls.ts'
import { requireModel, requireProject } from './authorize.ts'

/** The change has been heard of, so nobody will tell again: a read that fails is made again, for about ten seconds. */
const readsMax = 40
const againMs = 250

/** Where a call came from, and what it asked for besides its model, was checked when it began, and does not cut it later. */
function checkAgain(grant: Grant, nowMs: number, { scope, model }: CallNeeds): void {
  checkLife(grant, nowMs)
  requireProject(grant)
  requireScope(grant, scope)
  if (model) requireModel(grant, model)
}

function refusalOf(grant: Grant | undefined, nowMs: number, needs: CallNeeds): ApiError | undefined {
  if (!grant) return apiError('key_revoked', { redacted: 'of this call' })
  try {
    checkAgain(grant, nowMs, needs)
    return undefined
  } catch (error) {
    if (error instanceof ApiError) return error
    throw error
  }
}

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
  const grants = await readGrants(database, concerned)
  for (const key of concerned) {
    const grant = grants.get(key)
    active.judge(key, needs => refusalOf(grant, nowMs, needs), grant)
  }
}

async function readGrants(database: Database, keys: readonly ApiKeyId[]): Promise<Map<ApiKeyId, Grant>> {
  for (let read = 1; ; read += 1) {
    try {
      return await findGrants(database, keys)
    } catch (error) {
      if (read === readsMax) throw error
      await sleep(againMs, undefined, { ref: false })
    }
  }
}
