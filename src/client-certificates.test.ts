import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeCertificate } from '../test/support/certificates.ts'
import { parseHeader, readTlsFiles } from './client-certificates.ts'
import { loadConfig } from './config.ts'

const authority = makeCertificate({ name: 'Authority', authority: true })
const client = makeCertificate({ name: 'client', issuer: authority })
const base64 = (pem: string) => pem.replaceAll(/-----[^-]+-----|\s/g, '')
const encoded = encodeURIComponent(client.pem)
const chain = encodeURIComponent(client.pem + authority.pem)

test.each([
  ['nginx, escaped', encoded, ['client']],
  ['AWS, with its chain', chain.replaceAll('%2B', '+').replaceAll('%2F', '/'), ['client', 'Authority']],
  ['line breaks made spaces', client.pem.replaceAll('\n', ' '), ['client']],
  ['Traefik', `${base64(client.pem)},${base64(authority.pem)}`, ['client', 'Authority']],
  ['RFC 9440', `:${base64(client.pem)}:`, ['client']],
  ['Envoy', `By=spiffe://x;Hash=ab;Cert="${encoded}";Subject="CN=a,b";URI=`, ['client']],
  ['Envoy, with its chain', `Hash=ab;Cert="${encoded}";Chain="${chain}"`, ['client', 'client', 'Authority']],
  [
    'Envoy, behind what a client claims',
    `Cert="${encodeURIComponent(authority.pem)}",Hash=ab;Cert="${encoded}"`,
    ['client'],
  ],
  ['Envoy, no certificate', 'By=spiffe://x;Hash=ab', []],
  ['nothing', '', []],
])('the header of a proxy: %s', (_proxy, value, names) => {
  expect(parseHeader(value).map(({ subject }) => subject.replace('CN=', ''))).toEqual(names)
})

test.each(['garbage', '%E0%A4', '-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----'])(
  'a header that holds no certificate is an error: %s',
  value => {
    expect(() => parseHeader(value)).toThrow()
  },
)

test('a server whose TLS files are missing, or do not belong together, says so and does not start', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keyhouse-tls-'))
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content)
    return join(folder, name)
  }
  const read = (cert: string, key: string) =>
    readTlsFiles(loadConfig({ flags: { 'tls-cert': cert, 'tls-key': key }, environment: {}, file: undefined }))
  try {
    const cert = await file('cert.pem', client.pem)
    expect(read(cert, await file('key.pem', client.key))).toEqual({ cert: client.pem, key: client.key })
    const other = await file('other.pem', authority.key)
    expect(() => read(cert, other)).toThrow('are no PEM certificate and its private key')
    expect(() => read(cert, join(folder, 'nothing'))).toThrow('The file of the setting tls-key cannot be read')
    expect(() => read(cert, '')).toThrow('together with tls-key')
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a header that would be believed from nobody is a mistake in the settings', () => {
  const flags = { 'client-cert-header': 'ssl-client-cert' }
  expect(() => loadConfig({ flags, environment: {}, file: undefined })).toThrow('needs trusted-proxies')
})
