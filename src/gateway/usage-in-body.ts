/**
 * Finds the `usage` object in an answer without parsing the rest of it: an embedding of a million numbers has a usage of
 * two. A quote inside a JSON string is escaped, so no text in the answer can pretend to be that member.
 */

const member = '"usage"'
const usageBytesMax = 16 * 1024
const [openingBrace, closingBrace] = [0x7b, 0x7d]
/** A colon, and what JSON has for white space. */
const beforeValue: ReadonlySet<number | undefined> = new Set(Buffer.from(': \t\n\r'))

/** The `usage` object of the body, or undefined. Where it could be one of several, the whole is read: tools may answer in objects. */
export function findUsage(body: Buffer): unknown {
  const at = body.lastIndexOf(member)
  if (at < 0) return undefined
  return body.indexOf(member) < at ? outermost(body) : objectAt(body, at + member.length)
}

function outermost(body: Buffer): unknown {
  const whole = parse(body.toString('utf8'))
  // Any JSON value has members of unknown types, or none
  const usage = (whole as { usage?: unknown } | null | undefined)?.usage
  return typeof usage === 'object' && usage !== null ? usage : undefined
}

function objectAt(body: Buffer, from: number): unknown {
  let start = from
  while (beforeValue.has(body[start])) start += 1
  if (body[start] !== openingBrace) return undefined
  let depth = 0
  const end = Math.min(body.length, from + usageBytesMax)
  for (let index = start; index < end; index += 1) {
    if (body[index] === openingBrace) depth += 1
    if (body[index] === closingBrace) depth -= 1
    if (depth === 0) return parse(body.toString('utf8', start, index + 1))
  }
  return undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
