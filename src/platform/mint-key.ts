/** Makes a key. Its secret is in the answer and nowhere else; what is stored cannot be turned back into it. */
import { randomBytes } from 'node:crypto'
import { type ApiKeyId, newId } from '#contract/ids.ts'
import { makeKey, redactKey } from '#core/key-format.ts'
import { insertApiKey, type NewApiKey } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { hashKey, type Secrets } from '#storage/secrets.ts'

export type KeyDraft = Pick<NewApiKey, 'kind' | 'organizationId' | 'projectId' | 'ownerUserId' | 'name'> &
  Partial<Pick<NewApiKey, 'scopes' | 'expiresAt'>>

export type MintedKey = { readonly id: ApiKeyId; readonly value: string }

/** The caller records the auth event, as the last statement of its transaction. */
export async function mintKey(tx: Queryable, secrets: Secrets, draft: KeyDraft): Promise<MintedKey> {
  const value = makeKey(draft.kind, randomBytes)
  const id = newId('api_key')
  await insertApiKey(tx, {
    scopes: [],
    expiresAt: null,
    ...draft,
    id,
    secretHash: hashKey(secrets, value),
    pepperId: secrets.pepperId,
    redacted: redactKey(value),
  })
  return { id, value }
}

/** When a key that lives so long expires. */
export const expiryOf = (nowMs: number, seconds: number | undefined): Date | null =>
  seconds === undefined ? null : new Date(nowMs + seconds * 1000)
