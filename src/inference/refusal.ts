/**
 * What the model server answers when it will not do something: OpenAI's envelope, with a sentence that says what to do.
 * The gateway passes these on as they are. One function a case; the rest of the server only throws.
 */

export type Refusal = {
  readonly status: number
  readonly type: string
  readonly code: string | null
  readonly param: string | null
  readonly message: string
  readonly retryAfterSeconds?: number
}

export class RefusalError extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal, cause?: unknown) {
    super(refusal.message, { cause })
    this.refusal = refusal
  }
}

const invalid = (message: string, param: string | null, code: string | null, status = 400): RefusalError =>
  new RefusalError({ status, type: 'invalid_request_error', code, param, message })

const kindOf = (value: unknown): string => {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

export const refuse = {
  badJson: () =>
    invalid('We could not parse the JSON body of your request. The API expects a JSON object.', null, null),
  bodyTooLarge: (bytesMax: number) =>
    invalid(
      `The request body is larger than ${bytesMax} bytes. Send less text at once.`,
      null,
      'request_too_large',
      413,
    ),
  badUrl: (method: string, path: string) => invalid(`Invalid URL (${method} ${path})`, null, null, 404),
  missing: (param: string) => invalid(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter'),
  wrongType: (param: string, expected: string, value: unknown) =>
    invalid(
      `Invalid type for '${param}': expected ${expected}, but got ${kindOf(value)} instead.`,
      param,
      'invalid_type',
    ),
  badValue: (param: string, why: string) => invalid(`Invalid '${param}': ${why}`, param, 'invalid_value'),
  outOfRange: (param: string, bound: string, value: number) =>
    invalid(`Invalid '${param}': expected a value ${bound}, but got ${value} instead.`, param, 'invalid_value'),
  unknown: (param: string) => invalid(`Unrecognized request argument supplied: ${param}`, param, 'unknown_parameter'),
  unsupported: (param: string, advice: string) =>
    invalid(
      `Unsupported parameter: '${param}' is not supported with this model, which runs inside Keyhouse. ${advice}`,
      param,
      'unsupported_parameter',
    ),
  contextTooLong: (contextTokensMax: number, tokens: number, param: 'messages' | 'prompt' | 'input') =>
    invalid(
      `This model's maximum context length is ${contextTokensMax} tokens. However, your ${param} resulted in ${tokens} ` +
        `tokens. Please reduce the length of the ${param}.`,
      param,
      'context_length_exceeded',
    ),
  unknownModel: (model: string) =>
    invalid(
      `The model \`${model.slice(0, 100)}\` does not exist or has not been pulled. See \`keyhouse models list\`.`,
      'model',
      'model_not_found',
      404,
    ),
  wrongKind: (model: string, endpoints: string) =>
    invalid(`The model \`${model}\` cannot do this. Use it with ${endpoints}.`, 'model', 'model_not_supported'),
  overloaded: (waiting: number) =>
    new RefusalError({
      status: 503,
      type: 'service_unavailable_error',
      code: 'server_is_overloaded',
      param: null,
      message:
        `The model is busy and ${waiting} requests are already waiting for it. Please try again later. ` +
        '(Operators: it answers one request at a time; add a provider for real load.)',
      retryAfterSeconds: 5,
    }),
  loadFailed: (model: string, cause: unknown) =>
    new RefusalError(
      {
        status: 503,
        type: 'service_unavailable_error',
        code: 'model_unavailable',
        param: 'model',
        message: `The model \`${model}\` could not be loaded. The operator finds the reason in the log of Keyhouse.`,
        retryAfterSeconds: 30,
      },
      cause,
    ),
  failed: (cause: unknown) =>
    new RefusalError(
      {
        status: 500,
        type: 'server_error',
        code: null,
        param: null,
        message: 'The server had an error while processing your request. Please try again.',
      },
      cause,
    ),
} as const

/** Any failure as a refusal; what we did not expect becomes a 500 whose cause stays with us. */
export const toRefusal = (error: unknown): RefusalError =>
  error instanceof RefusalError ? error : refuse.failed(error)

export const envelope = ({ message, type, param, code }: Refusal) => ({ error: { message, type, param, code } })
