/**
 * Every error that a caller can meet, one row each: the HTTP status, OpenAI's `type` and `code`, whether a retry can
 * help, and the sentence that says what to do. Anything thrown that is not an `ApiError` is a bug: it becomes
 * `internal_error`, is logged with the request id, and nothing else about it leaves.
 *
 * Shapes and texts follow OpenAI's so that SDKs and people's retry code work unchanged.
 */

export type ErrorRow<Detail> = {
  readonly status: number
  readonly type: string
  readonly code: string | null
  /** False sends `x-should-retry: false`, because OpenAI's SDKs retry every 429 and 5xx unless told not to. */
  readonly retryable: boolean
  readonly message: (detail: Detail) => string
  readonly param?: (detail: Detail) => string | null
}

const row = <Detail = void>(errorRow: ErrorRow<Detail>): ErrorRow<Detail> => errorRow

const request = { type: 'invalid_request_error', retryable: false } as const
const unavailable = { type: 'service_unavailable_error', retryable: true } as const

/** What a rate limit counts, as the error's `type` says it. */
type LimitedKind = 'requests' | 'tokens' | 'images' | 'audio'

const howToGetKey = 'An owner creates keys with `keyhouse keys create`.'

type SpendLimitHit = { neededUsd: string; leftUsd: string; limitUsd: string; resets: string }

const doesNotCover = ({ neededUsd, leftUsd, resets }: SpendLimitHit): string =>
  `does not cover the most that this request can cost ($${neededUsd}): $${leftUsd} is left. ${resets}`

