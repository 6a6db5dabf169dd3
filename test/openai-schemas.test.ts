// Every answer of the Administration API against the schema that OpenAI publishes for it, every parameter and member that its
// requests may have, and what we deliberately lack.
// The fixtures hold what OpenAI's OpenAPI document of November 2026 says: facts without prose.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { allEndpoints } from '#contract/endpoints.ts'
import taken from './fixtures/openai-admin-requests.json' with { type: 'json' }
import published from './fixtures/openai-admin-responses.json' with { type: 'json' }
import { allSteps, endpointOf, takeSteps } from './support/admin-steps.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

/** Operations and members of the document that we do not have, and why. All of it stands here. */
const absent: readonly { readonly because: string; readonly names: readonly string[] }[] = [
  {
    because: 'data stays where the operator runs this, under the keys of his own disks',
    names: [
      'Project.external_key_id',
      'Project.residency',
      'POST /organization/projects: external_key_id is null',
      'POST /organization/projects: residency is null',
      'POST /organization/projects/{}: external_key_id is null',
    ],
  },
  {
    because: 'a page that holds nothing leads nowhere',
    names: [
      'GET /organization/groups: limit.minimum',
      'GET /organization/groups/{}/roles: limit.minimum',
      'GET /organization/groups/{}/users: limit.minimum',
      'GET /organization/projects/{}/groups: limit.minimum',
      'GET /organization/projects/{}/spend_alerts: limit.minimum',
      'GET /organization/roles: limit.minimum',
      'GET /organization/spend_alerts: limit.minimum',
      'GET /organization/users/{}/roles: limit.minimum',
      'GET /projects/{}/groups/{}/roles: limit.minimum',
      'GET /projects/{}/roles: limit.minimum',
      'GET /projects/{}/users/{}/roles: limit.minimum',
    ],
  },
  {
    because: "belongs to OpenAI's own sales",
    names: ['User.is_default', 'User.is_scale_tier_authorized_purchaser'],
  },
  {
    because: 'a certificate by itself is active nowhere: it is in an organization, or in a project',
    names: ['Certificate.active'],
  },
  {
    because: 'the walk asks with the key of a person; service-accounts.test.ts asks with theirs',
    names: ['AuditLogActorApiKey.service_account'],
  },
  {
    because: 'there is nothing here of which these could be told',
    names: [
      'AuditLog.checkpoint.permission.created',
      'AuditLog.checkpoint.permission.deleted',
      'AuditLog.external_key.registered',
      'AuditLog.external_key.removed',
      'AuditLog.project.deleted',
      'AuditLog.role.bound_to_resource',
      'AuditLog.role.unbound_from_resource',
      'AuditLog.scim.disabled',
      'AuditLog.scim.enabled',
      'AuditLog.workload_identity_provider.created',
      'AuditLog.workload_identity_provider.deleted',
      'AuditLog.workload_identity_provider.updated',
      'AuditLog.workload_identity_provider_mapping.created',
      'AuditLog.workload_identity_provider_mapping.deleted',
      'AuditLog.workload_identity_provider_mapping.updated',
      'AuditLog.organization.updated.changes_requested.api_call_logging',
      'AuditLog.organization.updated.changes_requested.api_call_logging_project_ids',
      'AuditLog.organization.updated.changes_requested.description',
      'AuditLog.organization.updated.changes_requested.name',
      'AuditLog.organization.updated.changes_requested.threads_ui_visibility',
      'AuditLog.organization.updated.changes_requested.title',
      'AuditLog.organization.updated.changes_requested.usage_dashboard_visibility',
      'AuditLog.role.updated.changes_requested.metadata',
      'AuditLog.role.updated.changes_requested.resource_id',
      'AuditLog.role.updated.changes_requested.resource_type',
    ],
  },
  {
    because: 'an address list is part of a key policy, whose change is an organization.updated or a project.updated',
    names: [
      'AuditLog.ip_allowlist.config.activated',
      'AuditLog.ip_allowlist.config.deactivated',
      'AuditLog.ip_allowlist.created',
      'AuditLog.ip_allowlist.deleted',
      'AuditLog.ip_allowlist.updated',
    ],
  },
  {
    because: 'people cannot sign in yet',
    names: ['login.failed', 'login.succeeded', 'logout.failed', 'logout.succeeded'].map(name => `AuditLog.${name}`),
  },
]

