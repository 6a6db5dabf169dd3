/** What a request brought, checked against its row. Every complaint names the parameter and says what was expected. */
import type { z } from 'zod'
import { type ApiError, apiError } from '#contract/errors.ts'

export function readInput<Shape extends z.ZodType>(shape: Shape, given: unknown): z.output<Shape> {
  const result = shape.safeParse(given)
  if (result.success) return withoutNul(result.data)
  const [issue] = result.error.issues
  throw issue ? complain(issue, given) : apiError('invalid_parameter', { param: null, message: 'Invalid request.' })
}

/** PostgreSQL keeps every character but U+0000. */
export function holdsNul(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0')
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsNul)
}

function withoutNul<Input>(input: Input): Input {
  if (!holdsNul(input)) return input
  const message = 'The request holds the character U+0000 in a text. Leave it out.'
  throw apiError('invalid_parameter', { param: null, message, code: 'invalid_value' })
}

type Issue = z.core.$ZodIssue

function complain(issue: Issue, given: unknown): ApiError {
  if (issue.code === 'unrecognized_keys') {
    const name = nameOf([...issue.path, issue.keys[0] ?? ''])
    return invalid(name, `Unknown parameter: '${name}'.`, 'unknown_parameter')
  }
  const param = nameOf(issue.path)
  const sent = at(given, issue.path)
  const got = isSecret(param) || sent === undefined ? '' : `, but got ${shown(sent)} instead`
  if (param === '') return apiError('invalid_parameter', { param: null, message: wholeBody(sent) })
  if (isMissing(given, issue.path)) return apiError('missing_parameter', { param })
  if (issue.code === 'invalid_type') {
    const message = `Invalid type for '${param}': expected ${article(issue.expected)}${got}.`
    return invalid(param, message, 'invalid_type')
  }
  return invalid(param, `Invalid '${param}': ${expectation(issue)}${got}.`, 'invalid_value')
}

/** Not the second of `a=1,2` in a query, which is in no place of its own. */
const isMissing = (given: unknown, path: readonly PropertyKey[]): boolean =>
  at(given, path) === undefined && typeof at(given, path.slice(0, -1)) === 'object'

/** What could be a credential is not echoed, since answers are logged by others. */
const isSecret = (param: string): boolean => /(key|secret|token)$/.test(param)

const invalid = (param: string, message: string, code: string): ApiError =>
  apiError('invalid_parameter', { param, message, code })

const wholeBody = (sent: unknown): string =>
  sent === undefined
    ? 'The request has no body. Send a JSON object, with Content-Type: application/json.'
    : `The request body must be a JSON object, but got ${shown(sent)} instead.`

/** As in `routes[0].provider`. */
function nameOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((name, part) => {
    if (typeof part === 'number') return `${name}[${part}]`
    return name === '' ? String(part) : `${name}.${String(part)}`
  }, '')
}

function at(given: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => {
    // An array of a query may have come as one text: see queryArray
    if (typeof value === 'string' && typeof part === 'number') return value.split(',')[part]
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    // Checked above: an object that has this member.
    return (value as Record<PropertyKey, unknown>)[part]
  }, given)
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'too_small':
      return `expected at least ${bound(issue.origin, issue.minimum)}`
    case 'too_big':
      return `expected at most ${bound(issue.origin, issue.maximum)}`
    case 'invalid_value':
      if (issue.message.startsWith('expected')) return issue.message
      return `expected one of ${issue.values.map(value => `'${String(value)}'`).join(', ')}`
    case 'invalid_format':
      return issue.message.startsWith('expected') ? issue.message : `expected a valid ${issue.format}`
    default:
      return issue.message.startsWith('expected') ? issue.message : 'expected another value'
  }
}

function bound(origin: string, limit: number | bigint): string {
  if (origin === 'string') return `${limit} characters`
  return origin === 'array' ? `${limit} items` : String(limit)
}

const article = (type: string): string => {
  if (type === 'int') return 'an integer'
  return `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type}`
}

const shownMax = 60

/** Short, so that nobody's long secret is echoed in full. */
function shown(sent: unknown): string {
  if (sent === null) return 'null'
  if (Array.isArray(sent)) return `an array of ${sent.length}`
  if (typeof sent === 'object') return 'an object'
  if (typeof sent !== 'string') return String(sent)
  return sent.length > shownMax ? `a string of ${sent.length} characters` : `'${sent}'`
}
