// The launcher as people meet it: an old Node, a symlink, a folder with a space, Ctrl-C, kill -9. It runs as a copy with an
// entry of our own, so that what is tested is the handing over and nothing of the server.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const repository = dirname(import.meta.dirname)
const entrySource = `
  export async function run(argv: string[]): Promise<void> {
    if (argv[0] === 'wait') waitForSignals()
    console.log(JSON.stringify({ version: process.version, argv, pid: process.pid }))
    if (argv[0] === 'exit') process.exit(Number(argv[1]))
    if (argv[0] === 'die') process.kill(process.pid, 'SIGTERM')
    if (argv[0] === 'fail') throw new Error('the entry failed')
  }
  function waitForSignals(): void {
    const hear = (signal: string) => {
      console.log('heard ' + signal)
      setTimeout(() => process.exit(7), 300)
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, hear)
    setInterval(() => undefined, 1000)
  }`

let home: string
let launcher: string
let beOld: string
const entriesStarted: number[] = []

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'key house '))
  launcher = join(install(join(home, 'app')), 'bin', 'keyhouse.cjs')
  symlinkSync(join(repository, 'node_modules'), join(home, 'app', 'node_modules'))
  beOld = join(home, 'be-old.cjs')
  const versions = `{ ...process.versions, node: '18.20.8' }`
  writeFileSync(beOld, `Object.defineProperty(process, 'versions', { value: ${versions} })`)
})
afterAll(() => {
  for (const pid of entriesStarted.filter(isAlive)) process.kill(pid, 'SIGKILL')
  rmSync(home, { recursive: true })
})

/** The launcher and our entry in a folder of their own, without node_modules. */
function install(folder: string): string {
  mkdirSync(join(folder, 'src', 'cli'), { recursive: true })
  cpSync(join(repository, 'bin'), join(folder, 'bin'), { recursive: true })
  cpSync(join(repository, 'package.json'), join(folder, 'package.json'))
  writeFileSync(join(folder, 'src', 'cli', 'keyhouse.ts'), entrySource)
  return folder
}

/** How the machine may start us: under this Node, under one that says it is 18, and under every other on its PATH. */
function waysToStart(): Record<string, string[]> {
  const onPath = (process.env.PATH ?? '').split(delimiter).map(folder => join(folder, 'node'))
  const nodes = new Set(onPath.filter(node => existsSync(node)).map(node => realpathSync(node)))
  const others = [...nodes].filter(node => node !== process.execPath).map(node => [node, [node]])
  return {
    'this Node': [process.execPath],
    'a Node that says it is 18': [process.execPath, '--require', beOld],
    ...Object.fromEntries(others),
  }
}

function startCommand(way: string, script: string, args: string[]): [string, string[]] {
  const [node = process.execPath, ...flags] = waysToStart()[way] ?? []
  return [node, [...flags, script, ...args]]
}

// The Node of the test stands last on the PATH: where npm brought none along (macOS), the launcher finds it there.
const environment = { PATH: `/usr/bin:/bin:${dirname(process.execPath)}` }

function runToEnd(way: string, args: string[], script = launcher) {
  return spawnSync(...startCommand(way, script, args), { encoding: 'utf8', env: environment, timeout: 20_000 })
}

