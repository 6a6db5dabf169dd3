/**
 * The two secrets of an installation: the pepper that key hashes are made with, and the key that seals providers'
 * credentials. They come from the environment or from a 0600 file in the data directory, made on the first start.
 *
 * Without the pepper no key can be checked, without the sealing key no credential opened: a backup carries both.
 */
import { createCipheriv, createDecipheriv, createHash, hash, randomBytes } from 'node:crypto'
import { link, readFile, unlink, writeFile } from 'node:fs/promises'

/** One record for the whole process, whose members change only when a backup is restored: see `adoptSecrets`. */
export type Secrets = { readonly pepper: Buffer; readonly pepperId: string; readonly sealingKey: Buffer }

type SecretsFile = { readonly pepper: string; readonly sealing_key: string }

const secretBytes = 32

/** @param given hex of `pepper` and `sealingKey` from settings; both or neither. */
export async function loadSecrets(file: string, given: { pepper?: string; sealingKey?: string }): Promise<Secrets> {
  if (given.pepper && given.sealingKey) return secretsOf({ pepper: given.pepper, sealing_key: given.sealingKey })
  if (given.pepper || given.sealingKey) {
    throw new Error('Set both key-pepper and sealing-key, or neither: an installation has one home for its secrets.')
  }
  const kept = (await readSecrets(file)) ?? (await createSecrets(file))
  if (!kept) throw new Error(`${file} was taken away while it was read.`)
  return secretsOf(kept)
}

/** Puts a restored installation's secrets in the place of ours, for everyone who holds the record. */
export function adoptSecrets(secrets: Secrets, restored: Secrets): void {
  Object.assign(secrets, restored)
}

/** What the secrets file says. */
export const secretsFileText = ({ pepper, sealingKey }: Pick<Secrets, 'pepper' | 'sealingKey'>): string =>
  `${JSON.stringify({ pepper: pepper.toString('hex'), sealing_key: sealingKey.toString('hex') }, null, 2)}\n`

function secretsOf(text: SecretsFile): Secrets {
  const pepper = fromHex('key-pepper', text.pepper)
  return {
    pepper,
    // A name for the pepper that tells nothing about it, stored beside each hash
    pepperId: createHash('sha256').update('keyhouse pepper id').update(pepper).digest('hex').slice(0, 8),
    sealingKey: fromHex('sealing-key', text.sealing_key),
  }
}

function fromHex(name: string, text: string): Buffer {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new Error(`${name} must be ${secretBytes} bytes as 64 hexadecimal digits.`)
  return Buffer.from(text, 'hex')
}

async function readSecrets(file: string): Promise<SecretsFile | undefined> {
  const text = await readFile(file, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  try {
    // What we wrote ourselves; secretsOf checks both members, also of `null`
    const kept = JSON.parse(text) as SecretsFile
    secretsOf(kept)
    return kept
  } catch (cause) {
    throw new Error(`${file} is not the secrets file that Keyhouse wrote. Restore it from a backup.`, { cause })
  }
}

/** Written aside and linked into place, so that neither a crash nor a second starter can leave half a file. */
async function createSecrets(file: string): Promise<SecretsFile | undefined> {
  const made = secretsFileText({ pepper: randomBytes(secretBytes), sealingKey: randomBytes(secretBytes) })
  const aside = `${file}.${randomBytes(6).toString('hex')}`
  await writeFile(aside, made, { mode: 0o600, flush: true })
  try {
    await link(aside, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await unlink(aside)
  }
  return readSecrets(file)
}

const blockBytes = 64
const digestBytes = 32
const pads = new WeakMap<Buffer, { readonly inner: Buffer; readonly outer: Buffer }>()

/** The pepper as HMAC's two blocks. */
function padsOf(pepper: Buffer): { inner: Buffer; outer: Buffer } {
  const known = pads.get(pepper)
  if (known) return known
  const block = Buffer.concat([pepper], blockBytes)
  const made = {
    inner: Buffer.from(block.map(byte => byte ^ 0x36)),
    outer: Buffer.from(block.map(byte => byte ^ 0x5c)),
  }
  pads.set(pepper, made)
  return made
}

/**
 * What the database keeps of a key: HMAC-SHA-256 (RFC 2104), as two one-shot hashes, which is several times quicker than
 * `createHmac` and on the path of every request. The digests come as text, a character for each byte (`binary` is node's
 * old name for latin1): it makes that in half the time of a buffer. Slow hashes would add nothing to 256 random bits.
 */
export function hashKey({ pepper }: Secrets, key: string): Buffer {
  const { inner, outer } = padsOf(pepper)
  const message = Buffer.allocUnsafe(blockBytes + Buffer.byteLength(key))
  inner.copy(message)
  message.write(key, blockBytes)
  const outerMessage = Buffer.allocUnsafe(blockBytes + digestBytes)
  outer.copy(outerMessage)
  outerMessage.write(hash('sha256', message, 'binary'), blockBytes, 'latin1')
  return Buffer.from(hash('sha256', outerMessage, 'binary'), 'latin1')
}

const ivBytes = 12
const tagBytes = 16

/** AES-256-GCM: iv, tag, ciphertext. `boundTo` (a row's id) must be given again to open it, so rows cannot be swapped. */
export function seal(secrets: Secrets, plain: string, boundTo: string): Buffer {
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-256-gcm', secrets.sealingKey, iv).setAAD(Buffer.from(boundTo))
  const sealed = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
  return Buffer.concat([iv, cipher.getAuthTag(), sealed])
}

/** @throws Error when the sealing key or the row is another one. */
export function unseal(secrets: Secrets, sealed: Buffer, boundTo: string): string {
  const decipher = createDecipheriv('aes-256-gcm', secrets.sealingKey, sealed.subarray(0, ivBytes), {
    authTagLength: tagBytes,
  })
  decipher.setAAD(Buffer.from(boundTo)).setAuthTag(sealed.subarray(ivBytes, ivBytes + tagBytes))
  return Buffer.concat([decipher.update(sealed.subarray(ivBytes + tagBytes)), decipher.final()]).toString('utf8')
}
