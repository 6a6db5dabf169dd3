/** Prepaid credit: what is left, the grants that it came in, and taking one back. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { credits } from '#contract/credits.ts'
import { apiError } from '#contract/errors.ts'
import { newId, type OrganizationId } from '#contract/ids.ts'
import { type CreditKind, creditPriorities } from '#core/credit.ts'
import type { Grant } from '#core/grant.ts'
import { formatUsd, type NanoUsd, nanoUsd, subtractUsd } from '#core/money.ts'
import {
  type CreditGrantDraft,
  type CreditGrantRow,
  findCreditGrant,
  grantCredit,
  listCreditGrants,
  openCredit,
  readCredit,
  revokeCredit,
} from '#storage/credits.ts'
import type { Database, Queryable } from '#storage/database.ts'
import { recallLeases } from '#storage/leases.ts'
import { findOrganization } from '#storage/organizations.ts'
import { readUsd } from './amounts.ts'
import type { AuditEntry } from './audit-entry.ts'
import { change } from './change.ts'
import type { Call, Handlers } from './handler.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'

export const creditHandlers: Handlers<typeof credits> = {
  async balance({ database }, { grant: { organizationId } }) {
    const { available, reserved } = await readCredit(database, organizationId)
    const open = await openCredit(database, organizationId)
    const ends = open[0]?.expires_at ?? null
    return {
      object: 'organization.credit_balance',
      available_usd: formatUsd(available),
      reserved_usd: formatUsd(reserved),
      by_kind: {
        purchased_usd: sumOf(open.filter(({ kind }) => kind === 'purchased')),
        promotional_usd: sumOf(open.filter(({ kind }) => kind === 'promotional')),
        free_usd: sumOf(open.filter(({ kind }) => kind === 'free')),
      },
      next_expiry: ends && {
        amount_usd: sumOf(open.filter(({ expires_at: at }) => at?.getTime() === ends.getTime())),
        expires_at: unixSeconds(ends),
      },
      currency: 'usd',
    }
  },

  async list({ database }, { grant, query: { organization_id: named, ...query } }) {
    const organization = await organizationNamed(database, grant, named)
    return toList(await listCreditGrants(database, organization, query), toGrant, ({ id }) => id)
  },

  async grant(parts, call) {
    const nowMs = parts.wallClock()
    return change(parts, call, async tx => {
      const draft = draftOf(await organizationNamed(tx, call.grant, call.body.organization_id), call.body, nowMs)
      const row = await grantCredit(tx, draft)
      if (!row) throw alreadyPosted(draft.reference)
      return {
        answer: toGrant(row),
        audit: [changed(row, shownInLog(row))],
        // Nodes learn by it when credit ends that they have leased
        affects: row.expires_at === null ? [] : [['organization', row.organization_id]],
      }
    })
  },

  async retrieve({ database }, { grant, params }) {
    return toGrant(await existingGrant(database, grant, params.credit_grant_id))
  },

  async revoke(parts, call) {
    const id = call.params.credit_grant_id
    await change(parts, call, async tx => {
      const before = await existingGrant(tx, call.grant, id)
      await revokeCredit(tx, id)
      const row = await existingGrant(tx, call.grant, id)
      const unspent_usd = formatUsd(nanoUsd(before.remaining_nano_usd))
      return {
        answer: undefined,
        audit: [changed(row, { id, amount_usd: formatUsd(nanoUsd(row.amount_nano_usd)), revoked: true, unspent_usd })],
        // Whereupon every node hands back what it does not need
        affects: [['organization', row.organization_id]],
      }
    })
    return toGrant(await takeWhatComesBack(parts.database, call.grant, id))
  },
}

const sumOf = (parts: readonly { readonly amount: bigint }[]): string =>
  formatUsd(nanoUsd(parts.reduce((sum, { amount }) => sum + amount, 0n)))

/** @throws ApiError operator_only, not_found */
async function organizationNamed(
  database: Queryable,
  { isOperator, organizationId }: Grant,
  named: string = organizationId,
): Promise<OrganizationId> {
  if (named === organizationId) return organizationId
  if (!isOperator) throw apiError('operator_only')
  const found = await findOrganization(database, named)
  if (found === undefined) throw apiError('not_found', { what: 'organization' })
  return found
}