type Schema = {
  readonly $ref?: string
  readonly allOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
}

// JSON as TypeScript reads it is a union of each literal schema of the file
const { $defs, responses } = published as { $defs: Record<string, Schema>; responses: Record<string, Schema> }

/** `GET /organization/projects/{}`: what a path parameter is called does not matter. */
const operation = (method: string, path: string): string =>
  `${method} ${path.replace(/^\/v1/, '').replaceAll(/\{\w+\}/g, '{}')}`

const named = (name: string): string => operation(name.split(' ')[0] ?? '', name.split(' ')[1] ?? '')
const schemas = new Map(Object.entries(responses).map(([name, schema]) => [named(name), schema]))

// A schema read from a file is of no type that zod could check beforehand
const checkerOf = (schema: Schema) => z.fromJSONSchema({ ...schema, $defs } as Parameters<typeof z.fromJSONSchema>[0])

/** Notes for each member that a schema names whether the answer had it, under the name of the schema that it is in. */
function noteMembers(schema: Schema, value: unknown, name: string, sent: Map<string, boolean>): void {
  if (schema.$ref !== undefined) {
    const target = schema.$ref.slice('#/$defs/'.length)
    return noteMembers($defs[target] ?? {}, value, target, sent)
  }
  if (typeof value !== 'object' || value === null) return
  for (const part of [schema.allOf, schema.anyOf, schema.oneOf].flatMap(parts => parts ?? []))
    noteMembers(part, value, name, sent)
  if (Array.isArray(value)) for (const item of value) noteMembers(schema.items ?? {}, item, name, sent)
  const answered = new Map<string, unknown>(Object.entries(value))
  for (const [member, inner] of Object.entries(schema.properties ?? {})) {
    const path = `${name}.${member}`
    sent.set(path, answered.has(member) || sent.get(path) === true)
    noteMembers(inner, answered.get(member), path, sent)
  }
}

let platform: TestPlatform
const answers = new Map<string, unknown[]>()

beforeAll(async () => {
  platform = await testPlatform()
  await takeSteps({ send: platform.send, adminKey: platform.first.adminKey }, allSteps, {}, (step, { json }) => {
    const { row } = endpointOf(step.row)
    const name = operation(row.method, row.path)
    answers.set(name, [...(answers.get(name) ?? []), json])
  })
})
afterAll(() => platform?.stop())

/** `GET /organization/roles: limit.minimum`. */
const isOfRequest = (name: string): boolean => /^[A-Z]+ \/.*: /.test(name)
const lacking = new Set(absent.flatMap(({ names }) => names))
const lackingInAnswers = [...lacking].filter(name => !isOfRequest(name))
const ours = new Set(allEndpoints.map(({ row }) => operation(row.method, row.path)))

test('the walk calls every row of the contract that organizations have', () => {
  const rows = allEndpoints.filter(
    ({ row }) => /^\/v1\/(organization|projects)\//.test(row.path) && !('contentType' in row.answer),
  )
  expect(rows.map(({ row }) => operation(row.method, row.path)).filter(name => !answers.has(name))).toEqual([])
})

describe.each([...schemas])('%s', (name, schema) => {
  test(lacking.has(name) ? 'is deliberately absent' : "answers as OpenAI's schema says", () => {
    expect(ours.has(name)).toBe(!lacking.has(name))
    const checker = checkerOf(schema)
    for (const answer of answers.get(name) ?? [])
      expect(z.prettifyError(checker.safeParse(answer).error ?? none)).toBe('')
  })
})
const none = new z.ZodError([])

