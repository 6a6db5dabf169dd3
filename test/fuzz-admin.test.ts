// Every row of the contract from its own schema, with what does not belong in it: whatever comes, the answer is the row's
// own or a refusal in OpenAI's envelope, and never a 5xx. KEYHOUSE_SEED repeats a run.
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type Endpoint, isByteStream } from '#contract/endpoint.ts'
import { allEndpoints, type NamedEndpoint } from '#contract/endpoints.ts'
import { allSteps, fillPath, type Ids, steps, takeSteps } from './support/admin-steps.ts'
import { type InputSchema, jsonText, nearly, queryOf, segment, spoilt } from './support/fuzz.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

const seed = Number(process.env.KEYHOUSE_SEED ?? Date.now() % 2 ** 31)
const runsOfRow = 40

let platform: TestPlatform
let ids: Ids
const worked = new Set<string>()

beforeAll(async () => {
  console.info(`KEYHOUSE_SEED=${seed}`)
  platform = await testPlatform()
  const { send, first } = platform
  ids = await takeSteps({ send, adminKey: first.adminKey }, [...steps.makeAll, ...steps.changeAll], {
    provider: 'builtin',
    name: 'keyhouse-test-chat',
    alias: 'nothing',
  })
})
afterAll(() => platform?.stop())

const nameOf = ({ noun, verb }: NamedEndpoint): string => `${noun}.${verb}`

/** What takes things away, or shuts others out, comes last, so that the rows before it find something. */
const isLast = ({ noun, verb, row }: NamedEndpoint): boolean =>
  row.method === 'DELETE' || noun === 'keyPolicies' || ['archive', 'report', 'disable'].includes(verb)
const rows = allEndpoints.filter(({ row }) => !isByteStream(row.answer) && !isByteStream(row.body))
const inOrder = [...rows.filter(row => !isLast(row)), ...rows.filter(isLast)]

/** What may be sent, as JSON Schema; a rule that it cannot say is one that we do not keep anyway. */
const inputSchema = (shape: z.ZodType): InputSchema =>
  // toJSONSchema's type holds every version of JSON Schema; these are the members that it writes
  z.toJSONSchema(shape, { io: 'input', unrepresentable: 'any', reused: 'inline' }) as InputSchema

function pathOf({ path }: Endpoint, at: Ids = {}): fc.Arbitrary<string> {
  const parts = path.split(/\{(\w+)\}/).map((part, index) => {
    if (index % 2 === 0) return fc.constant(part)
    return segment(ids[at[part] ?? part] ?? 'nothing')
  })
  return fc.tuple(...parts).map(texts => texts.join(''))
}

function bodyOf({ body }: Endpoint, working: unknown): fc.Arbitrary<string | undefined> {
  if (body === undefined || isByteStream(body)) return fc.constantFrom(undefined, '{}', 'null')
  const schema = nearly(inputSchema(body))
  const value = working === undefined ? schema : fc.oneof(schema, spoilt(working))
  const notJson = fc.constantFrom('', '{', '[1,', '{"name":}', '\u0000', '1e999', '"', '[]', 'null')
  return fc.oneof({ weight: 12, arbitrary: value.map(jsonText) }, { weight: 1, arbitrary: notJson })
}

test.each(inOrder.map(row => [nameOf(row), row] as const))('%s', async (name, { row }) => {
  const step = allSteps.find(one => one.row === name)
  const working = typeof step?.body === 'function' ? step.body(ids) : step?.body
  const query = row.query ? queryOf(Object.entries(inputSchema(row.query).properties ?? {})) : fc.constant('')
  const key = row.caller === 'project' ? (ids.key_value ?? '') : platform.first.adminKey
  const request = fc.tuple(pathOf(row, step?.at), query, bodyOf(row, working))
  // First as it is meant, and not only by chance
  const asMeant = [
    fillPath(row.path, ids, step?.at),
    step?.query ?? '',
    working === undefined ? undefined : jsonText(working),
  ] as const
  const property = fc.asyncProperty(request, async ([path, search, body]) => {
    const sent = row.method === 'GET' ? undefined : body
    const { status, text } = await platform.send(key, row.method, path + search, sent)
    expect(status, `${text}\n${platform.logged.at(-1)}`).toBeLessThan(500)
    if (status === 200) worked.add(name)
  })
  await fc.assert(property, { seed, numRuns: runsOfRow, examples: [[[...asMeant]]] })
})

test('most rows were reached by an input that works, so that what lies behind the schemas was tried as well', () => {
  console.info(`${worked.size} of ${inOrder.length} rows answered 200`)
  expect(worked.size).toBeGreaterThan(inOrder.length * 0.7)
})