/** Starts `keyhouse wait` and answers once the entry runs, with the process id of whoever runs it. */
async function startWaiting(command: [string, string[]], env: Record<string, string> = environment) {
  const starter = spawn(command[0], command[1], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  const lines: string[] = []
  const reader = createInterface({ input: starter.stdout }).on('line', line => lines.push(line))
  await once(reader, 'line', { signal: AbortSignal.timeout(20_000) })
  const pid = Number(JSON.parse(lines[0] ?? '').pid)
  entriesStarted.push(pid)
  return { starter, lines, pid }
}

async function endOf(child: ChildProcess): Promise<unknown[]> {
  if (child.exitCode !== null) return [child.exitCode, child.signalCode]
  return once(child, 'exit', { signal: AbortSignal.timeout(20_000) })
}

/** A process that ended but that nobody has asked about yet (a zombie) still answers a signal: ask ps. */
function isAlive(pid: number): boolean {
  const state = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim()
  return state !== '' && !state.startsWith('Z')
}

/** Whether the process is gone within ten seconds. */
async function ends(pid: number): Promise<boolean> {
  for (let polls = 0; polls < 200 && isAlive(pid); polls++) await sleep(50)
  return !isAlive(pid)
}

describe.each(Object.keys(waysToStart()))('started under %s, the launcher', way => {
  test('hands the arguments over and gives the exit code back', () => {
    const ended = runToEnd(way, ['exit', '5', 'two words', ''])
    expect(ended.status).toBe(5)
    const { version, argv } = JSON.parse(ended.stdout)
    expect(argv).toEqual(['exit', '5', 'two words', ''])
    expect(Number(version.slice(1).split('.')[0])).toBeGreaterThanOrEqual(22)
  })

  test('dies of the signal that its server died of', () => {
    expect(runToEnd(way, ['die']).signal).toBe('SIGTERM')
  })

  test('shows the stack of an error that nobody expected and exits 1', () => {
    const ended = runToEnd(way, ['fail'])
    expect(ended.status).toBe(1)
    expect(ended.stderr).toMatch(/the entry failed[\s\S]*keyhouse\.ts/)
  })

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('passes %s on, once, and waits for the end', async signal => {
    const { starter, lines } = await startWaiting(startCommand(way, launcher, ['wait']))
    starter.kill(signal)
    expect(await endOf(starter)).toEqual([7, null])
    expect(lines.slice(1)).toEqual([`heard ${signal}`])
  })

  test('leaves no server behind when it is killed with -9', async () => {
    const { starter, pid } = await startWaiting(startCommand(way, launcher, ['wait']))
    starter.kill('SIGKILL')
    expect(await ends(pid)).toBe(true)
  })

  test('works through a symlink, as npm makes one in .bin', () => {
    const link = join(home, `link ${Math.random()}`)
    symlinkSync(launcher, link)
    expect(runToEnd(way, ['exit', '3'], link).status).toBe(3)
  })
})

describe.each(['this Node', 'a Node that says it is 18'])('started by npm under %s', way => {
  // As npm and npx do it: a shell in between, which passes no signal on
  const npm = `require('node:child_process').spawn('/bin/sh', ['-c', '"$0" "$@"; exit', ...process.argv.slice(1)], { stdio: 'inherit' })`
  const byNpm = (env: Record<string, string>) => {
    const [node, args] = startCommand(way, launcher, ['wait'])
    return startWaiting([process.execPath, ['-e', npm, node, ...args]], { ...environment, ...env })
  }

  test.each(['SIGTERM', 'SIGKILL'] as const)('a server stops when npm is ended by %s', async signal => {
    const { starter, lines, pid } = await byNpm({ npm_lifecycle_event: 'npx' })
    starter.kill(signal)
    expect(await ends(pid)).toBe(true)
    expect(lines.slice(1)).toEqual(['heard SIGTERM'])
  })

  test('a server that was put into the background by hand outlives its shell', async () => {
    const { starter, lines, pid } = await byNpm({})
    starter.kill('SIGKILL')
    await sleep(1_500)
    expect([isAlive(pid), lines.slice(1)]).toEqual([true, []])
    process.kill(pid, 'SIGTERM')
    expect(await ends(pid)).toBe(true)
  })
})

test('Ctrl-C in a terminal reaches the server once, although the whole group hears it', async () => {
  const [node, args] = startCommand('a Node that says it is 18', launcher, ['wait'])
  const line = `exec ${[node, ...args].map(word => `'${word}'`).join(' ')}`
  const inTerminal = process.platform === 'linux' ? ['-qec', line, '/dev/null'] : ['-q', '/dev/null', node, ...args]
  const { starter, lines } = await startWaiting(['script', inTerminal])
  starter.stdin?.write('\x03')
  expect((await endOf(starter))[0]).toBe(7)
  expect(lines.filter(heard => heard.includes('heard'))).toHaveLength(1)
})

test('a clone without node_modules is told to run npm install', () => {
  const bare = install(join(home, 'bare'))
  const ended = runToEnd('this Node', ['exit', '0'], join(bare, 'bin', 'keyhouse.cjs'))
  expect(ended.status).toBe(1)
  expect(ended.stderr).toContain(`Run "npm install" in ${bare}`)
})

test('an old Node without any other is told which one is needed', () => {
  const alone = install(join(home, 'alone'))
  writeFileSync(join(alone, 'package.json'), '{}')
  const args = ['--require', beOld, join(alone, 'bin', 'keyhouse.cjs')]
  const ended = spawnSync(process.execPath, args, { encoding: 'utf8', env: { PATH: home } })
  expect(ended.status).toBe(1)
  expect(ended.stderr).toMatch(/needs Node 22\.19 or newer, best 24; this is v\d+/)
})

test('with-node runs any file under a Node that can, Node flags first', () => {
  const file = join(home, 'any file.ts')
  writeFileSync(
    file,
    'const flags: string[] = process.execArgv; console.log(flags, process.argv.slice(2)); process.exit(4)',
  )
  const script = join(dirname(launcher), 'with-node.cjs')
  const ended = runToEnd('a Node that says it is 18', ['--no-warnings', file, '--own'], script)
  expect([ended.stdout.trim(), ended.status]).toEqual([`[ '--no-warnings' ] [ '--own' ]`, 4])
})
