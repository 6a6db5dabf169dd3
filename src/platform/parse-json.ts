/** A JSON body, of valid UTF-8. */
import { apiError } from '#contract/errors.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** @throws ApiError invalid_json */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(utf8.decode(body))
  } catch {
    throw apiError('invalid_json')
  }
}
