/**
 * The public keys that GitHub signs its leak reports with. Read when first needed, kept for an hour, and read again when a
 * report names one that is not among them, but not more often than once a minute: anyone can name keys.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { apiError } from '#contract/errors.ts'

export type LeakKeys = {
  /** @throws ApiError leak_keys_unavailable when they cannot be read */
  find(id: string): Promise<KeyObject | undefined>
}

const keptMs = 3_600_000
const readAgainMs = 60_000
const fetchTimeoutMs = 5_000
const bytesMax = 256 * 1024

const published = z.object({
  public_keys: z.array(z.object({ key_identifier: z.string(), key: z.string() })).max(100),
})

/** @param read gives what GitHub publishes at /meta/public_keys/secret_scanning */
export function leakKeys(read: () => Promise<string>, now: () => number): LeakKeys {
  let keys = new Map<string, KeyObject>()
  let readAtMs = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined

  const refresh = async (): Promise<void> => {
    // Failures count as well: a source that is away is not asked at the pace of the reports
    readAtMs = now()
    keys = parseKeys(await read())
  }
  const refreshed = (): Promise<void> => {
    reading ??= refresh().finally(() => {
      reading = undefined
    })
    return reading
  }

  return {
    async find(id) {
      const ageMs = now() - readAtMs
      const known = keys.get(id)
      if (ageMs < (known ? keptMs : readAgainMs)) return known
      try {
        await refreshed()
      } catch (cause) {
        // One that was good an hour ago is better than none while its source is away
        if (!known) throw apiError('leak_keys_unavailable', undefined, { cause })
      }
      return keys.get(id)
    },
  }
}

function parseKeys(text: string): Map<string, KeyObject> {
  const { public_keys } = published.parse(JSON.parse(text))
  return new Map(public_keys.map(({ key_identifier, key }) => [key_identifier, readP256(key)]))
}

function readP256(pem: string): KeyObject {
  const key = createPublicKey(pem)
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('a public key is not of the curve P-256')
  return key
}

export const readKeysFile = (path: string) => (): Promise<string> => readFile(path, 'utf8')

/** Bounded in time and size; follows no redirect, which could lead anywhere. */
export const fetchKeys = (url: string) => async (): Promise<string> => {
  const response = await fetch(url, {
    headers: { accept: 'application/json', 'user-agent': 'keyhouse' },
    redirect: 'error',
    signal: AbortSignal.timeout(fetchTimeoutMs),
  })
  if (response.status !== 200) throw new Error(`${url} answered with status ${response.status}`)
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new Error(`${url} sent more than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes).toString('utf8')
}
