/**
 * What a client proved to be by mutual TLS: in the handshake with us, or in the one with a trusted proxy that passes the
 * certificate on in a header. From anyone else the header is only a claim: it is not even looked at.
 */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { createSecureContext, TLSSocket } from 'node:tls'
import { apiError } from '#contract/errors.ts'
import { type AddressList, addressList } from '#core/address.ts'
import { type Config, splitList } from '#src/config.ts'

export type CertificateReader = (request: IncomingMessage) => readonly X509Certificate[]

export function certificateReader({ values }: Config): CertificateReader {
  const proxies = addressList(splitList(values['trusted-proxies']))
  const header = values['client-cert-header'].toLowerCase()
  return request => {
    if (header !== '' && isFrom(proxies, request)) return fromHeader(request, header)
    return request.socket instanceof TLSSocket ? fromHandshake(request.socket) : []
  }
}

const isFrom = (proxies: AddressList, { socket }: IncomingMessage): boolean => proxies.has(socket.remoteAddress ?? '')

/** The same for every request of a connection. */
const chains = new WeakMap<TLSSocket, readonly X509Certificate[]>()
const chainLengthMax = 8

function fromHandshake(socket: TLSSocket): readonly X509Certificate[] {
  const known = chains.get(socket)
  if (known) return known
  const chain: X509Certificate[] = []
  let next = socket.getPeerX509Certificate()
  while (next && chain.length < chainLengthMax) {
    chain.push(next)
    next = next.issuerCertificate
  }
  chains.set(socket, chain)
  return chain
}

/** @throws ApiError client_certificate_invalid: what a proxy of ours sends must be readable, and be there once */
function fromHeader({ headersDistinct }: IncomingMessage, header: string): readonly X509Certificate[] {
  const values = headersDistinct[header] ?? []
  // The second may be what the client itself had sent
  if (values.length > 1) throw unreadable(`the header ${header} came ${values.length} times`)
  const [value = ''] = values
  try {
    return parseHeader(value).slice(0, chainLengthMax)
  } catch (cause) {
    throw unreadable(`the header ${header} of the proxy holds no readable certificate`, cause)
  }
}

const unreadable = (reason: string, cause?: unknown): Error =>
  apiError('client_certificate_invalid', { reason }, cause === undefined ? {} : { cause })

/**
 * As proxies write it: PEM, percent-encoded (nginx, Apache, AWS); `Cert="…";Chain="…"` (Envoy); DER in base64, several
 * parted by commas (Traefik), or between colons (RFC 9440).
 */
export function parseHeader(value: string): X509Certificate[] {
  if (value === '') return []
  const text = /(?:^|[;,])\s*(?:Cert|Chain|Hash|By)=/i.test(value) ? fromEnvoy(value) : value
  const plain = text.includes('%') ? decodeURIComponent(text) : text
  const blocks = plain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  if (blocks) return blocks.map(block => new X509Certificate(asLines(block)))
  if (plain.trim() === '') return []
  return plain.split(',').map(base64 => new X509Certificate(Buffer.from(base64.replaceAll(':', ''), 'base64')))
}

/** The last element is the nearest proxy's own; what stands before it, others have sent. */
function fromEnvoy(value: string): string {
  const own = value.match(/(?:[^,"]|"[^"]*")+/g)?.at(-1) ?? ''
  const member = (name: string): string => new RegExp(`(?:^|;)\\s*${name}="?([^";]*)"?`, 'i').exec(own)?.[1] ?? ''
  // A chain holds the certificate too: whoever reads it looks at the first one
  return `${member('Cert')}${member('Chain')}`
}

/** A header has no line breaks: proxies write spaces or tabs in their place. */
const asLines = (block: string): string =>
  block.replace(/-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/, (_whole, body: string) =>
    [
      '-----BEGIN CERTIFICATE-----',
      ...(body.replaceAll(/\s/g, '').match(/.{1,64}/g) ?? []),
      '-----END CERTIFICATE-----',
    ].join('\n'),
  )

/** @throws Error that names the settings whose files cannot be read, or are no certificate and its key */
export function readTlsFiles({ values }: Pick<Config, 'values'>): { cert: string; key: string } | undefined {
  if (values['tls-cert'] === '') return undefined
  const tls = { cert: readFile('tls-cert', values['tls-cert']), key: readFile('tls-key', values['tls-key']) }
  try {
    createSecureContext(tls)
    return tls
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`The files of tls-cert and tls-key are no PEM certificate and its private key: ${reason}`, {
      cause,
    })
  }
}

function readFile(setting: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`The file of the setting ${setting} cannot be read: ${reason}`, { cause })
  }
}
