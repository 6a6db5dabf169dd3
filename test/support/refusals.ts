/** What every refusal must look like, whatever caused it: OpenAI's envelope, whole. */
import { expect } from 'vitest'

export type WireError = {
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string | null
}

/** Checks the answer's shape, and the members that are given. @returns the error */
export async function expectRefusal(
  response: Response,
  expected: { readonly status: number } & Partial<WireError>,
): Promise<WireError> {
  const text = await response.text()
  const { status, ...members } = expected
  expect(response.status, text).toBe(status)
  expect(response.headers.get('content-type')).toMatch(/^application\/json(; charset=utf-8)?$/)
  expect(response.headers.get('x-request-id')).toMatch(/^req_\w+$/)
  return expectEnvelope(text, members)
}

export function expectEnvelope(text: string, members: Partial<WireError> = {}): WireError {
  // Checked member by member in the next lines.
  const body = JSON.parse(text) as { error: WireError }
  expect(Object.keys(body)).toEqual(['error'])
  expect(Object.keys(body.error).sort()).toEqual(['code', 'message', 'param', 'type'])
  expect(body.error.message.length).toBeGreaterThan(20)
  expect(body.error).toMatchObject(members)
  return body.error
}
