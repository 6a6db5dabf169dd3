/** One question to whatever answers at an address, with a deadline; an answer or the reason why there is none. */
import { messageOf } from '../exit.ts'

export type Answered = {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
  readonly text: string
}
export type Unanswered = { readonly failure: { readonly code: string; readonly reason: string } }

const answerMsMax = 15_000
const textMax = 1_000_000

export async function askAt(url: string, init: RequestInit = {}): Promise<Answered | Unanswered> {
  try {
    const response = await fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(answerMsMax) })
    const text = (await response.text()).slice(0, textMax)
    return { status: response.status, headers: response.headers, body: readJson(text), text }
  } catch (error) {
    return { failure: failureOf(error) }
  }
}

function failureOf(error: unknown): Unanswered['failure'] {
  if (error instanceof Error && error.name === 'TimeoutError') return { code: 'TIMEOUT', reason: 'no answer in time' }
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const code = memberOf(cause, 'code')
  return { code: typeof code === 'string' ? code : '', reason: messageOf(cause) }
}

/** Undefined for whatever is not JSON. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined

export const textOf = (value: unknown, name: string): string => {
  const member = memberOf(value, name)
  return typeof member === 'string' ? member : ''
}

export const isKeyhouse = ({ headers, body }: Answered): boolean =>
  headers.has('x-request-id') && textOf(body, 'status') === 'ok'
