// The command line as scripts meet it: exit codes, one JSON document, no secrets; in this process and as the real binary.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import { wholeProgram } from './keyhouse.ts'
import { isNoun, verbOf } from './noun-alone.ts'
import { type Api, adminKey, list, refuse, runCli, runOn, startApi, terminalFor } from './testing.ts'

const repository = join(import.meta.dirname, '..', '..')
const project = {
  id: 'proj_1',
  object: 'organization.project',
  name: 'Default',
  created_at: 1_790_000_000,
  status: 'active',
}

let api: Api
beforeAll(async () => {
  api = await startApi({
    'GET /v1/organization/projects': list([project]),
    'GET /v1/platform/models': refuse(403, 'Only the organization that operates this Keyhouse may do this.'),
    'GET /v1/platform/providers': refuse(500, 'The server had an error.'),
  })
})
afterAll(() => api.close())

describe('the exit code', () => {
  test('0: it worked', async () => {
    const { code, stdout, stderr } = await runOn(api, ['projects', 'list'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^ID +NAME +STATUS .*\nproj_1 +Default +active +2026-/)
  })

  test('1: the server failed, with its request id', async () => {
    const { code, stdout, stderr } = await runOn(api, ['providers', 'list'])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^error: The server had an error\. \[req_\d+\]\n$/)
  })

  test.each([
    [['projects', 'list', '--no-such-flag']],
    [['project', 'list']],
    [['keys', 'lst']],
    [[]],
    [['keys', 'create', '--expires', 'soon']],
    [['keys', 'create', '--admin', '--test']],
    [['usage', '--by', 'colour']],
    [['usage', '--days', '0']],
    [['projects', 'list', '--url', 'nonsense']],
  ])('2: wrong usage, as in %j', async argv => {
    const { code, stdout, stderr } = await runOn(api, argv)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).not.toBe('')
  })

  test('3: nothing listens there', async () => {
    const { code, stderr } = await runOn(api, ['projects', 'list', '--url', await closedUrl()])
    expect(code).toBe(3)
    expect(stderr).toMatch(
      /cannot be reached at .* \(from --url\): nothing listens there\. Start it with `keyhouse start`/,
    )
  })

  test('3: what answers is another program', async () => {
    const other = createServer((_request, response) => void response.writeHead(404).end('<html>'))
    await once(other.listen(0, '127.0.0.1'), 'listening')
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
    const { code, stderr } = await runOn(api, ['projects', 'list', '--url', url])
    other.close()
    expect(code).toBe(3)
    expect(stderr).toContain('is not a Keyhouse server (status 404)')
  })

  test('4: no key, and nobody to ask', async () => {
    const { code, stderr } = await runCli(['projects', 'list', '--url', api.url])
    expect(code).toBe(4)
    expect(stderr).toMatch(
      /There is no admin key for .* Set KEYHOUSE_ADMIN_KEY .*\/cli\.json was not used: it does not exist/,
    )
  })

  test('4: a key that the server refuses, and where it came from', async () => {
    const other = makeKey('admin', bytes => new Uint8Array(bytes).fill(8))
    const { code, stderr } = await runOn(api, ['projects', 'list'], { env: { KEYHOUSE_ADMIN_KEY: other } })
    expect(code).toBe(4)
    expect(stderr).toMatch(/Incorrect API key provided\. \(The key came from KEYHOUSE_ADMIN_KEY\.\) \[req_\d+\]/)
    expect(stderr).not.toContain(other)
  })

  test('4: a mistyped key, which is not even sent', async () => {
    const before = api.asked.length
    const { code, stderr } = await runOn(api, ['projects', 'list', '--admin-key', `${adminKey}x`])
    expect([code, api.asked.length]).toEqual([4, before])
    expect(stderr).toContain('The key from --admin-key cannot be used. It is a Keyhouse key, but cut or with extra')
  })

  test('4: this key may not do that', async () => {
    const { code, stderr } = await runOn(api, ['models', 'list'])
    expect(code).toBe(4)
    expect(stderr).toMatch(/Only the organization that operates this Keyhouse may do this\. \[req_\d+\]/)
  })

  test('5: there is no such thing', async () => {
    const { code, stderr } = await runOn(api, ['keys', 'revoke', 'key_none'])
    expect(code).toBe(5)
    expect(stderr).toContain('There is no key key_none')
  })
})

/** Of a port that was free a moment ago. */
async function closedUrl(): Promise<string> {
  const brief = await startApi({})
  await brief.close()
  return brief.url
}