export const errors = {
  // 401: who is asking
  missing_api_key: row({
    ...request,
    status: 401,
    code: null,
    message: () =>
      "You didn't provide an API key. Send it in the Authorization header using Bearer auth " +
      `(Authorization: Bearer YOUR_KEY), or as the password of HTTP Basic auth. ${howToGetKey}`,
  }),
  invalid_api_key: row<{ redacted: string; hint: string }>({
    ...request,
    status: 401,
    code: 'invalid_api_key',
    message: ({ redacted, hint }) => `Incorrect API key provided: ${redacted}. ${hint}`,
  }),
  key_revoked: row<{ redacted: string }>({
    ...request,
    status: 401,
    code: 'invalid_api_key',
    message: ({ redacted }) => `The API key ${redacted} has been revoked. ${howToGetKey}`,
  }),
  key_expired: row<{ redacted: string; expiredAt: string }>({
    ...request,
    status: 401,
    code: 'invalid_api_key',
    message: ({ redacted, expiredAt }) => `The API key ${redacted} expired at ${expiredAt}. ${howToGetKey}`,
  }),
  key_disabled: row<{ redacted: string }>({
    ...request,
    status: 401,
    code: 'key_disabled',
    message: ({ redacted }) =>
      `The API key ${redacted} is disabled. An owner enables it again with \`keyhouse keys enable\`, or creates another.`,
  }),
  key_asleep: row<{ redacted: string }>({
    ...request,
    status: 401,
    code: 'key_asleep',
    message: ({ redacted }) =>
      `The API key ${redacted} is a backup key: it begins to work when the key that it backs up is revoked.`,
  }),
  owner_inactive: row<{ redacted: string }>({
    ...request,
    status: 401,
    code: 'owner_inactive',
    message: ({ redacted }) =>
      `The owner of the API key ${redacted} is no longer a member of its project. An owner adds the person to the ` +
      'project again, or creates a key for a service account.',
  }),
  ip_not_authorized: row<{ address: string; where: string }>({
    ...request,
    status: 401,
    code: 'ip_not_authorized',
    message: ({ address, where }) =>
      `Your IP address ${address} is not on the address list of the ${where}. Call from an allowed address, or ask an ` +
      'owner to add yours.',
  }),
  origin_not_authorized: row<{ origin: string; where: string }>({
    ...request,
    status: 401,
    code: 'origin_not_authorized',
    message: ({ origin, where }) =>
      `The origin ${origin} is not on the origin list of the ${where}. Ask an owner to add it.`,
  }),
  client_certificate_required: row({
    ...request,
    status: 401,
    code: 'client_certificate_required',
    message: () =>
      'Calls of this organization or project need a client certificate (mutual TLS), and none came along. Configure the ' +
      'client with one that its owner has issued, and with the address of the server that asks for it.',
  }),
  client_certificate_invalid: row<{ reason: string }>({
    ...request,
    status: 401,
    code: 'client_certificate_invalid',
    message: ({ reason }) =>
      `The client certificate is not accepted: ${reason}. Use one that an owner's active certificates have issued.`,
  }),
  model_not_permitted: row<{ project: string; model: string }>({
    ...request,
    status: 403,
    code: 'model_not_found',
    param: () => 'model',
    message: ({ project, model }) =>
      `Project \`${project}\` does not have access to model \`${model}\`. An owner changes the project's model permissions.`,
  }),
  model_not_permitted_for_key: row<{ redacted: string; model: string }>({
    ...request,
    status: 403,
    code: 'model_not_found',
    param: () => 'model',
    message: ({ redacted, model }) =>
      `The API key ${redacted} does not have access to model \`${model}\`. An owner changes the key's allowed_models ` +
      '(`keyhouse keys update`); a client secret gets them when it is minted.',
  }),
  key_in_url: row({
    ...request,
    status: 401,
    code: null,
    message: () =>
      'An API key was sent in the URL, where proxies and logs keep it. Treat that key as leaked: revoke it, ' +
      'and send the new one in the Authorization header (Authorization: Bearer YOUR_KEY).',
  }),
  conflicting_credentials: row({
    ...request,
    status: 401,
    code: null,
    message: () => 'Two different credentials were sent in one request. Send exactly one, in the Authorization header.',
  }),
  mismatched_organization: row({
    ...request,
    status: 401,
    code: 'mismatched_organization',
    message: () =>
      "OpenAI-Organization header should match organization for API key. Remove the header or use that organization's key.",
  }),
  mismatched_project: row({
    ...request,
    status: 401,
    code: 'mismatched_project',
    message: () =>
      "OpenAI-Project header should match project for API key. Remove the header or use that project's key.",
  }),
  admin_key_on_gateway: row({
    ...request,
    status: 401,
    code: null,
    message: () =>
      'Admin API keys manage the organization and cannot call models. Use a project key: `keyhouse keys create`.',
  }),
  admin_key_required: row({
    ...request,
    status: 401,
    code: null,
    message: () =>
      'This endpoint belongs to the Administration API and needs an admin API key (sk-kh-admin-…). ' +
      'The first one was printed when Keyhouse first started.',
  }),
  metrics_closed: row({
    ...request,
    status: 401,
    code: null,
    message: () =>
      'Metrics are shown to clients on this machine only. To read them from elsewhere, set metrics-token and send it ' +
      'as Authorization: Bearer TOKEN.',
  }),
  missing_scopes: row<{ scopes: readonly string[] }>({
    ...request,
    status: 401,
    code: 'missing_scope',
    message: ({ scopes }) =>
      `You have insufficient permissions for this operation. Missing scopes: ${scopes.join(', ')}. Ask an owner to ` +
      'add them to this key, or use a key that has them.',
  }),

  // 403 and 404: what may be reached
  project_archived: row<{ project: string }>({
    ...request,
    status: 401,
    code: 'project_archived',
    message: ({ project }) => `Project \`${project}\` is archived and refuses calls. Use a key of an active project.`,
  }),
  beyond_own_permissions: row<{ permissions: readonly string[] }>({
    ...request,
    status: 403,
    code: 'beyond_own_permissions',
    message: ({ permissions }) =>
      `Nobody can give what their own key may not do, and this key may not do: ${permissions.join(', ')}. Ask an ` +
      'owner, or use a key that holds them.',
  }),
  service_accounts_only: row({
    ...request,
    status: 403,
    code: 'service_accounts_only',
    message: () =>
      'The key policy gives new keys to service accounts only. Create one with `keyhouse service-accounts create`, or ' +
      'ask an owner to change the policy.',
  }),
  operator_only: row({
    ...request,
    status: 403,
    code: null,
    message: () =>
      'Only the organization that operates this Keyhouse may do this. Use an admin key of that organization.',
  }),
  hosted_tool_disabled: row<{ project: string; tool: string }>({
    ...request,
    status: 403,
    code: 'tool_not_permitted',
    param: () => 'tools',
    message: ({ project, tool }) =>
      `Project \`${project}\` may not use the hosted tool \`${tool}\`. Leave it out, or ask an owner to enable it in the ` +
      "project's hosted tool permissions.",
  }),
  test_key_live_model: row<{ model: string }>({
    ...request,
    status: 403,
    code: 'model_not_found',
    param: () => 'model',
    message: ({ model }) =>
      `Test keys (sk-kh-test-…) only reach the deterministic test models, not \`${model}\`. Use ` +
      '`keyhouse-test-chat` or a project key.',
  }),
  model_not_found: row<{ model: string }>({
    ...request,
    status: 404,
    code: 'model_not_found',
    param: () => 'model',
    message: ({ model }) =>
      `The model \`${model}\` does not exist or you do not have access to it. GET /v1/models lists what this key can call.`,
  }),
  wrong_model_kind: row<{ model: string; endpoint: string; use: string }>({
    ...request,
    status: 400,
    code: 'unsupported_model',
    param: () => 'model',
    message: ({ model, endpoint, use }) => `The model \`${model}\` cannot be used with ${endpoint}. ${use}`,
  }),
  model_price_missing: row<{ model: string }>({
    ...request,
    status: 400,
    code: 'model_price_missing',
    param: () => 'model',
    message: ({ model }) =>
      `The model \`${model}\` has no price, and a model is never free by accident. The operator sets one with ` +
      '`keyhouse prices set`, or allows it with the setting unpriced-models = free.',
  }),
  not_found: row<{ what: string }>({
    ...request,
    status: 404,
    code: 'not_found',
    message: ({ what }) => `No such ${what}.`,
  }),
  unknown_url: row<{ method: string; path: string }>({
    ...request,
    status: 404,
    code: null,
    message: ({ method, path }) =>
      `Invalid URL (${method} ${path}). ` +
      (path.startsWith('/v1/')
        ? 'Keyhouse has no such endpoint; GET /v1/openapi.json lists those that it has.'
        : 'The API lives under /v1, as in /v1/chat/completions.'),
  }),
  method_not_allowed: row<{ method: string; path: string; allow: string }>({
    ...request,
    status: 405,
    code: null,
    message: ({ method, path, allow }) => `Not allowed to ${method} on ${path} (HINT: use ${allow}).`,
  }),

  // 400 and its kin: what was sent
  invalid_json: row({
    ...request,
    status: 400,
    code: null,
    message: () =>
      "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library " +
      'correctly. The API expects a JSON payload, but what was sent was not valid JSON.)',
  }),
  json_too_deep: row<{ depthMax: number }>({
    ...request,
    status: 400,
    code: null,
    message: ({ depthMax }) => `The JSON body is nested deeper than ${depthMax} levels. Flatten it.`,
  }),
  wrong_content_type: row<{ sent: string }>({
    ...request,
    status: 415,
    code: 'unsupported_content_type',
    message: ({ sent }) => `Invalid Content-Type header (${sent}), expected application/json.`,
  }),
  unsupported_content_encoding: row<{ sent: string }>({
    ...request,
    status: 415,
    code: 'unsupported_content_encoding',
    message: ({ sent }) => `Content-Encoding ${sent} is not supported. Send the body uncompressed.`,
  }),
  body_too_large: row<{ bytesMax: number; setting: 'body-bytes-max' | null }>({
    ...request,
    status: 413,
    code: 'request_too_large',
    message: ({ bytesMax, setting }) =>
      `The request body is larger than this endpoint accepts (${bytesMax} bytes). ` +
      (setting === null
        ? 'No setting changes that bound: send less, in several requests where it is a list.'
        : `Send less, or ask the operator to raise ${setting}.`),
  }),
  body_timeout: row<{ timeoutMs: number }>({
    ...request,
    retryable: true,
    status: 408,
    code: 'request_timeout',
    message: ({ timeoutMs }) => `The request body did not arrive within ${timeoutMs} ms. Send it again.`,
  }),
  headers_too_large: row({
    ...request,
    status: 431,
    code: 'headers_too_large',
    message: () => 'The request headers are larger than this server accepts. Remove cookies or other large headers.',
  }),
  headers_timeout: row({
    ...request,
    retryable: true,
    status: 408,
    code: 'request_timeout',
    message: () => 'The request headers did not arrive in time. Send the request again.',
  }),
  malformed_http: row<{ reason: string }>({
    ...request,
    status: 400,
    code: null,
    message: ({ reason }) => `The request is not valid HTTP (${reason}). Check the client or the proxy in between.`,
  }),
  invalid_parameter: row<{ param: string | null; message: string; code?: string }>({
    ...request,
    status: 400,
    code: null,
    param: ({ param }) => param,
    message: ({ message }) => message,
  }),
  missing_parameter: row<{ param: string }>({
    ...request,
    status: 400,
    code: 'missing_required_parameter',
    param: ({ param }) => param,
    message: ({ param }) => `Missing required parameter: '${param}'.`,
  }),
  invite_invalid: row({
    ...request,
    status: 404,
    code: 'invite_invalid',
    message: () =>
      'This invitation cannot be accepted: its token is wrong, was used already, has expired or was withdrawn. Ask an ' +
      'owner of the organization for a new one: `keyhouse invites create`.',
  }),
  conflict: row<{ message: string }>({
    ...request,
    status: 409,
    code: 'conflict',
    message: ({ message }) => message,
  }),

  // Leak reports
  leak_reports_off: row({
    ...request,
    status: 404,
    code: 'leak_reports_off',
    message: () =>
      "This Keyhouse takes no reports from GitHub: the operator turns them on with leak-keys-url (GitHub's public keys). " +
      'Anyone can hand in a key at POST /v1/leaks.',
  }),
  leak_signature_invalid: row({
    ...request,
    status: 401,
    code: 'leak_signature_invalid',
    message: () =>
      'The report is not signed by a key that leak-keys-url or leak-keys-file names: GITHUB-PUBLIC-KEY-IDENTIFIER says ' +
      'which, GITHUB-PUBLIC-KEY-SIGNATURE is ECDSA P-256 with SHA-256 over the body as it was sent.',
  }),
  leak_keys_unavailable: row({
    ...unavailable,
    status: 503,
    code: 'leak_keys_unavailable',
    message: () =>
      'The public keys that this report would be checked with cannot be read now. Send it again in a minute; the ' +
      "operator looks at leak-keys-url, and at the server's log.",
  }),

  // 429: how much
  too_many_leak_reports: row({
    status: 429,
    type: 'requests',
    code: 'rate_limit_exceeded',
    retryable: true,
    message: () => 'Too many leak reports came from this address. Send the rest a little later.',
  }),
  rate_limit_exceeded: row<{ message: string; dimension: LimitedKind }>({
    status: 429,
    type: 'requests',
    code: 'rate_limit_exceeded',
    retryable: true,
    message: ({ message }) => message,
  }),
  request_exceeds_limit: row<{ message: string; dimension: LimitedKind }>({
    status: 429,
    type: 'tokens',
    code: 'rate_limit_exceeded',
    retryable: false,
    message: ({ message }) => message,
  }),
  too_many_failed_keys: row({
    status: 429,
    type: 'requests',
    code: 'rate_limit_exceeded',
    retryable: true,
    message: () => 'Too many requests with unknown API keys came from this address. Check the key, then try again.',
  }),
  credit_balance_exhausted: row<{ neededUsd: string; leftUsd: string }>({
    status: 429,
    type: 'insufficient_quota',
    code: 'credit_balance_exhausted',
    retryable: false,
    message: ({ neededUsd, leftUsd }) =>
      `The organization's credit balance ($${leftUsd}) does not cover the most that this request can cost ` +
      `($${neededUsd}). Lower max_tokens, or ask an owner to add credit: \`keyhouse credits add\`.`,
  }),
  organization_spend_limit_exceeded: row<SpendLimitHit>({
    status: 429,
    type: 'insufficient_quota',
    code: 'organization_spend_limit_exceeded',
    retryable: false,
    message: hit =>
      `The organization's spend limit of $${hit.limitUsd} a month ${doesNotCover(hit)} Lower max_tokens, or ask an ` +
      `owner to raise it: \`keyhouse spend-limit set\`.`,
  }),
  organization_usage_limit_exceeded: row<SpendLimitHit>({
    status: 429,
    type: 'insufficient_quota',
    code: 'organization_usage_limit_exceeded',
    retryable: false,
    message: hit =>
      `The monthly cap of the organization's usage tier, $${hit.limitUsd}, ${doesNotCover(hit)} Lower max_tokens, or ` +
      `buy credit to reach the next tier.`,
  }),
  project_spend_limit_exceeded: row<SpendLimitHit & { project: string }>({
    status: 429,
    type: 'insufficient_quota',
    code: 'project_spend_limit_exceeded',
    retryable: false,
    message: hit =>
      `The spend limit of project ${hit.project}, $${hit.limitUsd} a month, ${doesNotCover(hit)} Lower max_tokens, or ` +
      `ask an owner to raise it: \`keyhouse spend-limit set --project ${hit.project}\`.`,
  }),
  key_budget_exceeded: row<SpendLimitHit & { period: string }>({
    status: 429,
    type: 'insufficient_quota',
    code: 'insufficient_quota',
    retryable: false,
    message: hit =>
      `The budget of this API key, $${hit.limitUsd} ${hit.period === 'total' ? 'in all' : `a ${hit.period}`}, ` +
      `${doesNotCover(hit)} Lower max_tokens, or ask an owner to raise the key's budget: \`keyhouse keys budget set\`.`,
  }),

  // 5xx: ours or the provider's
  model_loading: row<{ model: string; percent: number }>({
    ...unavailable,
    status: 503,
    code: 'model_loading',
    message: ({ model, percent }) =>
      `The model \`${model}\` is still being downloaded (${percent} %). Try again in a moment; ` +
      '`keyhouse models list` shows the progress.',
  }),
  model_unavailable: row<{ model: string; reason: string }>({
    ...unavailable,
    retryable: false,
    status: 503,
    code: 'model_unavailable',
    message: ({ model, reason }) => `The model \`${model}\` is not available: ${reason}`,
  }),
  server_is_overloaded: row({
    ...unavailable,
    status: 503,
    code: 'server_is_overloaded',
    message: () => 'This server is at its limit of concurrent requests. Try again in a moment.',
  }),
  server_draining: row({
    ...unavailable,
    status: 503,
    code: 'server_shutting_down',
    message: () => 'This server is shutting down and takes no new requests. Try again in a moment.',
  }),
  server_restoring: row({
    ...unavailable,
    status: 503,
    code: 'server_restoring',
    message: () => 'A backup is being restored, and calls are refused meanwhile. Try again in a minute.',
  }),
  storage_unavailable: row({
    ...unavailable,
    status: 503,
    code: 'storage_unavailable',
    message: () =>
      'The database cannot be reached, so this request could not be checked and was refused before it cost anything. ' +
      'Try again in a moment.',
  }),
  storage_full: row<{ what: string }>({
    ...unavailable,
    status: 503,
    code: 'storage_full',
    message: ({ what }) =>
      `This server cannot record usage (${what}), so new calls are refused before they cost anything. ` +
      'The operator must free disk space or bring the database back.',
  }),
  upstream_unreachable: row<{ provider: string }>({
    ...unavailable,
    type: 'server_error',
    status: 502,
    code: 'upstream_unreachable',
    message: ({ provider }) => `The provider \`${provider}\` could not be reached. Try again in a moment.`,
  }),
  provider_unreachable: row<{ provider: string; baseUrl: string }>({
    ...unavailable,
    type: 'server_error',
    status: 502,
    code: 'upstream_unreachable',
    message: ({ provider, baseUrl }) =>
      `The provider \`${provider}\` could not be reached at ${baseUrl}, so nothing was changed. Is it up, and is that its ` +
      'address as seen from the server? To have it without asking it, name its models.',
  }),
  upstream_timeout: row<{ provider: string }>({
    ...unavailable,
    type: 'server_error',
    status: 504,
    code: 'upstream_timeout',
    message: ({ provider }) => `The provider \`${provider}\` did not answer in time. Try again in a moment.`,
  }),
  upstream_error: row<{ provider: string; status: number }>({
    ...unavailable,
    type: 'server_error',
    status: 502,
    code: 'upstream_error',
    message: ({ provider, status }) =>
      `The provider \`${provider}\` failed with status ${status}. Try again in a moment.`,
  }),
  upstream_invalid: row<{ provider: string }>({
    ...unavailable,
    type: 'server_error',
    status: 502,
    code: 'upstream_invalid',
    message: ({ provider }) =>
      `The provider \`${provider}\` sent an answer that could not be read. Try again in a moment.`,
  }),
  upstream_credential: row<{ provider: string }>({
    ...unavailable,
    type: 'server_error',
    retryable: false,
    status: 502,
    code: 'upstream_credential',
    message: ({ provider }) =>
      `The provider \`${provider}\` refused Keyhouse's own credential. The operator must update it: \`keyhouse providers add\`.`,
  }),
  stream_cut: row<{ provider: string }>({
    ...unavailable,
    type: 'server_error',
    status: 502,
    code: 'stream_cut',
    message: ({ provider }) =>
      `The provider \`${provider}\` broke off in the middle of the answer. Send the request again.`,
  }),
  internal_error: row<{ requestId: string }>({
    status: 500,
    type: 'server_error',
    code: null,
    retryable: true,
    message: ({ requestId }) =>
      `The server had an error while processing your request. Sorry about that! Ask the operator to look up ${requestId} in the log.`,
  }),
} as const

