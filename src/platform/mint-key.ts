/** Makes a key. Its secret is in the answer and nowhere else; what is stored cannot be turned back into it. */
import { randomBytes } from 'node:crypto'
import { type ApiKeyId, newId } from '#contract/ids.ts'
import { makeKey, redactKey } from '#core/key-format.ts'
import { insertApiKey, type NewApiKey } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { hashKey, type Secrets } from '#storage/secrets.ts'

type Required = 'kind' | 'organizationId' | 'projectId' | 'ownerUserId' | 'name'
type Made = 'id' | 'secretHash' | 'pepperId' | 'redacted'
export type KeyDraft = Pick<NewApiKey, Required> & Partial<Omit<NewApiKey, Required | Made>>

export type MintedKey = { readonly id: ApiKeyId; readonly value: string }

const plain = {
  serviceAccountId: null,
  scopes: [],
  allowedCidrs: [],
  allowedOrigins: [],
  allowedModels: [],
  expiresAt: null,
  rotateEveryDays: null,
  budgetKeyId: null,
  backupOf: null,
  rotatedFrom: null,
  mintedBy: null,
  isLocal: false,
} as const

/** The caller records the auth event, as the last statement of its transaction. */
export async function mintKey(tx: Queryable, secrets: Secrets, draft: KeyDraft): Promise<MintedKey> {
  const value = makeKey(draft.kind, randomBytes)
  const id = newId('api_key')
  await insertApiKey(tx, {
    ...plain,
    ...draft,
    id,
    secretHash: hashKey(secrets, value),
    pepperId: secrets.pepperId,
    redacted: redactKey(value),
  })
  return { id, value }
}

/** When a key that lives so long expires. */
export const expiryOf = (nowMs: number, seconds: number | null | undefined): Date | null =>
  seconds === undefined || seconds === null ? null : new Date(nowMs + seconds * 1000)
