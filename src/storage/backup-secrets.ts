/**
 * The installation's secrets inside a backup: without them no key and no credential in it would work on another machine.
 *
 * With a passphrase they are sealed: scrypt makes 64 bytes of it, half to seal the secrets (AES-256-GCM), half to sign the
 * whole file (see backup-format.ts). Key hashes and providers' credentials in the rows are of no use without the secrets;
 * names and e-mail addresses are readable either way. Without a passphrase the secrets stand in the clear, and the file
 * must be kept like one.
 */
import { randomBytes, scrypt } from 'node:crypto'
import { BackupRefused, type BackupSecrets } from './backup-format.ts'
import { loadSecrets, type Secrets, seal, unseal } from './secrets.ts'

/** 33 MB and about a quarter of a second a guess. Part of the format: another cost is another format number. */
const cost = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 1024 * 1024 }
const saltBytes = 16
const keyBytes = 32
const boundTo = 'keyhouse backup'

type PassphraseKeys = { readonly sealing: Buffer; readonly signing: Buffer }

export type PackedSecrets = { readonly packed: BackupSecrets; readonly signingKey: Buffer | undefined }
export type UnpackedSecrets = { readonly secrets: Secrets; readonly signingKey: Buffer | undefined }

export async function packSecrets(secrets: Secrets, passphrase: string | undefined): Promise<PackedSecrets> {
  const plain = { pepper: secrets.pepper.toString('hex'), sealing_key: secrets.sealingKey.toString('hex') }
  if (passphrase === undefined) return { packed: plain, signingKey: undefined }
  if (passphrase === '') throw new BackupRefused('The passphrase is empty: give one, or none at all.')
  const salt = randomBytes(saltBytes)
  const keys = await keysOf(passphrase, salt)
  const sealed = seal(sealer(keys), JSON.stringify(plain), boundTo)
  return { packed: { salt: salt.toString('base64'), sealed: sealed.toString('base64') }, signingKey: keys.signing }
}

/** @throws BackupRefused when the passphrase is missing, wrong, or given for a backup that has none. */
export async function unpackSecrets(packed: BackupSecrets, passphrase: string | undefined): Promise<UnpackedSecrets> {
  if ('pepper' in packed) {
    // Else whoever swaps the file for one of his own could have the check left out
    if (passphrase !== undefined) throw new BackupRefused('The backup was written without a passphrase: give none.')
    return { secrets: await secretsOf(packed), signingKey: undefined }
  }
  if (passphrase === undefined) throw new BackupRefused('The backup was written with a passphrase: give it.')
  const keys = await keysOf(passphrase, Buffer.from(packed.salt, 'base64'))
  return { secrets: await secretsOf(open(keys, packed.sealed)), signingKey: keys.signing }
}

function open(keys: PassphraseKeys, sealed: string): { pepper: string; sealing_key: string } {
  try {
    // Authenticated: it is what packSecrets sealed
    return JSON.parse(unseal(sealer(keys), Buffer.from(sealed, 'base64'), boundTo))
  } catch (cause) {
    throw new BackupRefused('The passphrase is not the one that the backup was written with.', { cause })
  }
}

// Given both, loadSecrets checks them and reads no file
const secretsOf = (plain: { pepper: string; sealing_key: string }): Promise<Secrets> =>
  loadSecrets('', { pepper: plain.pepper, sealingKey: plain.sealing_key })

/** What seal and unseal want; they use the sealing key only. */
const sealer = (keys: PassphraseKeys): Secrets => ({
  pepper: Buffer.alloc(0),
  pepperId: '',
  sealingKey: keys.sealing,
})

function keysOf(passphrase: string, salt: Buffer): Promise<PassphraseKeys> {
  return new Promise((resolve, reject) => {
    // One passphrase can be typed as several sequences of code points; NFKC makes them one
    scrypt(passphrase.normalize('NFKC'), salt, 2 * keyBytes, cost, (error, keys) => {
      if (error) reject(error)
      else resolve({ sealing: keys.subarray(0, keyBytes), signing: keys.subarray(keyBytes) })
    })
  })
}
