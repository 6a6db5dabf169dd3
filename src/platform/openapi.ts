/** The contract as an OpenAPI 3.1 document, made from the rows that the routes are made from. */
import { z } from 'zod'
import { type ByteStream, type Endpoint, isByteStream, isPublic } from '#contract/endpoint.ts'
import { allEndpoints, type NamedEndpoint } from '#contract/endpoints.ts'

type Json = { readonly [member: string]: unknown }

export function openApi(version: string): Json & { openapi: string } {
  const paths: Record<string, Record<string, Json>> = {}
  const schemas: Schemas = { Error: errorSchema }
  for (const endpoint of allEndpoints) {
    const { path, method } = endpoint.row
    paths[path] = { ...paths[path], [method.toLowerCase()]: operation(endpoint, schemas) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Keyhouse Administration API', version },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        adminApiKey: { type: 'http', scheme: 'bearer', description: 'sk-kh-admin-…' },
        projectApiKey: { type: 'http', scheme: 'bearer', description: 'sk-kh-proj-… or sk-kh-svcacct-…' },
      },
      schemas,
    },
  }
}

const errorSchema = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'param', 'code'],
      properties: {
        message: { type: 'string' },
        type: { type: 'string' },
        param: { type: ['string', 'null'] },
        code: { type: ['string', 'null'] },
      },
    },
  },
}

/** What has a name goes to `schemas` and is referred to. */
type Schemas = Record<string, unknown>

function operation({ noun, verb, row }: NamedEndpoint, schemas: Schemas): Json {
  return {
    operationId: `${noun}.${verb}`,
    tags: [noun],
    summary: row.summary,
    ...(!isPublic(row) && { security: securityOf(row.caller) }),
    ...(row.scope !== null && { 'x-scope': row.scope }),
    ...(row.operatorOnly && { 'x-operator-only': true }),
    parameters: [...pathParameters(row), ...queryParameters(row, schemas)],
    ...(row.body && { requestBody: { required: !takesNothing(row.body), content: content(row.body, schemas) } }),
    responses: {
      200: { description: 'OK', content: content(row.answer, schemas) },
      default: {
        description: 'An error.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  }
}

const schemes = { admin: { adminApiKey: [] }, project: { projectApiKey: [] } } as const

const securityOf = (caller: Endpoint['caller']): Json[] =>
  caller === 'any' ? [schemes.project, schemes.admin] : [schemes[caller ?? 'admin']]

const takesNothing = (body: z.ZodType | ByteStream): boolean => !isByteStream(body) && body.safeParse(undefined).success

function pathParameters({ path }: Endpoint): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters({ query }: Endpoint, schemas: Schemas): Json[] {
  return Object.entries(query?.shape ?? {}).map(([name, schema]) => {
    // The shape of a ZodObject holds schemas; zod types it as its own wider core class.
    const field = schema as z.ZodType
    return {
      name,
      in: 'query',
      required: !field.safeParse(undefined).success,
      schema: schemaOf(field, 'output', schemas),
    }
  })
}

function content(shape: z.ZodType | ByteStream, schemas: Schemas): Json {
  if (!isByteStream(shape)) return { 'application/json': { schema: schemaOf(shape, 'input', schemas) } }
  return { [shape.contentType]: { schema: { type: 'string', format: 'binary', description: shape.about } } }
}

function schemaOf(shape: z.ZodType, io: 'input' | 'output', schemas: Schemas): Json {
  const { $schema: _dialect, ...whole } = z.toJSONSchema(shape, { io, unrepresentable: 'any' })
  // Each schema believes that it is a document: what it defines for itself belongs to ours
  const { $defs = {}, ...schema } = JSON.parse(JSON.stringify(whole).replaceAll('"#/$defs/', '"#/components/schemas/'))
  Object.assign(schemas, $defs)
  return schema
}
