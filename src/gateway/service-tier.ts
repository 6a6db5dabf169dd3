/**
 * Finds what a provider says it served a call as, in an answer that came whole, without parsing the rest of it. A quote
 * inside a JSON string is escaped, so no text in the answer can pretend to be that member.
 */

const member = '"service_tier"'
const nameBytesMax = 64

/** The value of the last `service_tier` that is a text, or undefined. */
export function findServiceTier(body: Buffer): string | undefined {
  for (let at = body.lastIndexOf(member); at >= 0; at = at > 0 ? body.lastIndexOf(member, at - 1) : -1) {
    const start = at + member.length
    const value = /^\s*:\s*"([a-z_]+)"/.exec(body.toString('latin1', start, start + nameBytesMax))
    if (value) return value[1]
  }
  return undefined
}
