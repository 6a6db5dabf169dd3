/** From a row of the contract to the type of the function that keeps its promise. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { z } from 'zod'
import type { ByteStream, Endpoint, Endpoints, PathParams } from '#contract/endpoint.ts'
import type { Grant } from '#core/grant.ts'
import type { Source } from './change.ts'
import type { PlatformParts } from './platform.ts'

/** One request, parsed and authorized. */
export type Call<Row extends Endpoint> = {
  /** Whose key this is; nobody's where the row is public. */
  readonly grant: Row extends { readonly caller: 'project' | 'any' }
    ? Grant
    : Row['scope'] extends null
      ? undefined
      : Grant
  /** From where the request came, for the audit log. */
  readonly source: Source
  readonly params: PathParams<Row['path']>
  readonly query: Row extends { readonly query: infer Query } ? Parsed<Query> : undefined
  readonly body: Row extends { readonly rawBody: true }
    ? RawBody
    : Row extends { readonly body: infer Body }
      ? Parsed<Body>
      : undefined
}

/** As it arrived, for whoever must verify a signature over it. */
export type RawBody = { readonly bytes: Buffer; readonly headers: IncomingHttpHeaders }

type Parsed<Shape> = Shape extends z.ZodType ? z.output<Shape> : Shape extends ByteStream ? Readable : undefined

export type Handler<Row extends Endpoint> = (
  parts: PlatformParts,
  call: Call<Row>,
) => Promise<
  Row['answer'] extends infer Answer ? Parsed<Answer> | (Answer extends z.ZodType ? JsonPieces : never) : never
>

/** An answer that is JSON already, for one that can be too large to be a value. Its shape is what its row says; tests compare it. */
export class JsonPieces {
  readonly pieces: Iterator<Buffer>
  constructor(pieces: Iterator<Buffer>) {
    this.pieces = pieces
  }
}

/** One function for each row of a noun: leave one out, or answer another shape, and it does not compile. */
export type Handlers<Rows extends Endpoints> = { readonly [Verb in keyof Rows]: Handler<Rows[Verb]> }
