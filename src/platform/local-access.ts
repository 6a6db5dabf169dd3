/**
 * How the command line of this machine gets in: with an ordinary admin key through the ordinary API. The server mints it
 * at each start, leaves it in a file that only this user can read, and revokes it when it stops. No list of addresses shuts it
 * out: it is the way back in.
 */
import { randomUUID } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { revokeByHash } from '#storage/api-keys.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import type { Database } from '#storage/database.ts'
import { operatorOrganization } from '#storage/organizations.ts'
import { hashKey, type Secrets } from '#storage/secrets.ts'
import { mintKey } from './mint-key.ts'

export type LocalAccessParts = {
  readonly database: Database
  readonly secrets: Secrets
  /** In the data directory. */
  readonly file: string
  /** Where this server is reached. */
  readonly url: string
}

export type LocalAccess = { revoke(): Promise<void> }

const keyName = 'local CLI'

export async function mintLocalAccess({ database, secrets, file, url }: LocalAccessParts): Promise<LocalAccess> {
  // What a run that was killed has left behind
  await revoke(database, secrets, await readKey(file))
  const key = await mint(database, secrets)
  await writePrivately(file, { url, key })
  return {
    async revoke() {
      await rm(file, { force: true })
      await revoke(database, secrets, key)
    },
  }
}

async function mint(database: Database, secrets: Secrets): Promise<string> {
  return database.transaction(async tx => {
    const organizationId = await operatorOrganization(tx)
    if (organizationId === undefined) throw new Error('there is no organization yet to mint a key for')
    const place = { organizationId, projectId: null, ownerUserId: null }
    const draft = { ...place, kind: 'admin', name: keyName, isLocal: true } as const
    const { id, value } = await mintKey(tx, secrets, draft)
    await recordAuthEvent(tx, 'api_key', id)
    return value
  })
}

async function revoke(database: Database, secrets: Secrets, key: string | undefined): Promise<void> {
  if (key === undefined) return
  await database.transaction(async tx => {
    const id = await revokeByHash(tx, hashKey(secrets, key))
    if (id !== undefined) await recordAuthEvent(tx, 'api_key', id)
  })
}

async function readKey(file: string): Promise<string | undefined> {
  try {
    const { key } = JSON.parse(await readFile(file, 'utf8')) as { key?: unknown }
    return typeof key === 'string' ? key : undefined
  } catch {
    // No file, or half of one: then there is no key in it that could still be used
    return undefined
  }
}

/** Whole or not at all, and at no moment readable by others. */
async function writePrivately(file: string, content: object): Promise<void> {
  const aside = `${file}.${randomUUID()}`
  await writeFile(aside, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  await rename(aside, file)
}
