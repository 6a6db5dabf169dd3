/** A change of the catalogue: one at a time, audited in the operator's organization, and read again by every node. */
import type { Queryable } from '#storage/database.ts'
import { lockCatalogue } from '#storage/models.ts'
import type { AuditEntry } from './audit-entry.ts'
import { change } from './change.ts'
import type { PlatformParts } from './platform.ts'
import type { KeyCaller } from './setting-place.ts'

export type CatalogueChange<Answer> = {
  readonly answer: Answer
  /** As the audit log shows it: never a credential. */
  readonly requested: Readonly<Record<string, unknown>>
}

export function changeCatalogue<Answer>(
  parts: Pick<PlatformParts, 'database' | 'wallClock'>,
  caller: KeyCaller,
  work: (tx: Queryable) => Promise<CatalogueChange<Answer>>,
): Promise<Answer> {
  const { organizationId } = caller.grant
  return change(parts, caller, async tx => {
    await lockCatalogue(tx)
    const { answer, requested } = await work(tx)
    return { answer, audit: [catalogueChanged(organizationId, requested)], affects: [['catalogue', '']] }
  })
}

/** OpenAI has no event type for what an operator does. */
const catalogueChanged = (
  organizationId: string,
  changes_requested: CatalogueChange<unknown>['requested'],
): AuditEntry => ({
  type: 'organization.updated',
  resourceId: organizationId,
  detail: { changes_requested },
})
