/**
 * Turns the JSON schema of a `response_format` into a GBNF grammar, which llama.cpp then lets no token escape from
 * (the format: llama.cpp, grammars/README.md). The grammar allows one spelling of each value with at most one space
 * between things, because small models otherwise drift into endless blank lines.
 *
 * A keyword that a grammar cannot hold is refused under `strict: true` and ignored otherwise, which is what OpenAI
 * promises of the two.
 */
import { refuse } from './refusal.ts'

type Schema = Readonly<Record<string, unknown>>

const rulesMax = 500
const depthMax = 32
/** llama.cpp unrolls counted repetitions, so a large count is a large grammar. */
const repetitionsMax = 256

const primitives = {
  space: '" "?',
  string: '"\\"" char* "\\""',
  char: '[^"\\\\\\x7F\\x00-\\x1F] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})',
  integer: '"-"? ("0" | [1-9] [0-9]{0,15})',
  number: 'integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?',
  boolean: '"true" | "false"',
  null: '"null"',
  value: 'object | array | string | number | boolean | null',
  member: 'string ":" space value',
  object: '"{" space (member ("," space member)*)? space "}"',
  array: '"[" space (value ("," space value)*)? space "]"',
} as const

const formats: Readonly<Record<string, string>> = {
  date: '[0-9]{4} "-" [0-9]{2} "-" [0-9]{2}',
  time: '[0-9]{2} ":" [0-9]{2} ":" [0-9]{2} ("Z" | [-+] [0-9]{2} ":" [0-9]{2})',
  'date-time':
    '[0-9]{4} "-" [0-9]{2} "-" [0-9]{2} "T" [0-9]{2} ":" [0-9]{2} ":" [0-9]{2} ("Z" | [-+] [0-9]{2} ":" [0-9]{2})',
  uuid: '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
}

const known = new Set([
  ...['type', 'enum', 'const', 'anyOf', 'oneOf', '$ref', '$defs', 'definitions', 'properties', 'required', 'items'],
  ...['additionalProperties', 'minItems', 'maxItems', 'minLength', 'maxLength', 'format', 'title', 'description'],
  ...['default', 'examples', '$schema', '$id', '$comment'],
])

/** Text as a GBNF literal: it must stand there exactly. */
const literal = (text: string): string => {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\r', '\\r')
  return `"${escaped}"`
}
const jsonLiteral = (value: unknown): string => literal(JSON.stringify(value))

const bad = (why: string) => refuse.badValue('response_format', `the schema ${why}`)

const asSchema = (value: unknown, where: string): Schema => {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Schema
  throw bad(`has something else than an object at ${where}.`)
}

const asCount = (value: unknown, fallback: number, name: string): number => {
  if (value === undefined) return fallback
  if (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= repetitionsMax) return Number(value)
  throw bad(`has a ${name} that is not a whole number from 0 to ${repetitionsMax}.`)
}

const counted = (rule: string, min: number, max: number | null): string => `${rule}{${min},${max ?? ''}}`

/** `item` at least `min` and at most `max` times, with commas between. */
const separated = (item: string, min: number, max: number | null): string => {
  if (max === 0) return ''
  const more = counted(`("," space ${item})`, Math.max(0, min - 1), max === null ? null : max - 1)
  return min === 0 ? `(${item} ${more})?` : `${item} ${more}`
}

type Property = { readonly key: string; readonly rule: string; readonly required: boolean }

