/**
 * Client certificates: does the one that a call came with verify against one of those that were activated? Trusted is a
 * certificate that was uploaded and nothing else; the system's own authorities play no part here.
 */
import { X509Certificate } from 'node:crypto'
import { apiError } from '#contract/errors.ts'

/** The client's own certificate first, then whatever of its chain came along. Empty: none was sent. */
export type PresentedChain = readonly X509Certificate[]

export type ReadCertificate =
  | { readonly ok: true; readonly certificate: X509Certificate }
  /** The rest of a sentence that begins with what was to be read. */
  | { readonly ok: false; readonly reason: string }

const begin = /-----BEGIN ([A-Z0-9 ]+)-----/g

/** One certificate in PEM, as people upload it. */
export function readCertificate(pem: string): ReadCertificate {
  const labels = [...pem.matchAll(begin)].map(([, label = '']) => label)
  if (labels.some(label => label.endsWith('PRIVATE KEY'))) {
    return { ok: false, reason: 'it holds a private key. Send the certificate alone, and keep the key to yourself.' }
  }
  if (labels.length === 0)
    return { ok: false, reason: 'expected PEM: text that begins with -----BEGIN CERTIFICATE-----.' }
  if (labels.length > 1) return { ok: false, reason: `it holds ${labels.length} certificates. Upload each by itself.` }
  if (labels[0] !== 'CERTIFICATE')
    return { ok: false, reason: `it is a ${labels[0]?.toLowerCase()}, not a certificate.` }
  try {
    return { ok: true, certificate: new X509Certificate(pem) }
  } catch {
    // The parser's own words say nothing to whoever pasted a text
    return { ok: false, reason: 'it is no readable X.509 certificate. Was it cut or changed while it was copied?' }
  }
}

export const validFromMs = (certificate: X509Certificate): number => Date.parse(certificate.validFrom)
export const validToMs = (certificate: X509Certificate): number => Date.parse(certificate.validTo)

/**
 * @param trusted what was activated for the organization or project of the key; none: any call may come
 * @param presented asked only where something is trusted
 * @throws ApiError client_certificate_required, client_certificate_invalid
 */
export function checkClientCertificate(
  trusted: readonly X509Certificate[],
  presented: () => PresentedChain,
  nowMs: number,
): void {
  if (trusted.length === 0) return
  const chain = presented()
  const [own] = chain
  if (!own) throw apiError('client_certificate_required')
  const reason = refusalOf(own, chain, trusted, nowMs)
  if (reason !== undefined) throw apiError('client_certificate_invalid', { reason })
}

function refusalOf(
  own: X509Certificate,
  chain: PresentedChain,
  trusted: readonly X509Certificate[],
  nowMs: number,
): string | undefined {
  if (validToMs(own) <= nowMs) return `it expired at ${new Date(validToMs(own)).toISOString()}`
  if (validFromMs(own) > nowMs) return `it is valid from ${new Date(validFromMs(own)).toISOString()} on`
  if (!isForClients(own)) return 'its extended key usage does not include client authentication'
  return verifies(own, chain, trusted, nowMs)
    ? undefined
    : 'it does not verify against any certificate that is active here'
}

const clientAuthentication = '1.3.6.1.5.5.7.3.2'
const anyUsage = '2.5.29.37.0'

/** Without the extension a certificate is for anything. */
function isForClients({ keyUsage: extended }: X509Certificate): boolean {
  // Typed as always there; undefined where the certificate has no such extension
  const usages: readonly string[] | undefined = extended
  return usages === undefined || usages.includes(clientAuthentication) || usages.includes(anyUsage)
}

/** Issuers between the client's certificate and a trusted one. */
const intermediatesMax = 4

function verifies(
  own: X509Certificate,
  chain: PresentedChain,
  trusted: readonly X509Certificate[],
  nowMs: number,
): boolean {
  const alive = trusted.filter(certificate => isValid(certificate, nowMs))
  let current = own
  for (let step = 0; step <= intermediatesMax; step += 1) {
    const { fingerprint256 } = current
    if (alive.some(one => one.fingerprint256 === fingerprint256 || issued(one, current))) return true
    const issuer = chain.find(
      one => one.fingerprint256 !== fingerprint256 && isValid(one, nowMs) && issued(one, current),
    )
    if (!issuer) return false
    current = issuer
  }
  return false
}

const isValid = (certificate: X509Certificate, nowMs: number): boolean =>
  validFromMs(certificate) <= nowMs && validToMs(certificate) > nowMs

/** By name, by what it may sign, and by signature. */
const issued = (issuer: X509Certificate, subject: X509Certificate): boolean =>
  issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey)
