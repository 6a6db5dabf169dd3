/**
 * What the fake upstream answers instead of a reply, in OpenAI's error envelope. The words say that the provider is fake:
 * whoever meets one in a log must not look for an outage at OpenAI.
 */
export class Refusal extends Error {
  readonly status: number
  readonly param: string | null
  /** OpenAI's `code`; null: the usual one of the status. */
  readonly code: string | null

  constructor(status: number, message: string, param: string | null = null, code: string | null = null) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.param = param
    this.code = code
  }
}

/** The wire body of a refusal: `{ error: { message, type, param, code } }`. */
export function refusalBody(refusal: Refusal): string {
  const { message, status, param } = refusal
  const { type, code } = kinds.get(status) ?? otherKind(status)
  return JSON.stringify({ error: { message, type, param, code: refusal.code ?? code } })
}

/** The error that the `status` fault answers with. */
export function rehearsedRefusal(status: number): Refusal {
  return new Refusal(status, `Keyhouse's fake provider answers ${status} on purpose, to rehearse this failure.`)
}

interface RefusalKind {
  readonly type: string
  readonly code: string | null
}

const kinds = new Map<number, RefusalKind>([
  [401, { type: 'invalid_request_error', code: 'invalid_api_key' }],
  [429, { type: 'requests', code: 'rate_limit_exceeded' }],
  [503, { type: 'service_unavailable_error', code: 'server_is_overloaded' }],
])

function otherKind(status: number): RefusalKind {
  return { type: status < 500 ? 'invalid_request_error' : 'server_error', code: null }
}
