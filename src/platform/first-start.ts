/** The very first start: an organization, its owner, a project, three keys and some credit. Once, whoever starts first. */
import { newId, type OrganizationId } from '#contract/ids.ts'
import { creditPriorities } from '#core/credit.ts'
import type { NanoUsd } from '#core/money.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import { grantCredit } from '#storage/credits.ts'
import type { Database, Queryable } from '#storage/database.ts'
import { insertOrganization, insertUser, lockFirstStart } from '#storage/organizations.ts'
import { insertProject } from '#storage/projects.ts'
import type { Secrets } from '#storage/secrets.ts'
import { mintKey } from './mint-key.ts'

/** The keys are here and nowhere else: whoever gets this shows them once. */
export type FirstStart = {
  readonly organizationId: OrganizationId
  readonly organizationName: string
  readonly adminKey: string
  readonly projectKey: string
  readonly testKey: string
}

export type FirstStartParts = {
  readonly database: Database
  readonly secrets: Secrets
  /** May be nothing. */
  readonly firstCreditUsd: NanoUsd
}

const organizationName = 'My organization'

/** Undefined when there is an organization already. */
export function firstStart(parts: FirstStartParts): Promise<FirstStart | undefined> {
  return parts.database.transaction(async tx => ((await lockFirstStart(tx)) ? begin(tx, parts) : undefined))
}

async function begin(tx: Queryable, { secrets, firstCreditUsd }: FirstStartParts): Promise<FirstStart> {
  const organizationId = newId('organization')
  const ownerUserId = newId('user')
  await insertOrganization(tx, { id: organizationId, name: organizationName, isOperator: true })
  await insertUser(tx, { id: ownerUserId, organizationId, name: 'Owner', role: 'owner' })
  const project = await insertProject(tx, { id: newId('project'), organizationId, name: 'Default project' })
  await giveFirstCredit(tx, organizationId, firstCreditUsd)
  const owned = { organizationId, ownerUserId }
  const admin = { ...owned, projectId: null, kind: 'admin', name: 'First admin key' } as const
  const live = { ...owned, projectId: project.id, kind: 'project', name: 'First project key' } as const
  const test = { ...owned, projectId: project.id, kind: 'test', name: 'First test key' } as const
  const [adminKey, projectKey, testKey] = [
    (await mintKey(tx, secrets, admin)).value,
    (await mintKey(tx, secrets, live)).value,
    (await mintKey(tx, secrets, test)).value,
  ]
  await recordAuthEvent(tx, 'organization', organizationId)
  return { organizationId, organizationName, adminKey, projectKey, testKey }
}

async function giveFirstCredit(tx: Queryable, organizationId: OrganizationId, amount: NanoUsd): Promise<void> {
  if (amount === 0n) return
  await grantCredit(tx, {
    id: newId('credit_grant'),
    organizationId,
    kind: 'free',
    amount,
    priority: creditPriorities.free,
    expiresAt: null,
    reference: `first start ${organizationId}`,
    note: 'Credit of the first start',
  })
}
