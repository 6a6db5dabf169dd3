import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createInference, type Inference } from './inference.ts'
import { engineFolder, lockFile } from './model-folder.ts'
import { createTestLog, makeTempFolder, sha256Of, smallGguf } from './testing.ts'
import { threadsDefault } from './threads.ts'

let folder: ReturnType<typeof makeTempFolder>
let inference: Inference
let log: ReturnType<typeof createTestLog>
beforeEach(() => {
  folder = makeTempFolder()
  log = createTestLog()
  const directory = join(folder.path, 'models')
  // an engine that is only a folder: enough for everything but running a model
  mkdirSync(engineFolder(directory), { recursive: true })
  inference = createInference({
    directory,
    socketPath: join(folder.path, 's.sock'),
    threads: 1,
    queueMax: 1,
    log,
  })
})
afterEach(async () => {
  await inference.stop({ deadlineMs: 1_000 })
  folder.remove()
})

const bytes = smallGguf()
const localFile = (): string => {
  const path = join(folder.path, 'tiny.gguf')
  writeFileSync(path, bytes)
  return path
}

test('a model is absent, then downloading with a percentage, then ready', async () => {
  expect(inference.state('tiny')).toEqual({ status: 'absent' })
  const seen: unknown[] = []
  const onProgress = (): void => void seen.push(inference.state('tiny'))
  const pulling = inference.pull('tiny', { from: localFile(), sha256: sha256Of(bytes), onProgress })
  expect(inference.state('tiny')).toEqual({ status: 'downloading', percent: 0 })
  await pulling
  expect(seen.at(-1)).toEqual({ status: 'downloading', percent: 100 })
  expect(inference.state('tiny')).toEqual({ status: 'ready' })
  expect(inference.card('tiny')).toMatchObject({ kind: 'chat', contextTokensMax: 512 })
})

test('a pull that failed says why until one succeeds', async () => {
  const from = localFile()
  await expect(inference.pull('tiny', { from, sha256: 'b'.repeat(64) })).rejects.toThrow(/pinned/)
  expect(inference.state('tiny')).toMatchObject({ status: 'failed', reason: expect.stringContaining('pinned') })
  await inference.pull('tiny', { from, sha256: sha256Of(bytes) })
  expect(inference.state('tiny')).toEqual({ status: 'ready' })
})

test('a model that is in no catalog is refused with the names of those that are', async () => {
  await expect(inference.pull('gpt-9')).rejects.toThrow(/tinyllama-1.1b-chat, all-minilm-l6-v2.*--from/)
})

test('a pull goes on while anybody wants it, and ends when the last one cancels', async () => {
  const first = new AbortController()
  const request = { from: localFile(), sha256: sha256Of(bytes) }
  const one = inference.pull('tiny', { ...request, signal: first.signal })
  const other = inference.pull('tiny', request)
  first.abort(new Error('first left'))
  await expect(one).rejects.toThrow('first left')
  await other
  expect(inference.state('tiny').status).toBe('ready')
})

test('a cancelled pull is not a failed one, and can be tried again', async () => {
  const caller = new AbortController()
  const request = { from: localFile(), sha256: sha256Of(bytes) }
  const pulling = inference.pull('tiny', { ...request, signal: caller.signal })
  caller.abort(new Error('cancelled'))
  await expect(pulling).rejects.toThrow('cancelled')
  expect(inference.state('tiny')).toEqual({ status: 'absent' })
  await inference.pull('tiny', request)
  expect(inference.state('tiny').status).toBe('ready')
})

test('a source that the operator names replaces a pull that may never end', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // listening on a port, so the address is an object
  const { port } = server.address() as AddressInfo
  const sha256 = sha256Of(bytes)
  const stuck = inference.pull('tiny', { from: `http://127.0.0.1:${port}/`, sha256 }).catch(error => error)
  await once(server, 'request')
  await inference.pull('tiny', { from: localFile(), sha256 })
  expect(await stuck).toBeInstanceOf(Error)
  expect(inference.state('tiny')).toEqual({ status: 'ready' })
  server.closeAllConnections()
  server.close()
})

test('starting fetches what is missing in the background, and stopping ends that', async () => {
  const bin = join(folder.path, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'npm'), '#!/bin/sh\nexec sleep 30\n', { mode: 0o755 })
  vi.stubEnv('npm_execpath', '')
  vi.stubEnv('PATH', `${bin}:${process.env.PATH}`)
  const startedAt = Date.now()
  await inference.start(['all-minilm-l6-v2'])
  await expect.poll(() => inference.state('all-minilm-l6-v2').status).toBe('downloading')
  await inference.stop({ deadlineMs: 1_000 })
  expect(Date.now() - startedAt).toBeLessThan(2_000)
  expect(inference.state('all-minilm-l6-v2')).toEqual({ status: 'absent' })
  expect(log.lines.filter(line => line.includes('could not be fetched'))).toEqual([])
  vi.unstubAllEnvs()
})

test("another process's pull shows as downloading, with its percentage", async () => {
  const path = lockFile(join(folder.path, 'models'), 'all-minilm-l6-v2')
  mkdirSync(join(folder.path, 'models', 'partial'), { recursive: true })
  writeFileSync(path, JSON.stringify({ id: 'other', percent: 42 }))
  inference.state('all-minilm-l6-v2')
  await expect.poll(() => inference.state('all-minilm-l6-v2')).toEqual({ status: 'downloading', percent: 42 })
})

test('the list has the catalog and what the operator brought, each with its state', async () => {
  await inference.pull('tiny', { from: localFile(), sha256: sha256Of(bytes) })
  const list = await inference.list()
  expect(list.map(({ name, kind, state }) => [name, kind, state.status])).toEqual([
    ['tinyllama-1.1b-chat', 'chat', 'absent'],
    ['all-minilm-l6-v2', 'embeddings', 'absent'],
    ['tiny', 'chat', 'ready'],
  ])
})

test.each([
  [1, 1],
  [2, 2],
  [4, 2],
  [8, 4],
  [64, 8],
])('on %i cores a generation gets %i threads, never more than there are', (cores, threads) => {
  expect(threadsDefault(cores)).toBe(threads)
})
