/** Budgets of keys: set, shown and audited here; the gateways hold calls to them. */

import type { z } from 'zod'
import { apiError } from '#contract/errors.ts'
import type { ApiKeyId } from '#contract/ids.ts'
import type { budgetInput, keyBudgets } from '#contract/key-budgets.ts'
import { formatUsd, largerUsd, nanoUsd, zeroUsd } from '#core/money.ts'
import type { ApiKeyRow } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { deleteKeyBudget, type KeyBudget, lockBudgets, readKeyBudget, setKeyBudget } from '#storage/key-budgets.ts'
import { readSpendWindow } from '#storage/spend-windows.ts'
import { readUsd } from './amounts.ts'
import type { AuditEntry } from './audit-entry.ts'
import { type Change, change } from './change.ts'
import { changeableKey, existingKey, type ProjectPlace, placeOf } from './existing-key.ts'
import type { Handlers } from './handler.ts'
import { unixSeconds } from './page.ts'

export const keyBudgetHandlers: Handlers<typeof keyBudgets> = {
  async retrieve({ database }, { grant, params }) {
    const key = await existingKey(database, await placeOf(database, grant, params.project_id), params.key_id)
    const budget = await readKeyBudget(database, firstOf(key))
    if (!budget) throw apiError('not_found', { what: 'budget: none is set for this key' })
    return showBudget(database, key, budget)
  },

  update(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      await lockBudgets(tx)
      const place = await placeOf(tx, grant, params.project_id)
      const key = await changeableKey(tx, place, params.key_id, parts.wallClock())
      const budget = readBudget(body)
      await setKeyBudget(tx, key.id, budget)
      return {
        answer: await showBudget(tx, key, budget),
        audit: [budgetChanged(place, key, budget)],
        affects: spendersOf(place, key),
      }
    })
  },

  delete(parts, call) {
    const { grant, params } = call
    return change(parts, call, async tx => {
      await lockBudgets(tx)
      const place = await placeOf(tx, grant, params.project_id)
      const key = await changeableKey(tx, place, params.key_id, parts.wallClock())
      const deleted = await deleteKeyBudget(tx, firstOf(key))
      return {
        answer: { object: 'organization.project.api_key.budget.deleted', key_id: key.id, deleted },
        audit: [budgetChanged(place, key, null)],
        affects: spendersOf(place, key),
      }
    })
  },
}

export const readBudget = ({ limit_usd, period }: z.output<typeof budgetInput>): KeyBudget => ({
  limit: readUsd(limit_usd),
  period,
})

const firstOf = ({ budget_key_id: first, id }: ApiKeyRow): ApiKeyId => first ?? id

/**
 * All that spend it are keys of the project: what replaced the key, what sleeps behind it, and the client secrets that they
 * mint. The first key by itself is the name of the account, whereupon nodes hand back what they have leased of it.
 */
const spendersOf = ({ projectId }: ProjectPlace, key: ApiKeyRow): Change<unknown>['affects'] => [
  ['project', projectId],
  ['api_key', firstOf(key)],
]

export const budgetChanged = ({ project }: ProjectPlace, { id }: ApiKeyRow, set: KeyBudget | null): AuditEntry => ({
  type: 'api_key.updated',
  project,
  resourceId: id,
  detail: { changes_requested: { budget: set && { limit_usd: formatUsd(set.limit), period: set.period } } },
})

async function showBudget(database: Queryable, key: ApiKeyRow, { limit, period }: KeyBudget) {
  const { startsAt, endsAt, spent, leased } = await readSpendWindow(database, firstOf(key), period)
  return {
    object: 'organization.project.api_key.budget' as const,
    key_id: key.id as string,
    shared_from: firstOf(key) as string,
    limit_usd: formatUsd(limit),
    period,
    spent_usd: formatUsd(spent),
    reserved_usd: formatUsd(leased),
    remaining_usd: formatUsd(largerUsd(zeroUsd, nanoUsd(limit - spent - leased))),
    starts_at: endsAt ? unixSeconds(startsAt) : null,
    resets_at: endsAt ? unixSeconds(endsAt) : null,
  }
}
