/** X.509 certificates for tests, made here: authorities, clients, servers, valid and not. EC P-256, SHA-256. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'

export type TestCertificate = {
  readonly pem: string
  /** PKCS#8, PEM. */
  readonly key: string
  readonly x509: X509Certificate
  readonly privateKey: KeyObject
  readonly subject: Buffer
}

export type CertificateOptions = {
  readonly name: string
  /** Left out: signs itself. */
  readonly issuer?: TestCertificate
  readonly authority?: boolean
  readonly validFrom?: Date
  readonly validTo?: Date
  readonly usage?: 'clients' | 'servers'
  /** An IPv4 address that the certificate is for. */
  readonly address?: string
}

const dayMs = 86_400_000

export function makeCertificate(options: CertificateOptions): TestCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const subject = distinguishedName(options.name)
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    options.issuer?.subject ?? subject,
    sequence(
      time(options.validFrom ?? new Date(Date.now() - dayMs)),
      time(options.validTo ?? new Date(Date.now() + dayMs)),
    ),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(options))),
  )
  const signature = sign('sha256', body, options.issuer?.privateKey ?? privateKey)
  const der = sequence(body, ecdsaWithSha256, tagged(0x03, Buffer.from([0]), signature))
  const x509 = new X509Certificate(der)
  return { pem: x509.toString(), key: pemOf(privateKey), x509, privateKey, subject }
}

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

function extensions({ authority = false, usage, address }: CertificateOptions): Buffer[] {
  const constraints = authority ? sequence(tagged(0x01, Buffer.from([0xff]))) : sequence()
  const found = [sequence(oid('551d13'), tagged(0x01, Buffer.from([0xff])), tagged(0x04, constraints))]
  const usages = { clients: '2b06010505070302', servers: '2b06010505070301' } as const
  if (usage) found.push(sequence(oid('551d25'), tagged(0x04, sequence(oid(usages[usage])))))
  if (address) {
    const name = sequence(tagged(0x87, Buffer.from(address.split('.').map(Number))))
    found.push(sequence(oid('551d11'), tagged(0x04, name)))
  }
  return found
}

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

const sequence = (...parts: readonly Buffer[]): Buffer => tagged(0x30, ...parts)
const integer = (bytes: Buffer): Buffer => tagged(0x02, bytes)
/** Its encoded form, in hexadecimal digits. */
const oid = (hex: string): Buffer => tagged(0x06, Buffer.from(hex, 'hex'))
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))

const distinguishedName = (name: string): Buffer =>
  sequence(tagged(0x31, sequence(oid('550403'), tagged(0x0c, Buffer.from(name)))))

/** GeneralizedTime, whatever the year. */
const time = (date: Date): Buffer =>
  tagged(0x18, Buffer.from(`${date.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`))
