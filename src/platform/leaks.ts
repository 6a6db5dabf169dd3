/** Leak reports: from anyone, and from GitHub's secret scanning. */
import { createHash, verify } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { apiError } from '#contract/errors.ts'
import { leakMatches, type leaks } from '#contract/leaks.ts'
import { addressBucket } from '#core/address.ts'
import type { Handlers, RawBody } from './handler.ts'
import { parseJson } from './parse-json.ts'
import type { PlatformParts } from './platform.ts'
import { readInput } from './read-input.ts'
import { reportLeak } from './report-leak.ts'

/** From one address: enough for a person or a scanner, too little to be a way to try keys. */
const reportsPerMinuteMax = 30
const minuteMs = 60_000

export const leakHandlers: Handlers<typeof leaks> = {
  async report(parts, { body: { key, url = null, source = 'a report' }, source: from }) {
    limitReports(parts, from.address)
    return { matched: await reportLeak(parts, { key, url, source, from }) }
  },

  async github(parts, { body, source: from }) {
    await checkSignature(parts, body)
    const matches = readInput(leakMatches, parseJson(body.bytes))
    const feedback = []
    for (const { token, type, url, source } of matches) {
      const isOurs = await reportLeak(parts, { key: token, url, source: `GitHub ${source}`.trim(), from })
      const label = isOurs ? ('true_positive' as const) : ('false_positive' as const)
      feedback.push({ token_hash: createHash('sha256').update(token).digest('hex'), token_type: type, label })
    }
    return feedback
  },
}

function limitReports({ counters }: PlatformParts, address: string): void {
  const counter = `leak reports ${addressBucket(address)}`
  const outcome = counters.local.take([{ counter, limit: reportsPerMinuteMax, periodMs: minuteMs }], [1])
  if (!outcome.fits) throw apiError('too_many_leak_reports', undefined, { retryAfterMs: outcome.waitMs })
}

/** ECDSA over the bytes as they came. @throws ApiError leak_reports_off, leak_signature_invalid, leak_keys_unavailable */
async function checkSignature({ leakKeys }: PlatformParts, { bytes, headers }: RawBody): Promise<void> {
  if (!leakKeys) throw apiError('leak_reports_off')
  const id = headerOf(headers, 'github-public-key-identifier')
  const signature = headerOf(headers, 'github-public-key-signature')
  const key = id === '' || signature === '' ? undefined : await leakKeys.find(id)
  if (!key || !verify('sha256', bytes, key, Buffer.from(signature, 'base64'))) throw apiError('leak_signature_invalid')
}

/** Names of headers come in any case, and node makes them small. */
function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  return typeof value === 'string' ? value : ''
}
