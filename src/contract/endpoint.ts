/**
 * What one row of the Administration API promises. The routes, the OpenAPI document, the console and the tests are loops
 * over these rows; a row without its handler, or a handler that answers another shape, does not compile.
 */
import { z } from 'zod'
import type { Scope } from './scopes.ts'

/** Bytes of that content type instead of one JSON value. */
export type ByteStream = { readonly contentType: string; readonly about: string }

export type Endpoint = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `{name}` is one segment, percent-encoded on the wire. */
  readonly path: `/v1/${string}`
  readonly summary: string
  /** What the key must be allowed to; null is nothing in particular: public, unless a caller is named. */
  readonly scope: Scope | null
  /** Whose key is asked for: `project` of whoever calls models, `any` that lives; left out: an admin key. */
  readonly caller?: 'project' | 'any'
  /** Only the organization that operates this installation. */
  readonly operatorOnly?: true
  readonly query?: z.ZodObject
  readonly body?: z.ZodType | ByteStream
  /** The handler gets the body's bytes as they came, with the headers, and reads `body` itself: they may be signed. */
  readonly rawBody?: true
  readonly answer: z.ZodType | ByteStream
}

export type Endpoints = Readonly<Record<string, Endpoint>>

/** The `{name}`s of a path, each a string. */
export type PathParams<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? { readonly [Key in Name | keyof PathParams<Rest>]: string }
  : Record<never, string>

export const isPublic = ({ scope, caller }: Pick<Endpoint, 'scope' | 'caller'>): boolean =>
  scope === null && caller === undefined

export const isByteStream = (shape: z.ZodType | ByteStream | undefined): shape is ByteStream =>
  shape !== undefined && 'contentType' in shape

/** An amount of time on the wire: whole seconds since 1970. */
export const unixTime = z.int().describe('Unix time in seconds.')

/** A name that people gave. */
export const givenName = z.string().trim().min(1).max(200)

const expiryYearsMax = 10
export const expiresInSeconds = z
  .int()
  .min(1)
  .max(expiryYearsMax * 365 * 86_400)
  .describe('Seconds until the key expires. Left out: never.')

/** Zod's way to say that any member is too many. */
export const emptyBody = z.strictObject({}).optional()