/** The operator finds those of everybody. @throws ApiError not_found */
async function existingGrant(database: Queryable, grant: Grant, id: string): Promise<CreditGrantRow> {
  const row = await findCreditGrant(database, grant.isOperator ? null : grant.organizationId, id)
  if (!row) throw apiError('not_found', { what: 'credit grant' })
  return row
}

type GrantBody = Call<typeof credits.grant>['body']

function draftOf(organizationId: OrganizationId, body: GrantBody, nowMs: number): CreditGrantDraft {
  const amount = readUsd(body.amount_usd)
  if (amount === 0n) throw invalid('amount_usd', 'grant more than nothing.')
  const kind: CreditKind = body.kind
  return {
    id: newId('credit_grant'),
    organizationId,
    kind,
    amount,
    priority: body.priority ?? creditPriorities[kind],
    expiresAt: endOf(body, nowMs),
    reference: body.reference ?? randomUUID(),
    note: body.note ?? null,
  }
}

/** The last second that PostgreSQL's clock and JavaScript's dates both know how to write plainly. */
const expiresAtMax = Date.UTC(9999, 0) / 1000

function endOf({ expires_at: at, expires_in_seconds: seconds }: GrantBody, nowMs: number): Date | null {
  if (at === undefined) return seconds === undefined ? null : new Date((Math.ceil(nowMs / 1000) + seconds) * 1000)
  if (seconds !== undefined) throw invalid('expires_at', 'send it or expires_in_seconds, not both.')
  if (at * 1000 <= nowMs) throw invalid('expires_at', 'credit ends in the future: send Unix time in seconds.')
  if (at > expiresAtMax) throw invalid('expires_at', 'send Unix time in seconds, not in milliseconds.')
  return new Date(at * 1000)
}

const invalid = (param: string, what: string): Error =>
  apiError('invalid_parameter', { param, message: `Invalid '${param}': ${what}` })

const alreadyPosted = (reference: string): Error =>
  apiError('conflict', {
    message: `A credit grant with the reference '${reference}' was posted before. Nothing was granted again.`,
  })

/** How long a revocation waits for nodes to hand back what they have leased. The rest is taken when it comes. */
const handedBackMsMax = 2_000
const lookEveryMs = 50

async function takeWhatComesBack(database: Database, grant: Grant, id: string): Promise<CreditGrantRow> {
  let row = await existingGrant(database, grant, id)
  if (row.remaining_nano_usd > 0n) await recallLeases(database, row.organization_id)
  for (const until = performance.now() + handedBackMsMax; row.remaining_nano_usd > 0n; ) {
    if (performance.now() > until) break
    await sleep(lookEveryMs)
    await revokeCredit(database, id)
    row = await existingGrant(database, grant, id)
  }
  return row
}

/** OpenAI has no event type for credit: it is an update of the organization whose it is. */
const changed = ({ organization_id: id }: CreditGrantRow, credit_grant: object): AuditEntry => ({
  type: 'organization.updated',
  resourceId: id,
  detail: { changes_requested: { credit_grant } },
})

function shownInLog(row: CreditGrantRow): object {
  const { id, kind, amount_usd, expires_at, reference, note } = toGrant(row)
  return { id, kind, amount_usd, expires_at, reference, note }
}

function toGrant(row: CreditGrantRow) {
  const amount = nanoUsd(row.amount_nano_usd)
  const remaining = nanoUsd(row.remaining_nano_usd)
  const ended = nanoUsd(row.ended_nano_usd)
  const spent: NanoUsd = subtractUsd(subtractUsd(amount, remaining), ended)
  return {
    object: 'organization.credit_grant' as const,
    id: row.id,
    organization_id: row.organization_id as string,
    kind: row.kind,
    status: row.status,
    amount_usd: formatUsd(amount),
    remaining_usd: formatUsd(remaining),
    spent_usd: formatUsd(spent),
    ended_usd: formatUsd(ended),
    priority: row.priority,
    expires_at: unixSecondsOrNull(row.expires_at),
    revoked_at: unixSecondsOrNull(row.revoked_at),
    reference: row.reference,
    note: row.note,
    created_at: unixSeconds(row.created_at),
  }
}
