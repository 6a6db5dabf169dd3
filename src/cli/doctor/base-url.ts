/** Does a base URL lead to a Keyhouse? If not, where does it go wrong: name, port, protocol, certificate, proxy, path. */
import { isCertificateCode } from '../failures.ts'
import { type Answered, askAt, isKeyhouse, type Unanswered } from './answer.ts'
import { type Check, ok, warning, wrong } from './check.ts'
import { checkProxy } from './proxy.ts'

/** `url` is the base URL to go on with, such as http://127.0.0.1:8484/v1; undefined where no Keyhouse was found. */
export type FoundBase = { readonly checks: readonly Check[]; readonly url: string | undefined }

const usual = 'http://127.0.0.1:8484/v1'

export async function checkBaseUrl(text: string, from: string, env: NodeJS.ProcessEnv): Promise<FoundBase> {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    return lost(wrong('base url', `'${shown(text)}' (from ${from}) is no URL`, `Write it as in ${usual}.`))
  }
  if (carriesKey(url)) {
    const mend = 'Revoke that key, which logs have seen, and send the new one in the Authorization header only.'
    return lost(wrong('base url', 'there is a key in the URL', mend))
  }
  const proxy = checkProxy(url, env)
  const server = url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1(?:\/.*)?$/, '')
  const live = await askAt(`${server}/health/live`)
  if ('failure' in live) return lost(await whyNot(url, live), proxy)
  if (!isKeyhouse(live)) return lost(await whatElse(url, live), proxy)
  return { checks: [checkPath(url, server, from), proxy, ...checkTransport(url)], url: `${server}/v1` }
}

const lost = (...checks: readonly Check[]): FoundBase => ({ checks, url: undefined })

/** A key that stands in it is not shown. */
const shown = (text: string): string => text.replaceAll(/sk-[\w-]+/g, 'sk-****').slice(0, 200)

const carriesKey = ({ username, password, pathname, search }: URL): boolean =>
  username !== '' || password !== '' || /sk-[\w-]{10}/.test(pathname + search) || /[?&](api_?key|token)=/i.test(search)

function checkPath({ pathname, href }: URL, server: string, from: string): Check {
  const path = pathname.replace(/\/+$/, '')
  const right = `Set it to ${server}/v1`
  if (path.endsWith('/v1')) return ok('base url', `a Keyhouse answers at ${server} (from ${from})`)
  if (path.includes('/v1/')) return wrong('base url', `${href} names an endpoint, and SDKs add it again`, `${right}.`)
  return wrong('base url', `a Keyhouse answers at ${server}, but ${href} ends without /v1`, `${right}.`)
}

const isHere = ({ hostname }: URL): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)

function checkTransport(url: URL): Check[] {
  if (url.protocol === 'https:' || isHere(url)) return []
  const mend = 'Set tls-cert and tls-key, or put a proxy with https in front of it.'
  return [warning('transport', 'http to another machine: everybody on the way can read the key', mend)]
}

const nothingThere = 'Start it with `keyhouse start`, or correct host and port.'
const reasons: Readonly<Record<string, readonly [proof: string, mend: string]>> = {
  ENOTFOUND: ['its name is not known', 'Correct the host name, or ask whoever runs your DNS.'],
  EAI_AGAIN: ['its name cannot be looked up now', 'Is this machine on the network, and its DNS server up?'],
  ECONNREFUSED: ['nothing listens there', nothingThere],
  EHOSTUNREACH: ['there is no way to that machine', 'Is the address right, and is it in a network that you can reach?'],
  ENETUNREACH: ['there is no way to that network', 'Is this machine on the network?'],
  TIMEOUT: ['no answer came in time', 'A firewall or proxy in between may swallow it: try from the server itself.'],
}

async function whyNot(url: URL, { failure }: Unanswered): Promise<Check> {
  const { code, reason } = failure
  const other = await otherProtocol(url)
  if (other) return other
  const [proof, mend] = reasons[code] ?? certificateReason(code, reason) ?? [reason, nothingThere]
  return wrong('base url', `${url.origin}: ${proof}`, mend)
}

function certificateReason(code: string, reason: string): readonly [string, string] | undefined {
  if (!isCertificateCode(code)) return undefined
  const mend =
    'Call it by the name in the certificate; for a CA of your own set NODE_EXTRA_CA_CERTS (Python: SSL_CERT_FILE).'
  return [`its certificate is not accepted (${reason})`, mend]
}

/** What does not answer in one protocol may speak the other. */
async function otherProtocol(url: URL): Promise<Check | undefined> {
  const swapped = url.protocol === 'https:' ? 'http' : 'https'
  const origin = `${swapped}://${url.host}`
  const answer = await askAt(`${origin}/health/live`)
  const speaksTls = 'failure' in answer && isCertificateCode(answer.failure.code)
  if ('failure' in answer ? !(swapped === 'https' && speaksTls) : !isKeyhouse(answer)) return undefined
  const proof = `${url.host} speaks ${swapped}, and ${url.protocol.slice(0, -1)} was asked for`
  return wrong('base url', proof, `Set it to ${origin}/v1.`)
}

async function whatElse(url: URL, { status, headers }: Answered): Promise<Check> {
  const location = headers.get('location') ?? ''
  if (url.protocol === 'http:' && location.startsWith('https:')) {
    return wrong(
      'base url',
      `${url.host} sends http on to https`,
      `Set it to https://${url.host}/v1: SDKs drop the key on the way.`,
    )
  }
  const other = await otherProtocol(url)
  if (other) return other
  const server = headers.get('via') ?? headers.get('server') ?? ''
  const program = server === '' ? 'another program' : `another program (${server.slice(0, 60)})`
  if (status === 407 || status === 502 || status === 503 || status === 504) {
    return wrong(
      'base url',
      `a proxy answers ${status} for ${url.host}`,
      'Is the Keyhouse behind it up, and the proxy pointed at it?',
    )
  }
  return wrong('base url', `${program} answers at ${url.host}`, 'Correct the host or the port.')
}