describe('for people', () => {
  test('a mistyped command is guessed', async () => {
    const { stderr } = await runCli(['modles', 'list'])
    expect(stderr).toContain('(Did you mean models?)')
  })

  test('every noun alone shows what there is, and says so in its help', async () => {
    const program = await wholeProgram(terminalFor({}))
    const below = (command: Command): Command[] => command.commands.flatMap(one => [one, ...below(one)])
    const alone = below(program)
      .filter(isNoun)
      .map(noun => {
        const words = noun.parent === program ? [noun.name()] : [noun.parent?.name() ?? '', noun.name()]
        return { words, verb: verbOf(noun) }
      })
    expect(alone.length).toBeGreaterThan(20)
    const empty = await startApi({})
    for (const { words, verb } of alone) {
      const name = words.join(' ')
      expect([name, verb?.name()]).toEqual([name, expect.stringMatching(/^(show|list|verify)$/)])
      const [ran, meant] = [await runOn(empty, words), await runOn(empty, [...words, verb?.name() ?? ''])]
      expect([name, ran.stderr.replace(/req_\d+/, ''), ran.code]).toEqual([
        name,
        meant.stderr.replace(/req_\d+/, ''),
        meant.code,
      ])
      const misspelt = await runOn(empty, [...words, '--jsn'])
      expect([name, misspelt.code, misspelt.stderr]).toEqual([
        name,
        2,
        expect.stringContaining("unknown option '--jsn'"),
      ])
      expect((await runCli([...words, '--help'])).stdout).toContain(`Without a command: ${verb?.name()}.`)
    }
    await empty.close()
  })

  test('a mistyped verb is guessed, and not taken for a word of the verb that a noun alone stands for', async () => {
    for (const words of ['keys lst', 'credits ad', 'jobs rn', 'ledger verfy']) {
      const { code, stderr } = await runCli(words.split(' '))
      expect([words, code, stderr]).toEqual([
        words,
        2,
        expect.stringMatching(/unknown command '\w+'\n\(Did you mean \w+\?\)/),
      ])
    }
    const { stderr } = await runOn(api, ['projects', 'users', 'proj_1'])
    expect(stderr).toContain('/v1/organization/projects/proj_1/users')
  })

  test.each([
    ['users', 'remove', '..'],
    ['projects', 'users', 'remove', 'proj_1', '.'],
    ['groups', 'delete', ''],
    ['keys', 'revoke', '..'],
    ['providers', 'remove', ' '],
    ['models', 'alias', '..', '--remove'],
    ['certificates', 'delete', '..'],
    ['spend-alerts', 'remove', '.'],
    ['models', 'pull', '..'],
  ])('a word that would lead elsewhere in a URL changes nothing: %j', async (...words) => {
    const asked = api.asked.length
    const { code, stderr } = await runOn(api, words)
    expect([code, stderr]).toEqual([2, expect.stringContaining('is neither a name nor an id.')])
    // Looking for the project is no change
    expect(api.asked.slice(asked).filter(({ method }) => method !== 'GET')).toEqual([])
  })

  test('what was typed is repeated without what could move the cursor', async () => {
    for (const words of [
      ['keys', 'show', '\u001b[2Jx'],
      ['keys', '\u001b[2Jx'],
      ['usage', '--by', '\u001b[2Jx\u202e'],
    ]) {
      const { code, stderr } = await runOn(api, words)
      expect([code === 0, stderr]).toEqual([false, expect.stringContaining('[2Jx')])
      expect(['\u001b', '\u202e'].filter(control => stderr.includes(control))).toEqual([])
    }
  })

  test('help is on stdout and no failure', async () => {
    const { code, stdout } = await runCli(['--help'])
    expect(code).toBe(0)
    for (const command of ['start', 'keys', 'models', 'providers', 'usage', 'doctor', 'backup', 'restore', 'config'])
      expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'))
  })

  test('every flag of start is a setting that says its default and its variable', async () => {
    const { stdout } = await runCli(['start', '--help'])
    expect(stdout.replace(/\s+/g, ' ')).toContain(
      '--port <value> TCP port to listen on; 0 picks a free one. (default 8484, KEYHOUSE_PORT)',
    )
    expect(stdout).toContain('--database-url')
  })
})

