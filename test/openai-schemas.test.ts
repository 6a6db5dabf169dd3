// Every answer of the Administration API against the schema that OpenAI publishes for it, and what we deliberately lack.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { allEndpoints } from '#contract/endpoints.ts'
import published from './fixtures/openai-admin-responses.json' with { type: 'json' }
import { allSteps, endpointOf, takeSteps } from './support/admin-steps.ts'
import { type Answer, type TestPlatform, testPlatform } from './support/platform.ts'

type Schema = Parameters<typeof z.fromJSONSchema>[0]

let platform: TestPlatform
const answers = new Map<string, Answer['json'][]>()

/** `GET /organization/projects/{}`: what a path parameter is called does not matter. */
const operation = (method: string, path: string): string =>
  `${method} ${path.replace(/^\/v1/, '').replaceAll(/\{\w+\}/g, '{}')}`

const schemas = new Map(
  Object.entries(published.responses).map(([name, schema]) => {
    const [method = '', path = ''] = name.split(' ')
    return [operation(method, path), schema as Schema]
  }),
)
type Node = { $ref?: string; allOf?: Node[]; anyOf?: Node[]; oneOf?: Node[]; properties?: Record<string, Node>; items?: Node }
const defs = published.$defs as Record<string, Node>
/** Each member of a schema that was and was not in an answer. */
function members(node: Node, value: unknown, path: string, seen: Map<string, boolean>): void {
  if (node.$ref) { const name = node.$ref.slice('#/$defs/'.length); return members(defs[name]!, value, name, seen) }
  for (const part of node.allOf ?? []) members(part, value, path, seen)
  for (const part of [...node.anyOf ?? [], ...node.oneOf ?? []]) if (value !== null && typeof value === 'object') members(part, value, path, seen)
  if (Array.isArray(value)) for (const item of value) members(node.items ?? {}, item, path + '[]', seen)
  else if (value !== null && typeof value === 'object') for (const [name, inner] of Object.entries(node.properties ?? {})) {
    const there = name in value
    seen.set(`${path}.${name}`, there || (seen.get(`${path}.${name}`) ?? false))
    if (there) members(inner, (value as Record<string, unknown>)[name], `${path}.${name}`, seen)
  }
}

beforeAll(async () => {
  platform = await testPlatform()
  await takeSteps(platform, allSteps, {}, (step, { json }) => {
    const { row } = endpointOf(step.row)
    const name = operation(row.method, row.path)
    answers.set(name, [...(answers.get(name) ?? []), json])
  })
})
afterAll(() => platform?.stop())
test('x', () => {
  for (const [name, list] of answers) {
    const schema = schemas.get(name)
    if (!schema) { console.log('ours', name); continue }
    const s = z.fromJSONSchema({ ...(schema as object), $defs: published.$defs } as Schema)
    for (const a of list) { const r = s.safeParse(a); if (!r.success) console.log(name, JSON.stringify(a).slice(0, 600), JSON.stringify(r.error.issues).slice(0, 800)) }
  }
  for (const name of schemas.keys()) if (!answers.has(name)) console.log('absent', name)
  const seen = new Map<string, boolean>()
  for (const [name, list] of answers) for (const a of list) if (schemas.has(name)) members(schemas.get(name) as Node, a, name, seen)
  console.log([...seen].filter(([, t]) => !t).map(([n]) => n).join('\n'))
})