const createCompiler = (root: Schema, strict: boolean) => {
  const rules = new Map<string, string>(Object.entries(primitives))
  const references = new Map<string, string>()

  const addRule = (body: string): string => {
    if (rules.size >= rulesMax) throw bad('is too large for this model. Make it smaller.')
    const name = `r${rules.size}`
    rules.set(name, body)
    return name
  }

  const resolve = (reference: unknown, depth: number): string => {
    const found = references.get(String(reference))
    if (found !== undefined) return found
    const match = /^#\/(\$defs|definitions)\/([^/]+)$/.exec(String(reference))
    if (String(reference) !== '#' && match === null) throw bad(`has a $ref that does not begin with #/$defs/.`)
    const [, section = '', name = ''] = match ?? []
    const target = match === null ? root : asSchema(root[section], section)[name]
    // named before it is compiled, so that a schema may contain itself
    const rule = addRule('')
    references.set(String(reference), rule)
    rules.set(rule, compile(asSchema(target, String(reference)), depth + 1))
    return rule
  }

  /** Properties in their order; each rule says what may follow, given whether a comma is due. */
  const members = (properties: readonly Property[]): string => {
    let after = { first: '""', later: '""' }
    for (const { key, rule, required } of [...properties].reverse()) {
      const member = `${literal(JSON.stringify(key))} ":" space ${rule}`
      const skip = (tail: string): string => (required ? '' : ` | ${tail}`)
      after = {
        first: addRule(`${member} ${after.later}${skip(after.first)}`),
        later: addRule(`"," space ${member} ${after.later}${skip(after.later)}`),
      }
    }
    return after.first
  }

  const objectOf = (schema: Schema, depth: number): string => {
    const entries = Object.entries(asSchema(schema.properties ?? {}, 'properties'))
    const required = new Set(Array.isArray(schema.required) ? schema.required : [])
    const additional = schema.additionalProperties
    if (entries.length === 0 && additional !== false) {
      if (additional === undefined || additional === true) return 'object'
      const value = compileToRule(asSchema(additional, 'additionalProperties'), depth)
      return `"{" space ${separated(`string ":" space ${value}`, 0, null)} space "}"`
    }
    const properties = entries.map(([key, value]) => ({
      key,
      rule: compileToRule(asSchema(value, key), depth),
      required: required.has(key),
    }))
    return `"{" space ${members(properties)} space "}"`
  }

  const arrayOf = (schema: Schema, depth: number): string => {
    const item = schema.items === undefined ? 'value' : compileToRule(asSchema(schema.items, 'items'), depth)
    const min = asCount(schema.minItems, 0, 'minItems')
    const max = schema.maxItems === undefined ? null : asCount(schema.maxItems, 0, 'maxItems')
    if (max !== null && max < min) throw bad('has a maxItems below its minItems.')
    return `"[" space ${separated(item, min, max)} space "]"`
  }

  const stringOf = (schema: Schema): string => {
    const format = typeof schema.format === 'string' ? formats[schema.format] : undefined
    if (format !== undefined) return `"\\"" ${format} "\\""`
    if (schema.format !== undefined && strict)
      throw bad(`has the format ${JSON.stringify(schema.format)}, which is not supported.`)
    const min = asCount(schema.minLength, 0, 'minLength')
    const max = schema.maxLength === undefined ? null : asCount(schema.maxLength, 0, 'maxLength')
    if (max !== null && max < min) throw bad('has a maxLength below its minLength.')
    return min === 0 && max === null ? 'string' : `"\\"" ${counted('char', min, max)} "\\""`
  }

  const types: Readonly<Record<string, (schema: Schema, depth: number) => string>> = {
    object: objectOf,
    array: arrayOf,
    string: stringOf,
    number: () => 'number',
    integer: () => 'integer',
    boolean: () => 'boolean',
    null: () => 'null',
  }

  const typeOf = (type: unknown, schema: Schema, depth: number): string => {
    const compileType = types[String(type)]
    if (compileType === undefined) throw bad(`has the unknown type ${JSON.stringify(type)}.`)
    return compileType(schema, depth)
  }

  const anyOf = (alternatives: readonly string[]): string => {
    if (alternatives.length === 0) throw bad('has an empty list of alternatives.')
    return alternatives.join(' | ')
  }

  const checkKeywords = (schema: Schema): void => {
    const unknown = Object.keys(schema).find(keyword => !known.has(keyword))
    if (strict && unknown !== undefined) {
      throw bad(`uses \`${unknown}\`, which this model cannot guarantee. Remove it, or set strict to false.`)
    }
  }

  const compile = (schema: Schema, depth: number): string => {
    if (depth > depthMax) throw bad(`is nested more than ${depthMax} deep.`)
    checkKeywords(schema)
    if (schema.$ref !== undefined) return resolve(schema.$ref, depth)
    const alternatives = schema.anyOf ?? schema.oneOf
    if (Array.isArray(alternatives)) {
      return anyOf(alternatives.map(alternative => compileToRule(asSchema(alternative, 'anyOf'), depth)))
    }
    if ('const' in schema) return jsonLiteral(schema.const)
    if (Array.isArray(schema.enum)) return anyOf(schema.enum.map(jsonLiteral))
    const type = schema.type ?? (schema.properties === undefined ? undefined : 'object')
    if (type === undefined) return 'value'
    if (Array.isArray(type)) return anyOf(type.map(one => addRule(typeOf(one, schema, depth))))
    return typeOf(type, schema, depth)
  }

  const compileToRule = (schema: Schema, depth: number): string => addRule(compile(schema, depth + 1))

  return { compileToRule, rules }
}

const print = (rules: ReadonlyMap<string, string>, start: string): string =>
  [`root ::= ${start}`, ...[...rules].map(([name, body]) => `${name} ::= ${body === '' ? '""' : body}`)].join('\n')

/** The grammar of `response_format: { type: 'json_object' }`: any object. */
export const jsonObjectGrammar = print(new Map(Object.entries(primitives)), 'object')

/** The grammar of a JSON schema, or a refusal that names what it cannot do. */
export const jsonSchemaGrammar = (schema: unknown, strict: boolean): string => {
  const root = asSchema(schema, 'its top')
  const compiler = createCompiler(root, strict)
  const start = compiler.compileToRule(root, 0)
  return print(compiler.rules, start)
}
