import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { findNpm, runNpm } from './npm.ts'
import { makeTempFolder } from './testing.ts'

let folder: ReturnType<typeof makeTempFolder>
beforeEach(() => {
  folder = makeTempFolder()
})
afterEach(() => {
  vi.unstubAllEnvs()
  folder.remove()
})

/** An `npm` on PATH that is this shell script. */
const stubNpm = (script: string): void => {
  const bin = join(folder.path, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'npm'), `#!/bin/sh\n${script}\n`)
  chmodSync(join(bin, 'npm'), 0o755)
  vi.stubEnv('npm_execpath', '')
  vi.stubEnv('PATH', `${bin}:${process.env.PATH}`)
}

const run = (signal = new AbortController().signal, onBytes: (bytes: number) => void = () => undefined) =>
  runNpm({ args: ['pack', 'x@1'], folder: folder.path, cacheFolder: join(folder.path, 'cache'), signal, onBytes })

test('npm is the one that started us, else the one on PATH', () => {
  stubNpm('exit 0')
  const cli = join(folder.path, 'npm-cli.js')
  writeFileSync(cli, '')
  const env = { PATH: join(folder.path, 'bin'), npm_execpath: cli }
  expect(findNpm(env, '/nowhere/bin/node')).toEqual({ file: '/nowhere/bin/node', args: [cli] })
  expect(findNpm({ PATH: env.PATH }, '/nowhere/bin/node')).toEqual({ file: join(env.PATH, 'npm'), args: [] })
  expect(findNpm({ ...env, npm_execpath: '/opt/yarn.js' }, '/nowhere/bin/node')?.args).toEqual([])
  expect(findNpm({ PATH: '/nowhere' }, '/nowhere/bin/node')).toBeNull()
})

test('progress is what arrives in the cache', async () => {
  stubNpm(
    'mkdir -p cache/tmp; head -c 1000 /dev/zero > cache/tmp/a; sleep 0.6; head -c 5000 /dev/zero > cache/tmp/b; sleep 0.6',
  )
  const seen: number[] = []
  await run(undefined, bytes => seen.push(bytes))
  expect(seen).toContain(1000)
  expect(seen.at(-1)).toBe(6000)
})

test('what npm says went wrong is in the error', async () => {
  stubNpm('echo "npm error code E404" >&2; echo "npm error 404 No match found for x@1" >&2; exit 1')
  await expect(run()).rejects.toThrow('code E404; 404 No match found for x@1')
})

/** The process id that a stub wrote, once it has. */
const stubPid = async (): Promise<number> => {
  const path = join(folder.path, 'pid')
  await expect.poll(() => existsSync(path) && readFileSync(path, 'utf8')).toMatch(/\d+\n/)
  return Number(readFileSync(path, 'utf8'))
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const untilGone = (pid: number): Promise<void> => expect.poll(() => isAlive(pid), { timeout: 3_000 }).toBe(false)

test('no npm outlives us, also when we are killed', async () => {
  stubNpm('echo $$ > pid; exec sleep 30')
  const program = join(folder.path, 'program.mjs')
  writeFileSync(
    program,
    `import { runNpm } from ${JSON.stringify(new URL('./npm.ts', import.meta.url).href)}
     const signal = new AbortController().signal
     await runNpm({ args: [], folder: ${JSON.stringify(folder.path)}, cacheFolder: 'cache', signal, onBytes: () => undefined })`,
  )
  const us = spawn(process.execPath, [program], { stdio: 'inherit' })
  const pid = await stubPid()
  expect(isAlive(pid)).toBe(true)
  us.kill('SIGKILL')
  await untilGone(pid)
})

test('a cancelled run ends npm at once', async () => {
  stubNpm('echo $$ > pid; exec sleep 30')
  const caller = new AbortController()
  const running = run(caller.signal)
  const pid = await stubPid()
  caller.abort(new Error('cancelled'))
  await expect(running).rejects.toThrow('cancelled')
  await untilGone(pid)
})
