/** From the client's bytes to an object, and from there to the bytes that go upstream. */
import { isUtf8 } from 'node:buffer'
import { apiError } from '#contract/errors.ts'
import type { RequestBody } from './call.ts'
import type { JsonObject } from './endpoints/ask.ts'

/** Deeper than any real request; shallow enough for every parser on the way. */
export const jsonDepthMax = 64

export function parseBody(raw: Buffer): RequestBody {
  if (!isUtf8(raw)) throw apiError('invalid_json')
  const text = raw.toString('utf8')
  const parsed = parseJson(text)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw apiError('invalid_json')
  checkDepth(parsed, jsonDepthMax)
  // Checked above: an object, and JSON has no other members than those a JsonObject may have.
  const body = parsed as JsonObject
  refuseLookalikes(body)
  refuseRerouting(body)
  return { raw, parsed: body, isAmbiguous: readsTwoWays(text) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Without its cause, which quotes the place in the prompt where the parser stumbled
    throw apiError('invalid_json')
  }
}

/** What JSON.parse made, so that an object has no members but its own; lists apart, since `in` counts their places as text. */
function checkDepth(value: unknown, levelsLeft: number): void {
  if (typeof value !== 'object' || value === null) return
  if (levelsLeft === 0) throw apiError('json_too_deep', { depthMax: jsonDepthMax })
  if (Array.isArray(value)) for (const element of value) checkDepth(element, levelsLeft - 1)
  else for (const member in value) checkDepth(value[member as keyof typeof value], levelsLeft - 1)
}

/** Members with which other gateways, as providers, would take another model than the one that is paid for, or go elsewhere with our credential. */
const rerouting = ['models', 'fallbacks', 'model_list', 'preset', 'api_base', 'base_url', 'api_key'] as const

/** Members that decide what a call costs and where it goes, and `tools`, some of which projects may not use: we and the provider must read the same. */
const decisive = [
  'model',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'n',
  'best_of',
  'service_tier',
  'prompt',
  // Images in them, for which more is held than for their bytes
  'messages',
  'tools',
  'web_search_options',
  'search_parameters',
  'plugins',
  'enable_search',
  'prediction',
  ...rerouting,
] as const
const decisiveOrEscape = new RegExp(`"(?:${decisive.join('|')})"|\\\\u`, 'g')

function refuseRerouting(body: JsonObject): void {
  const member = rerouting.find(name => (body[name] ?? null) !== null)
  if (member === undefined) return
  const message = `Unsupported parameter: '${member}'. The model is the one in 'model', and the operator sets its routes.`
  throw apiError('invalid_parameter', { param: member, message, code: 'unsupported_parameter' })
}

const known: ReadonlySet<string> = new Set([...decisive, 'include_usage'])
/** As Go's JSON compares names: in any case, the long s and the Kelvin sign included. */
const folded = (member: string): string => member.toUpperCase().toLowerCase()

/** A provider written in Go takes `Max_Tokens` for `max_tokens`: a bound, a model or a tool that nobody here has read. */
function refuseLookalikes(body: JsonObject): void {
  const options = body.stream_options
  for (const member of [...Object.keys(body), ...(options instanceof Object ? Object.keys(options) : [])]) {
    if (known.has(member) || !known.has(folded(member))) continue
    const message = `Unknown parameter: '${member}'. Did you mean '${folded(member)}'?`
    throw apiError('invalid_parameter', { param: member, message, code: 'unknown_parameter' })
  }
}

/**
 * The bytes to send upstream. The client's own bytes where nothing changes; with what is new put in front where members
 * are only added; otherwise written anew.
 *
 * Written anew as well where a decisive member may stand twice, or hide behind an escape: parsers differ in which of two
 * they take, and a provider must not see a dearer model or a larger bound than the one that was held for.
 */
export function upstreamBody({ raw, parsed, isAmbiguous }: RequestBody, changes: Record<string, unknown>): Buffer {
  const members = Object.keys(changes).filter(member => changes[member] !== parsed[member])
  if (isAmbiguous) return Buffer.from(JSON.stringify({ ...parsed, ...changes }))
  if (members.length === 0) return raw
  if (members.some(member => member in parsed)) return Buffer.from(JSON.stringify({ ...parsed, ...changes }))
  const added = members.map(member => `${JSON.stringify(member)}:${JSON.stringify(changes[member])}`).join(',')
  const rest = raw.subarray(raw.indexOf('{') + 1)
  return Buffer.concat([Buffer.from(`{${added}${Object.keys(parsed).length > 0 ? ',' : ''}`), rest])
}

/** One pass over the text, which ends at the second of a kind. A prompt that spells such a member only costs a rewrite. */
function readsTwoWays(text: string): boolean {
  const seen: string[] = []
  // Not by matchAll, which compiles the expression anew each time
  decisiveOrEscape.lastIndex = 0
  for (let match = decisiveOrEscape.exec(text); match; match = decisiveOrEscape.exec(text)) {
    const [found] = match
    if (found === '\\u' || seen.includes(found)) return true
    seen.push(found)
  }
  return false
}
