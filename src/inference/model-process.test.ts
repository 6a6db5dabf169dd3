import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'undici'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createModelProcess, type ModelProcess } from './model-process.ts'
import { createTestLog, makeTempFolder } from './testing.ts'

let folder: ReturnType<typeof makeTempFolder>
let model: ModelProcess | undefined
beforeEach(() => {
  folder = makeTempFolder()
})
afterEach(async () => {
  await model?.stop(1_000)
  model = undefined
  folder.remove()
})

const here = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href)

/** The real server around an instant model, in a child of its own. */
const echoChild = `
  import { createModelServer } from ${here('./server.ts')}
  import { createEchoHost } from ${here('./testing.ts')}
  const { socketPath } = JSON.parse(process.argv[2])
  const server = createModelServer({ host: createEchoHost({ tokenMs: 50 }), queueMax: 4, logError: console.error })
  process.once('disconnect', () => process.exit(0))
  process.once('SIGTERM', () => server.close(() => process.exit(0)))
  server.listen(socketPath, () => process.send({ type: 'listening' }))
`

const socketPath = (): string => join(folder.path, 's.sock')

const create = (program: string) => {
  const entry = join(folder.path, 'child.mjs')
  writeFileSync(entry, program)
  const log = createTestLog()
  model = createModelProcess({ entry, log, models: folder.path, socketPath: socketPath(), threads: 1, queueMax: 1 })
  return { model, log }
}

const call = async (maxTokens = 1): Promise<number> => {
  const client = new Client('http://local', { socketPath: socketPath() })
  try {
    const body = JSON.stringify({ model: 'echo', prompt: 'a', max_tokens: maxTokens })
    const reply = await client.request({ method: 'POST', path: '/v1/completions', body })
    await reply.body.dump()
    return reply.statusCode
  } finally {
    await client.destroy()
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('the process starts at the first call, once for many', async () => {
  const { model } = create(echoChild)
  expect(model.pid()).toBeNull()
  await Promise.all([model.ensureRunning(), model.ensureRunning()])
  const pid = model.pid()
  await model.ensureRunning()
  expect(model.pid()).toBe(pid)
  expect(await call()).toBe(200)
})

test('after kill -9 the call in flight breaks and the next one works', async () => {
  const { model, log } = create(echoChild)
  await model.ensureRunning()
  const pid = model.pid() ?? 0
  const cut = call(16)
  await sleep(100)
  process.kill(pid, 'SIGKILL')
  await expect(cut).rejects.toThrow()
  while (model.pid() === pid) await sleep(5)
  await model.ensureRunning()
  expect(model.pid()).not.toBe(pid)
  expect(await call()).toBe(200)
  expect(log.lines.join('\n')).toMatch(/the model process ended.*SIGKILL/)
})

test('a process that crashes at once is started with growing pauses, then not at all for a while', async () => {
  const { model, log } = create('process.exit(3)')
  const startedAt = Date.now()
  await expect(model.ensureRunning()).rejects.toThrow(/ended before it was ready/)
  await expect(model.ensureRunning()).rejects.toThrow(/ended before it was ready/)
  await expect(model.ensureRunning()).rejects.toThrow(/ended before it was ready/)
  expect(Date.now() - startedAt).toBeGreaterThan(250 + 500)
  expect(log.lines.filter(line => line.includes('"exitCode":3'))).toHaveLength(3)
})

test('stopping lets the call in flight end, and starts nothing any more', async () => {
  const { model } = create(echoChild)
  await model.ensureRunning()
  const pid = model.pid() ?? 0
  const last = call(4)
  await sleep(80)
  await model.stop(5_000)
  expect(await last).toBe(200)
  expect(isAlive(pid)).toBe(false)
  await expect(model.ensureRunning()).rejects.toThrow(/has been stopped/)
})

test('the real child answers a call in flight, and a connection that is kept open does not delay its end', async () => {
  const options = { log: createTestLog(), models: folder.path, threads: 1, queueMax: 1 }
  model = createModelProcess({ ...options, socketPath: socketPath() })
  await model.ensureRunning()
  const socket = connect(socketPath())
  const body = JSON.stringify({ model: 'absent', prompt: 'a' })
  socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`)
  await sleep(100)
  const startedAt = Date.now()
  const stopping = model.stop(5_000)
  await sleep(100)
  socket.write(body)
  const [reply] = await once(socket, 'data')
  expect(String(reply)).toMatch(/^HTTP\/1.1 404 /)
  await stopping
  expect(Date.now() - startedAt).toBeLessThan(2_000)
  socket.destroy()
})

test('stopping kills at the deadline', async () => {
  const { model } = create(`process.on('SIGTERM', () => {}); ${echoChild.replace(/process.once\('SIGTERM'.*\n/, '')}`)
  await model.ensureRunning()
  const startedAt = Date.now()
  await model.stop(200)
  expect(Date.now() - startedAt).toBeLessThan(2_000)
  expect(model.pid()).toBeNull()
})

test('stopping while it starts leaves no process behind', async () => {
  const { model } = create(echoChild)
  const starting = model.ensureRunning().catch(() => undefined)
  await sleep(10)
  const pid = model.pid()
  await model.stop(1_000)
  await starting
  expect(pid === null || !isAlive(pid)).toBe(true)
  expect(model.pid()).toBeNull()
})

test('a socket path that the system would cut is refused when the setting is read', () => {
  const options = { log: createTestLog(), models: '', threads: 1, queueMax: 1 }
  expect(() => createModelProcess({ ...options, socketPath: `/tmp/${'x'.repeat(110)}` })).toThrow(/--data-dir/)
})

test('the real child dies with its parent, also when that is killed', async () => {
  const options = JSON.stringify({ models: folder.path, socketPath: socketPath(), threads: 1, queueMax: 1 })
  const program = join(folder.path, 'parent.mjs')
  writeFileSync(
    program,
    `import { fork } from 'node:child_process'
     const child = fork(new URL(${here('./child.ts')}), [${JSON.stringify(options)}])
     child.on('message', () => console.log(child.pid))`,
  )
  const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(parent.stdout, 'data')
  const pid = Number(String(line))
  expect(isAlive(pid)).toBe(true)
  parent.kill('SIGKILL')
  for (let i = 0; i < 300 && isAlive(pid); i++) await sleep(10)
  expect(isAlive(pid)).toBe(false)
})
