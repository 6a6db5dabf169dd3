import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import { type Folder, newFolder, randomBytes, samples } from './testing.ts'

type Asked = { readonly path: string; readonly headers: IncomingHttpHeaders }
type Answer = readonly [status: number, code: string | null]
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** A server that knows some keys; a Keyhouse unless said. */
async function serve(answers: Readonly<Record<string, Answer>>, { isKeyhouse = true } = {}) {
  const asked: Asked[] = []
  const server = createServer(({ url = '', headers }, response) => {
    asked.push({ path: url, headers })
    if (isKeyhouse) response.setHeader('x-request-id', 'req_1')
    if (url === '/health/live') return void response.end('{"status":"ok"}')
    const [status, code] = answers[headers.authorization?.slice('Bearer '.length) ?? ''] ?? [401, 'invalid_api_key']
    response.writeHead(status).end(JSON.stringify(status === 200 ? { data: [] } : { error: { message: 'no', code } }))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  )
  // A TCP server's address is never text; that is for Unix sockets
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

function folderWith(...texts: string[]): Folder {
  const folder = newFolder()
  closers.push(folder.remove)
  texts.forEach((text, index) => void folder.write(`${index}.txt`, text))
  return folder
}

const key = (): string => makeKey('project', randomBytes)

test('each Keyhouse key is asked for once, and told to be live, dead, or unknown', async () => {
  const [live, admin, disabled, revoked, busy] = [key(), makeKey('admin', randomBytes), key(), key(), key()]
  const { url, asked } = await serve({
    [live]: [200, null],
    [admin]: [401, null],
    [disabled]: [401, 'key_disabled'],
    [busy]: [429, 'rate_limit_exceeded'],
  })
  const folder = folderWith(live, admin, disabled, revoked, busy, `${live}\n${live}`)
  const { stdout } = await folder.scan(['--check-live', '--url', url, '--json'])
  const told: { live: string }[] = JSON.parse(stdout).findings
  expect(told.map(finding => finding.live)).toEqual(['live', 'live', 'live', 'dead', 'unknown', 'live', 'live'])
  expect(asked.filter(({ path }) => path === '/v1/models')).toHaveLength(5)
  expect((await folder.scan(['--check-live', '--url', url])).stdout).toContain('LIVE: the server knows it')
})

test("other providers' keys, damaged keys and files are sent nowhere", async () => {
  const { url, asked } = await serve({})
  const others = Object.entries(samples).filter(([id]) => id !== 'keyhouse-key' && id !== 'keyhouse-test-key')
  const { code, stdout } = await folderWith(...others.map(([, make]) => make())).scan([
    '--check-live',
    '--url',
    url,
    '--json',
  ])
  expect([code, JSON.parse(stdout).findings.length]).toEqual([1, others.length])
  expect(asked).toEqual([])
})

test('no key is sent to what is no Keyhouse, nor where nothing listens', async () => {
  const other = await serve({}, { isKeyhouse: false })
  for (const url of [other.url, 'http://127.0.0.1:1']) {
    const { stdout, code } = await folderWith(key()).scan(['--check-live', '--url', url, '--json'])
    expect([code, JSON.parse(stdout).findings[0].live]).toEqual([1, 'unknown'])
  }
  expect(other.asked.map(({ path }) => path)).toEqual(['/health/live'])
  expect(other.asked[0]?.headers.authorization).toBeUndefined()
})

test('nobody is asked without --check-live', async () => {
  const { url, asked } = await serve({})
  const { stdout } = await folderWith(key()).scan(['--json'], { KEYHOUSE_URL: url })
  expect(JSON.parse(stdout).findings[0]).not.toHaveProperty('live')
  expect(asked).toEqual([])
})
