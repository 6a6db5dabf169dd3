/** Inputs that are nearly what a schema asks for: each part of it is right most of the time, and now and then anything else. */
import fc from 'fast-check'

/** As much of JSON Schema as `z.toJSONSchema` writes for what we take. */
export type InputSchema = {
  readonly type?: string | readonly string[]
  readonly anyOf?: readonly InputSchema[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, InputSchema>>
  readonly items?: InputSchema
  readonly format?: string
  readonly minimum?: number
  readonly maximum?: number
}

/** Stands for a number that JavaScript cannot write: `jsonText` puts it in. */
const infinite = '#infinite#'

const hostileTexts = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\u202e\u0000\uffff',
  '👩‍👩‍👧‍👦',
  '__proto__',
  'constructor',
  'NaN',
  '-1',
  '1e309',
  "'; drop table users; --",
  '%00',
  '{}',
  'x'.repeat(300),
  'x'.repeat(100_000),
  'a,b,,c',
]

const hostileNumbers = [-1, 0, 0.5, -0.0001, 2 ** 31, 2 ** 53, 2 ** 63, -(2 ** 63), 1e300, 253_402_300_800]

const text = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...hostileTexts) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
)
const hostileName = fc.oneof(fc.constantFrom('__proto__', 'constructor', 'toString', 'hasOwnProperty', ''), text)

const seldom = <Value>(arbitrary: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(null) }, { weight: 1, arbitrary })

const anything: fc.Arbitrary<unknown> = fc.oneof(
  text,
  fc.constantFrom(...hostileNumbers),
  fc.constantFrom(null, true, false, infinite),
  fc.constantFrom<unknown>([], {}, [[[[]]]], [null], { length: 3 }),
  fc.array(text, { maxLength: 3 }),
  fc.constant(Array.from({ length: 2_000 }, () => 'x')),
  fc.tuple(hostileName, text).map(entry => Object.fromEntries([entry])),
)

const formats: Readonly<Record<string, string>> = { email: 'fuzz@example.com', uri: 'http://127.0.0.1:1/v1' }

function right(schema: InputSchema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(nearly))
  if (schema.properties) return objectOf(Object.entries(schema.properties))
  const type = [schema.type].flat()[0]
  if (type === 'array') return fc.array(nearly(schema.items ?? {}), { maxLength: 3 })
  if (type === 'boolean') return fc.boolean()
  if (type === 'integer' || type === 'number') return numberOf(schema)
  if (type === 'string') return fc.oneof(fc.constant(formats[schema.format ?? ''] ?? 'model.request'), text)
  return anything
}

const numberOf = ({ minimum = 0, maximum = 1_000 }: InputSchema) =>
  fc.oneof(fc.constantFrom(minimum, maximum), fc.integer({ min: 1, max: 60 }))

/** Some members missing, at times one too many; `__proto__` is one like any other. */
function objectOf(members: readonly (readonly [string, InputSchema])[]): fc.Arbitrary<unknown> {
  const each = members.map(([name, schema]) => fc.option(fc.tuple(fc.constant(name), nearly(schema)), { freq: 4 }))
  const surplus = seldom(fc.tuple(hostileName, anything))
  return fc.tuple(...each, surplus).map(entries => Object.fromEntries(entries.filter(entry => entry !== null)))
}

/** A value of the schema, or in one case of eight any other. */
export const nearly = (schema: InputSchema): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 7, arbitrary: right(schema) }, { weight: 1, arbitrary: anything })

/** A body that works, with one member replaced, left out, or added; or as it is. */
export const spoilt = (body: unknown): fc.Arbitrary<unknown> =>
  fc
    .tuple(fc.constantFrom('kept', 'replaced', 'left out', 'added'), fc.nat(), hostileName, anything)
    .map(([how, at, name, value]) => {
      const entries = Object.entries(Object(body))
      if (how === 'added') return Object.fromEntries([...entries, [name, value]])
      const chosen = entries[at % Math.max(1, entries.length)]
      if (how === 'kept' || !chosen) return body
      const others = entries.filter(entry => entry !== chosen)
      return Object.fromEntries(how === 'left out' ? others : [...others, [chosen[0], value]])
    })

export const jsonText = (value: unknown): string => String(JSON.stringify(value)).replaceAll(`"${infinite}"`, '1e999')

/** Whatever is sent, its address fits into what Node takes as headers: what does not is hostile-http.test.ts's. */
const partCharactersMax = 2_500
const queryCharactersMax = 6_000

const inUrl = (value: unknown): string =>
  encodeURIComponent((typeof value === 'string' ? value : jsonText(value)).toWellFormed()).slice(0, partCharactersMax)

/** One segment of a path: the id that is there, most of the time. `.` and `..` never reach a server. */
export const segment = (id: string): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constant(inUrl(id)) },
    { weight: 1, arbitrary: text.map(inUrl).filter(name => !/^\.{0,2}$/.test(name)) },
    { weight: 1, arbitrary: fc.constantFrom('%00', '%ff', '%', '%2f', '%c0%af', 'nothing') },
  )

/** Every parameter in each way to spell it, and some that are none. */
export function queryOf(members: readonly (readonly [string, InputSchema])[]): fc.Arbitrary<string> {
  const spelling = fc.constantFrom('', '', '', '[]', '[a]', '[__proto__]', '[a][b]')
  const pairs = members.map(([name, schema]) =>
    fc.option(
      fc.tuple(spelling, nearly(schema)).map(([end, value]) => `${name}${end}=${inUrl(value)}`),
      { freq: 2 },
    ),
  )
  const junk = seldom(fc.constantFrom('%', '&&', '=', '%00=1', '__proto__=1', 'a[b=1', '[]=1', '%ff=%ff'))
  const sent = fc.tuple(...pairs, junk).map(parts => parts.filter(part => part !== null).join('&'))
  return sent.map(query => `?${query.slice(0, queryCharactersMax)}`)
}
