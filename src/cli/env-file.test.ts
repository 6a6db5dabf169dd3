import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { withVariable } from './env-file.ts'
import { type Api, adminKey, list, projectKey, runOn, startApi } from './testing.ts'

let folder: string
let file: string
let api: Api
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keyhouse-env-'))
  file = join(folder, '.env')
  const key = { id: 'key_1', name: 'laptop', expires_at: null }
  api = await startApi({
    'GET /v1/organization/projects': list([{ id: 'proj_a', name: 'A', status: 'active' }]),
    'POST /v1/organization/projects/proj_a/api_keys': { ...key, value: projectKey },
    'POST /v1/organization/admin_api_keys': { ...key, value: adminKey },
    'DELETE /v1/organization/projects/proj_a/api_keys/key_1': { id: 'key_1', deleted: true },
  })
})
afterEach(async () => {
  rmSync(folder, { recursive: true })
  await api.close()
})

const git = (...words: string[]): void => {
  const settings = ['-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c', 'init.defaultBranch=main']
  execFileSync('git', ['-C', folder, ...settings, ...words], { stdio: 'pipe' })
}
const create = (...words: string[]) => runOn(api, ['keys', 'create', '--name', 'laptop', '--env', file, ...words])
const made = (): number => api.asked.filter(({ method }) => method === 'POST').length

describe('the line of a variable', () => {
  test.each([
    ['', 'NAME=new\n'],
    ['A=1', 'A=1\nNAME=new\n'],
    ['A=1\n\n# why\nB="2 # no"\n', 'A=1\n\n# why\nB="2 # no"\nNAME=new\n'],
    ['A=1\nNAME=old\nB=2\n', 'A=1\nNAME=new\nB=2\n'],
    ['export NAME = "old"\n', 'export NAME=new\n'],
    ['NAME=1\nA=1\nNAME=2\n', 'NAME=new\nA=1\n'],
    ['A=1\r\nNAME=old\r\nB=2\r\n', 'A=1\r\nNAME=new\r\nB=2\r\n'],
    ['# NAME=old\nNAMES=1\nMY_NAME=1\n', '# NAME=old\nNAMES=1\nMY_NAME=1\nNAME=new\n'],
    ['A=1\n\n\n', 'A=1\n\n\nNAME=new\n'],
  ])('%j becomes %j', (before, after) => {
    expect(withVariable(before, 'NAME', 'new')).toBe(after)
  })

  test('holds the value as it is, whatever it looks like to a replacement', () => {
    expect(withVariable('NAME=a\n', 'NAME', "$&$1$'")).toBe("NAME=$&$1$'\n")
  })
})

describe('keys create --env', () => {
  test('writes the key and does not show it, in a file that only its owner can read', async () => {
    writeFileSync(file, 'OTHER=1\n', { mode: 0o644 })
    chmodSync(file, 0o644)
    const { code, stdout, stderr } = await create()
    expect([code, readFileSync(file, 'utf8')]).toEqual([0, `OTHER=1\nKEYHOUSE_API_KEY=${projectKey}\n`])
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(stdout + stderr).not.toContain(projectKey)
    expect(stdout).toContain(`Wrote KEYHOUSE_API_KEY to ${file}`)
    expect(readdirSync(folder)).toEqual(['.env'])
  })

  test('takes another name, and --json says where it went', async () => {
    const { stdout } = await create('--env-name', 'OPENAI_API_KEY', '--json')
    expect(JSON.parse(stdout)).toEqual({ id: 'key_1', name: 'laptop', expires_at: null, env_file: file })
    expect(readFileSync(file, 'utf8')).toBe(`OPENAI_API_KEY=${projectKey}\n`)
    expect((await create('--admin')).code).toBe(0)
    expect(readFileSync(file, 'utf8')).toBe(`OPENAI_API_KEY=${projectKey}\nKEYHOUSE_ADMIN_KEY=${adminKey}\n`)
  })

  test('follows a link to the file and leaves it a link', async () => {
    mkdirSync(join(folder, 'shared'))
    writeFileSync(join(folder, 'shared', 'env'), 'A=1\n')
    symlinkSync(join('shared', 'env'), file)
    expect((await create()).code).toBe(0)
    expect(readFileSync(join(folder, 'shared', 'env'), 'utf8')).toBe(`A=1\nKEYHOUSE_API_KEY=${projectKey}\n`)
    expect(readdirSync(folder)).toEqual(['.env', 'shared'])
  })

  test('refuses a file that git tracks, before any key is made, with what to do', async () => {
    git('init')
    writeFileSync(file, 'A=1\n')
    git('add', '-f', '.env')
    const { code, stderr } = await create()
    expect([code, made(), readFileSync(file, 'utf8')]).toEqual([2, 0, 'A=1\n'])
    expect(stderr).toContain('is tracked by git')
    expect(stderr).toContain('git rm --cached .env')
  })

  test('warns where git would take the file, and ignores it when told to', async () => {
    git('init')
    const warned = await create()
    expect([warned.code, warned.stderr]).toEqual([0, expect.stringContaining('git does not ignore')])
    writeFileSync(join(folder, '.gitignore'), 'node_modules')
    const ignored = await create('--ignore')
    expect([ignored.code, ignored.stderr]).toEqual([0, ''])
    expect(readFileSync(join(folder, '.gitignore'), 'utf8')).toBe('node_modules\n/.env\n')
    expect((await create()).stderr).toBe('')
    git('add', '-A')
    expect(execFileSync('git', ['-C', folder, 'ls-files'], { encoding: 'utf8' })).toBe('.gitignore\n')
  })

  test.each([
    [['--env-name', 'NOT A NAME'], 'is no name for a variable'],
    [['--env', join(tmpdir(), 'keyhouse-nowhere', '.env')], 'there is no folder'],
    [['--env', tmpdir()], 'cannot be read'],
  ])('%j makes no key', async (words, message) => {
    const { code, stderr } = await create(...words)
    expect([code, made(), stderr]).toEqual([2, 0, expect.stringContaining(message)])
  })

  test('a key that could not be written is revoked again', async () => {
    const post = 'POST /v1/organization/projects/proj_a/api_keys'
    await api.close()
    api = await startApi({
      'GET /v1/organization/projects': list([{ id: 'proj_a', name: 'A', status: 'active' }]),
      // The folder goes away while the key is being made
      [post]: () => {
        rmSync(folder, { recursive: true })
        return { id: 'key_1', name: 'x', expires_at: null, value: projectKey }
      },
      'DELETE /v1/organization/projects/proj_a/api_keys/key_1': { id: 'key_1', deleted: true },
    })
    const { code, stdout, stderr } = await create()
    expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining('The new key was revoked again')])
    expect(api.asked.at(-1)).toMatchObject({ method: 'DELETE' })
    mkdirSync(folder)
  })
})

test('a file that cannot be one is refused before a key is made', async () => {
  for (const given of [join(folder, 'x'.repeat(300)), join(folder, 'a\u0000b'), '/dev/null', folder]) {
    const { code, stderr } = await runOn(api, ['keys', 'create', '--env', given])
    expect([given, code, stderr]).toEqual([
      given,
      2,
      expect.stringMatching(/^error: '.*' cannot be (read|written): .+\n$/),
    ])
  }
  expect(api.asked.filter(({ method }) => method === 'POST')).toEqual([])
})