export type ErrorCode = keyof typeof errors
export type ErrorDetail<Code extends ErrorCode> = (typeof errors)[Code] extends ErrorRow<infer Detail> ? Detail : never

/** What goes over the wire, inside `{"error": …}`. All four members are always there, as OpenAI's schema demands. */
export type WireError = { message: string; type: string; param: string | null; code: string | null }

export type ErrorExtras = {
  /** How long to wait before a retry can help; becomes `retry-after` and `retry-after-ms`. */
  readonly retryAfterMs?: number
  readonly headers?: Readonly<Record<string, string>>
  /** For us: logged, never sent. */
  readonly cause?: unknown
}

/** An expected failure, told to the caller in OpenAI's envelope. */
export class ApiError extends Error {
  readonly errorCode: ErrorCode
  readonly status: number
  readonly retryable: boolean
  readonly wire: WireError
  readonly retryAfterMs: number | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(errorCode: ErrorCode, wire: WireError, extras: ErrorExtras = {}) {
    super(wire.message, extras.cause === undefined ? undefined : { cause: extras.cause })
    this.name = 'ApiError'
    this.errorCode = errorCode
    this.status = errors[errorCode].status
    this.retryable = errors[errorCode].retryable
    this.wire = wire
    this.retryAfterMs = extras.retryAfterMs
    this.headers = extras.headers ?? {}
  }
}

