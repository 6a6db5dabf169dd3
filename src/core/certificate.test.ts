import { expect, test } from 'vitest'
import { makeCertificate } from '../../test/support/certificates.ts'
import { checkClientCertificate, readCertificate } from './certificate.ts'

const authority = makeCertificate({ name: 'Authority', authority: true })
const other = makeCertificate({ name: 'Authority', authority: true })
const between = makeCertificate({ name: 'Between', issuer: authority, authority: true })
const client = makeCertificate({ name: 'client', issuer: authority, usage: 'clients' })
const yesterday = new Date(Date.now() - 86_400_000)
const tomorrow = new Date(Date.now() + 86_400_000)

type Made = ReturnType<typeof makeCertificate>

/** The code of the refusal, or undefined. */
function refusal(trusted: readonly Made[], presented: readonly Made[]): string | undefined {
  try {
    checkClientCertificate(
      trusted.map(({ x509 }) => x509),
      () => presented.map(({ x509 }) => x509),
      Date.now(),
    )
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

test('where nothing is active, nobody is asked for a certificate', () => {
  const ask = () => {
    throw new Error('asked')
  }
  expect(() => checkClientCertificate([], ask, Date.now())).not.toThrow()
})

test('a client is let in by its authority, by an intermediate that came along, or by its very own certificate', () => {
  const below = makeCertificate({ name: 'client', issuer: between })
  expect(refusal([authority], [client])).toBeUndefined()
  expect(refusal([other, authority], [client])).toBeUndefined()
  expect(refusal([authority], [below, between])).toBeUndefined()
  expect(refusal([between], [below])).toBeUndefined()
  expect(refusal([client], [client])).toBeUndefined()
})

test('one that nobody active has issued is refused, whatever it calls its issuer', () => {
  const below = makeCertificate({ name: 'client', issuer: between })
  expect(refusal([authority], [])).toContain('none came along')
  expect(refusal([authority], [below])).toContain('does not verify')
  expect(refusal([other], [client])).toContain('does not verify')
  expect(refusal([authority], [makeCertificate({ name: 'client' })])).toContain('does not verify')
  expect(refusal([client], [makeCertificate({ name: 'client', issuer: authority })])).toContain('does not verify')
})

test('a certificate that is no authority vouches for nobody', () => {
  const pretender = makeCertificate({ name: 'Pretender', issuer: authority })
  const below = makeCertificate({ name: 'client', issuer: pretender })
  expect(refusal([authority], [below, pretender])).toContain('does not verify')
  expect(refusal([pretender], [below])).toContain('does not verify')
})

test('dates and usage count, of the client and of its issuers', () => {
  const expired = makeCertificate({ name: 'c', issuer: authority, validFrom: new Date(0), validTo: yesterday })
  const future = makeCertificate({ name: 'c', issuer: authority, validFrom: tomorrow, validTo: new Date(4e12) })
  const server = makeCertificate({ name: 'c', issuer: authority, usage: 'servers' })
  const old = makeCertificate({ name: 'Old', authority: true, validFrom: new Date(0), validTo: yesterday })
  expect(refusal([authority], [expired])).toContain('it expired at')
  expect(refusal([authority], [future])).toContain('it is valid from')
  expect(refusal([authority], [server])).toContain('client authentication')
  expect(refusal([old], [makeCertificate({ name: 'c', issuer: old })])).toContain('does not verify')
})

test('a chain that leads in a circle ends', () => {
  expect(refusal([authority], [other, between, other, between])).toContain('does not verify')
})

test.each([
  ['', 'expected PEM'],
  ['hello', 'expected PEM'],
  [client.key, 'private key'],
  [client.pem + client.key, 'private key'],
  [client.pem + authority.pem, '2 certificates'],
  ['-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', 'it is a public key'],
  [client.pem.replace(/\n[A-Za-z0-9+/]{9}/, '\n'), 'no readable X.509'],
])('what is no certificate is told from one (%#)', (pem, reason) => {
  const read = readCertificate(pem)
  expect(read.ok ? 'a certificate' : read.reason).toContain(reason)
})