describe('keyhouse config', () => {
  test('shows where each setting comes from, and no secret', async () => {
    const env = { KEYHOUSE_PORT: '9000', KEYHOUSE_METRICS_TOKEN: 'very-secret' }
    const { code, stdout } = await runCli(['config', '--json', '--host', '::1'], { env })
    const shown = new Map<string, { value: string; source: string }>(
      JSON.parse(stdout).data.map((row: { name: string }) => [row.name, row]),
    )
    expect(code).toBe(0)
    expect(shown.get('port')).toMatchObject({
      value: '9000',
      source: 'environment',
      flag: '--port',
      env: 'KEYHOUSE_PORT',
    })
    expect(shown.get('host')).toMatchObject({ value: '::1', source: 'flag' })
    expect(shown.get('metrics-token')).toMatchObject({ value: '****' })
    expect(stdout).not.toContain('very-secret')
  })

  test('of the running server are asked of that', async () => {
    const [setting] = JSON.parse((await runCli(['config', '--json'])).stdout).data
    const running = await startApi({
      'GET /v1/platform/config': list([{ ...setting, value: '0.0.0.0', source: 'flag' }]),
    })
    expect((await runOn(running, ['config', 'running'])).stdout).toMatch(/^host +0\.0\.0\.0 +flag +KEYHOUSE_HOST$/m)
    await running.close()
  })

  test.each(['config', 'start'])('keyhouse %s names a bad setting and where it was set', async command => {
    const { code, stderr } = await runCli([command], { env: { KEYHOUSE_PORT: 'http' } })
    expect(code).toBe(2)
    expect(stderr).toContain('The setting port (KEYHOUSE_PORT) must be a whole number from 0 to 65535')
  })

  test('a config file with a line that is no setting is refused by name', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'keyhouse-cli-'))
    const file = join(folder, 'keyhouse.conf')
    writeFileSync(file, '# ours\nport = 9000\nprot = 1\n')
    const { code, stderr } = await runCli(['config', '--config', file])
    rmSync(folder, { recursive: true })
    expect(code).toBe(2)
    expect(stderr).toContain('line 3: there is no setting "prot"')
  })
})

describe('the real binary', () => {
  const running: { kill(): void }[] = []
  afterEach(() => {
    for (const child of running.splice(0)) child.kill()
  })

  async function runBinary(argv: readonly string[]) {
    const env = { ...process.env, KEYHOUSE_URL: api.url, KEYHOUSE_ADMIN_KEY: adminKey }
    const child = spawn(process.execPath, [join(repository, 'bin', 'keyhouse.cjs'), ...argv], { env, stdio: 'pipe' })
    running.push(child)
    const ended = new Promise<number | null>(resolve => child.once('exit', resolve))
    const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
    return { stdout, stderr, code }
  }

  test('gives --json on stdout as one document, and exits with the code', async () => {
    const { code, stdout, stderr } = await runBinary(['projects', 'list', '--json'])
    expect([code, stderr]).toEqual([0, ''])
    expect(JSON.parse(stdout)).toEqual({ object: 'list', data: [project] })
    expect((await runBinary(['keys', 'revoke', 'key_none'])).code).toBe(5)
  })

  test.runIf(process.platform === 'linux')('says in one line that the disk is full, and exits with 1', async () => {
    const env = { ...process.env, KEYHOUSE_URL: api.url, KEYHOUSE_ADMIN_KEY: adminKey }
    const line = `'${process.execPath}' bin/keyhouse.cjs projects list > /dev/full`
    const child = spawn('/bin/sh', ['-c', line], { env, cwd: repository, stdio: ['ignore', 'ignore', 'pipe'] })
    running.push(child)
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: The output could not be written: ENOSPC.*\n$/)])
  })

  test.runIf(process.platform === 'linux')('ends with its code where nobody hears what it says', async () => {
    const env = { ...process.env, KEYHOUSE_URL: api.url, KEYHOUSE_ADMIN_KEY: adminKey }
    for (const deaf of ['2> /dev/full', '2>&1 | true; exit $PIPESTATUS']) {
      const line = `'${process.execPath}' bin/keyhouse.cjs keys lst ${deaf}`
      const child = spawn('/bin/bash', ['-c', line], { env, cwd: repository, stdio: 'ignore' })
      running.push(child)
      expect([deaf, ...(await once(child, 'exit'))]).toEqual([deaf, 2, null])
    }
  })

  test('ends at once when a long answer is refused', async () => {
    const startedAtMs = Date.now()
    const { code } = await runBinary(['backup', join(tmpdir(), 'never-written')])
    expect(code).toBe(5)
    expect(Date.now() - startedAtMs).toBeLessThan(5_000)
  })

  test('says its version', async () => {
    const { stdout } = await runBinary(['--version'])
    expect(stdout).toMatch(/^keyhouse \d+\.\d+\.\d+ \(node \d+/)
    expect(JSON.parse((await runBinary(['version', '--json'])).stdout)).toMatchObject({
      node_version: process.versions.node,
    })
  })

  test('survives a reader that goes away early', async () => {
    const child = spawn(process.execPath, [join(repository, 'bin', 'keyhouse.cjs'), 'start', '--help'], {
      stdio: 'pipe',
    })
    running.push(child)
    child.stdout.destroy()
    const [stderr, code] = await Promise.all([text(child.stderr), new Promise(resolve => child.once('exit', resolve))])
    expect([stderr, code]).toEqual(['', 0])
  })
})