test('what we leave out of answers is what the table above says, and nothing else', () => {
  const sent = new Map<string, boolean>()
  for (const [name, schema] of schemas)
    for (const answer of answers.get(name) ?? []) noteMembers(schema, answer, name, sent)
  const leftOut = [...sent].filter(([, isSent]) => !isSent).map(([member]) => member)
  const operations = [...schemas.keys()].filter(name => !ours.has(name))
  expect([...operations, ...leftOut].sort()).toEqual(lackingInAnswers.sort())
})

type Bounds = {
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly enum?: readonly string[]
}
type Requests = {
  readonly query?: Readonly<Record<string, Bounds>>
  readonly body?: Readonly<Record<string, { readonly required: boolean; readonly nullable: boolean }>>
}

const rowOf = (name: string) =>
  allEndpoints.find(({ row }) => operation(row.method, row.path) === name)?.row ?? { query: undefined, body: undefined }

/** As JSON Schema, each member by its name. */
function membersOf(shape: unknown): Readonly<Record<string, Schema & Bounds & { readonly type?: string }>> {
  if (!(shape instanceof z.ZodType)) return {}
  // A schema that is a union of objects would be none of these
  return (z.toJSONSchema(shape, { io: 'output', unrepresentable: 'any', reused: 'inline' }) as Schema).properties ?? {}
}

const takes = (shape: unknown, value: unknown): boolean => shape instanceof z.ZodType && shape.safeParse(value).success

function queryDifferences(query: Readonly<Record<string, Bounds>>, shape: unknown): string[] {
  const members = membersOf(shape)
  return Object.entries(query).flatMap(([name, theirs]) => {
    // An object in a query is a member for each of its own: effective_at[gt]
    if (Object.keys(members).some(member => member.startsWith(`${name}[`))) return []
    const own = members[name]
    if (own === undefined) return [name]
    const bounds = (['default', 'minimum', 'maximum'] as const).filter(
      bound => theirs[bound] !== undefined && theirs[bound] !== own[bound],
    )
    const lacks = theirs.enum?.some(value => !own.enum?.includes(value)) ? ['enum'] : []
    return [...bounds, ...lacks].map(what => `${name}.${what}`)
  })
}

function bodyDifferences(body: NonNullable<Requests['body']>, shape: unknown): string[] {
  const members = membersOf(shape)
  const object = shape instanceof z.ZodPrefault ? shape.unwrap() : shape
  const shapeOf: Readonly<Record<string, unknown>> = object instanceof z.ZodObject ? object.shape : {}
  return Object.entries(body).flatMap(([name, { required, nullable }]) => {
    if (members[name] === undefined) return [name]
    return [
      ...(members[name].type === 'null' ? [`${name} is null`] : []),
      ...(nullable && !takes(shapeOf[name], null) ? [`${name}.nullable`] : []),
      ...(!required && !takes(shapeOf[name], undefined) ? [`${name}.required`] : []),
    ]
  })
}

// JSON as TypeScript reads it is a union of each literal request of the file
const requests = Object.entries(taken as Record<string, Requests>).map(([name, asked]) => [named(name), asked] as const)
const requestDifferences = requests.flatMap(([name, { query = {}, body = {} }]) => {
  const row = rowOf(name)
  return [...queryDifferences(query, row.query), ...bodyDifferences(body, row.body)].map(what => `${name}: ${what}`)
})

test("requests take every parameter and member that OpenAI's take, with the same bounds and defaults, but for the table above", () => {
  expect(requests.length).toBeGreaterThan(70)
  const deliberate = [...lacking].filter(isOfRequest)
  expect(requestDifferences.sort()).toEqual(deliberate.sort())
})

test("the schemas can refuse: an answer without a member, or with one of another type, is not OpenAI's", () => {
  const checker = checkerOf(schemas.get('POST /organization/projects') ?? {})
  const [made] = answers.get('POST /organization/projects') ?? []
  expect(checker.safeParse(made).success).toBe(true)
  for (const wrong of [{ id: undefined }, { created_at: 'today' }, { object: 'project' }, { created_at: 1.5 }])
    expect(checker.safeParse({ ...Object(made), ...wrong }).success).toBe(false)
})
