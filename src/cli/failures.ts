/** What can go wrong between us and the server, each as a CliError with its exit code and the step that mends it. */
import { CliError, messageOf } from './exit.ts'
import type { FoundServer } from './find-server.ts'
import { safeText } from './terminal.ts'

type Refusal = { status: number; text: string; requestId: string | undefined; keyFrom?: string | undefined }

/** What a bad status means, in the server's own words where it has any. */
export function refused(server: FoundServer, { status, text, requestId, keyFrom }: Refusal): CliError {
  const message = messageIn(text)
  if (message === undefined) return notKeyhouse(server, `status ${status}`)
  if (status === 401 && keyFrom !== undefined)
    return new CliError('notAuthorized', `${message} (The key came from ${keyFrom}.)`, { requestId })
  if (status === 401 || status === 403) return new CliError('notAuthorized', message, { requestId })
  if (status === 404) return new CliError('notFound', message + whereToLook(message), { requestId })
  return new CliError('failed', message, { requestId })
}

/** By what the server says is not there: the command that shows what is. */
const listCommands: Record<string, string> = {
  'API key in this project': 'keys list',
  'admin API key': 'keys list --admin',
  call: 'calls list',
  'captured call': 'calls capture',
  certificate: 'certificates list',
  'credit grant': 'credits list',
  group: 'groups list',
  'group in this project': 'projects groups PROJECT',
  invite: 'invites list',
  mail: 'mail list',
  model: 'models list',
  'model alias': 'models list',
  project: 'projects list',
  provider: 'providers list',
  'role here': 'roles list',
  'role of this organization': 'roles list',
  'role of this project': 'roles list --project PROJECT',
  'service account in this project': 'service-accounts list --project PROJECT',
  'spend alert': 'spend-alerts list',
  'user in this group': 'groups users GROUP',
  'user in this organization': 'users list',
  'user in this project': 'projects users list PROJECT',
}

function whereToLook(message: string): string {
  const [, what = ''] = /^No such ([a-zA-Z ]+)(?:: `[^`]*`)?\.$/.exec(message) ?? []
  const command = listCommands[what]
  return command === undefined ? '' : ` \`keyhouse ${command}\` shows what there is.`
}

/** The message in OpenAI's error envelope. */
function messageIn(text: string): string | undefined {
  try {
    const message: unknown = JSON.parse(text)?.error?.message
    return typeof message === 'string' ? safeText(message) : undefined
  } catch {
    return undefined
  }
}

export const notKeyhouse = ({ url, urlFrom }: FoundServer, what: string): CliError =>
  new CliError(
    'unreachable',
    `What answers at ${url} (from ${urlFrom}) is not a Keyhouse server (${what}). Say where yours is with --url or KEYHOUSE_URL.`,
  )

const reasons: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name cannot be looked up now',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  HPE_INVALID_CONSTANT: 'it does not speak HTTP',
}

export function unreachable({ url, urlFrom }: FoundServer, error: unknown): CliError {
  const reason = whyUnreachable(error)
  const sentence = `Keyhouse cannot be reached at ${url} (from ${urlFrom}): ${reason}.`
  const advice = isCertificate(error)
    ? 'Give --url with a name that its certificate holds, and KEYHOUSE_ADMIN_KEY; a CA of your own goes into NODE_EXTRA_CA_CERTS.'
    : 'Start it with `keyhouse start`, or say where it is with --url or KEYHOUSE_URL.'
  return new CliError('unreachable', `${sentence} ${advice}`, { cause: error })
}

export function whyUnreachable(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return 'it did not answer in time'
  const cause = causeOf(error)
  const message = safeText(messageOf(cause))
  if (isCertificate(error)) return `its certificate is not accepted (${message.split(';', 1)[0]})`
  return reasons[codeOf(cause)] ?? message
}

const causeOf = (error: unknown): unknown =>
  error instanceof Error && error.cause instanceof Error ? error.cause : error
const codeOf = (cause: unknown): string => (cause instanceof Error && 'code' in cause ? String(cause.code) : '')

const isCertificate = (error: unknown): boolean => isCertificateCode(codeOf(causeOf(error)))

/** OpenSSL's words: DEPTH_ZERO_SELF_SIGNED_CERT, UNABLE_TO_VERIFY_LEAF_SIGNATURE, ERR_TLS_CERT_ALTNAME_INVALID … */
export const isCertificateCode = (code: string): boolean => /CERT|SIGNATURE|ISSUER|ALTNAME/.test(code)