/** `throw apiError('model_not_found', { model })`: the row decides status, type and text. */
export function apiError<Code extends ErrorCode>(
  errorCode: Code,
  ...[detail, extras]: ErrorDetail<Code> extends void
    ? [detail?: undefined, extras?: ErrorExtras]
    : [detail: ErrorDetail<Code>, extras?: ErrorExtras]
): ApiError {
  // The table's rows differ in their detail type; the signature above has already matched this detail to its row.
  const errorRow = errors[errorCode] as unknown as ErrorRow<unknown>
  const dimension = (detail as { dimension?: string } | undefined)?.dimension
  const wire = {
    message: errorRow.message(detail),
    type: dimension ?? errorRow.type,
    param: errorRow.param?.(detail) ?? null,
    code: (detail as { code?: string } | undefined)?.code ?? errorRow.code,
  }
  return new ApiError(errorCode, wire, extras)
}

/** What looks like a key, anybody's: it was sent where none belongs, the message quotes it, and answers are logged by others. */
const keyLike = /\bsk-[\w-]{20,}/g

export const errorBody = (error: ApiError): string =>
  JSON.stringify({ error: error.wire }).replace(keyLike, key => `${key.slice(0, 3)}****${key.slice(-4)}`)

/** Headers that belong to an error: when to retry, or that retrying is pointless. */
export function errorHeaders(error: ApiError): Record<string, string> {
  const headers: Record<string, string> = { ...error.headers }
  if (!error.retryable) headers['x-should-retry'] = 'false'
  if (error.retryAfterMs !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(error.retryAfterMs / 1000)))
    headers['retry-after-ms'] = String(Math.max(1, Math.ceil(error.retryAfterMs)))
  }
  return headers
}
