import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import type { Finding } from './finding.ts'
import { type Folder, newRepository, randomBytes } from './testing.ts'

let repository: Folder
beforeEach(() => {
  repository = newRepository()
})
afterEach(() => repository.remove())

const projectKey = (): string => makeKey('project', randomBytes)

async function found(): Promise<readonly Finding[]> {
  const { stdout } = await repository.scan(['--history', '--json'])
  return JSON.parse(stdout).findings
}
const places = async (): Promise<string[]> =>
  (await found()).map(({ path, line, column }) => `${path}:${line}:${column}`)

test('a key that was deleted again is found where it came in: commit, author date, path and line', async () => {
  repository.write('src/a.ts', 'one\ntwo\n')
  repository.commit()
  const key = projectKey()
  repository.write('src/a.ts', `one\ntwo\nconst key = '${key}'\n`)
  const id = repository.commit()
  repository.write('src/a.ts', `zero\none\ntwo\nconst key = '${key}'\n`)
  repository.commit()
  repository.write('src/a.ts', 'one\n')
  repository.commit()
  expect((await repository.scan()).code).toBe(0)
  expect(await found()).toMatchObject([
    {
      path: 'src/a.ts',
      line: 3,
      column: 14,
      commit: { id, date: '2026-03-04T05:06:07Z' },
      shown: `sk-kh-proj-****${key.slice(-4)}`,
    },
  ])
  const { stdout, stderr, code } = await repository.scan(['--history'])
  expect([code, stdout]).toEqual([1, expect.stringContaining(`in ${id.slice(0, 12)} of 2026-03-04`)])
  expect(stderr).toContain('of 3 commits')
})

test('the first commit, other branches, tags and stashes are history as well', async () => {
  repository.write('first.txt', projectKey())
  repository.commit()
  repository.git('switch', '--quiet', '-c', 'other')
  repository.write('branch.txt', projectKey())
  repository.commit()
  repository.git('switch', '--quiet', '--detach')
  repository.write('tag.txt', projectKey())
  repository.commit()
  repository.git('tag', 'only-here')
  repository.git('switch', '--quiet', 'main')
  repository.write('first.txt', projectKey())
  repository.git('stash')
  expect((await places()).sort()).toEqual(['branch.txt:1:1', 'first.txt:1:1', 'first.txt:1:1', 'tag.txt:1:1'])
})

test('a key that only the merge itself brought in is found, what both sides had is told once', async () => {
  repository.write('a.txt', 'one\n')
  repository.commit()
  repository.git('switch', '--quiet', '-c', 'side')
  repository.write('a.txt', `side ${projectKey()}\n`)
  repository.commit()
  repository.git('switch', '--quiet', 'main')
  repository.write('a.txt', 'main\n')
  repository.commit()
  const sideLine = repository.git('show', 'side:a.txt')
  expect(() => repository.git('merge', 'side')).toThrow('Command failed')
  repository.write('a.txt', `main\n${sideLine}\nresolved ${projectKey()}\n`)
  const merge = repository.commit('merge')
  const findings = await found()
  expect(findings.map(({ line, column }) => [line, column])).toEqual([
    [1, 6],
    [3, 10],
  ])
  expect(findings[1]?.commit?.id).toBe(merge)
})

test('paths with spaces, quotes, tabs and other alphabets come out as they are', async () => {
  const names = ['a b.txt', 'ünï/日本.txt', 'quote".txt', 'tab\t.txt', '++ b', 'back\\slash']
  for (const name of names) repository.write(name, `${projectKey()}\n`)
  repository.commit()
  expect((await found()).map(({ path }) => path).sort()).toEqual(names.sort())
})

test('lines that look like parts of a patch are read as lines', async () => {
  const lines = [
    '++ b/other.txt',
    '-- a/x',
    '@@ -1 +900 @@',
    'diff --git a/x b/x',
    '\\ No newline',
    '+',
    '',
    projectKey(),
  ]
  repository.write('a.txt', lines.join('\n'))
  repository.commit()
  repository.write('a.txt', ['++ b/again.txt', projectKey(), ...lines.slice(1)].join('\n'))
  repository.commit()
  expect(await places()).toEqual([`a.txt:${lines.length}:1`, 'a.txt:2:1'])
})

test('whatever is configured, the same is found, and no program of the repository runs', async () => {
  repository.write('.gitattributes', '*.txt diff=evil\n')
  repository.write('a.txt', projectKey())
  repository.commit()
  repository.write('b/c.txt', projectKey())
  repository.git('add', '.')
  const marker = repository.write('evil.sh', '#!/bin/sh\ntouch "$0.ran"\n')
  chmodSync(marker, 0o755)
  const settings = {
    'color.ui': 'always',
    'diff.noprefix': 'true',
    'diff.mnemonicPrefix': 'true',
    'diff.external': marker,
    'diff.evil.textconv': marker,
    'diff.evil.command': marker,
    'core.fsmonitor': marker,
    'core.pager': marker,
    'core.quotePath': 'true',
    'log.showSignature': 'true',
    'log.showRoot': 'false',
    'diff.context': '9',
    'diff.interHunkContext': '9',
    'format.pretty': 'raw',
  }
  for (const [name, value] of Object.entries(settings)) repository.git('config', name, value)
  expect(await places()).toEqual(['a.txt:1:1'])
  expect((await repository.scan(['--staged'])).stdout).toContain('b/c.txt:1:1')
  expect((await repository.scan()).stdout).toContain('b/c.txt:1:1')
  expect(existsSync(`${marker}.ran`)).toBe(false)
})

test('a private key of several lines and a line of ten megabytes are read whole', async () => {
  const body = `${'MIIEvQ' + 'IBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKB'}\n`
  repository.write('key.pem', `-----BEGIN ${'PRIVATE'} KEY-----\n${body}`)
  repository.write(
    'line.js',
    `${'a '.repeat(2_500_000)}${projectKey()}${' b'.repeat(2_500_000)}\nlast ${projectKey()}\n`,
  )
  repository.commit()
  const paths = (await found()).map(({ rule, path }) => `${rule} ${path}`)
  expect(paths.sort()).toEqual(['keyhouse-key line.js', 'keyhouse-key line.js', 'private-key key.pem'])
})

test('without commits there is nothing to find', async () => {
  expect((await repository.scan(['--history'])).code).toBe(0)
})

test('what a baseline of the tree knows is silent in history as well', async () => {
  const baseline = join(repository.path, '.git', 'known.json')
  repository.write('a.txt', projectKey())
  repository.commit()
  await repository.scan(['--baseline', baseline, '--update-baseline'])
  expect((await repository.scan(['--history', '--baseline', baseline])).code).toBe(0)
  expect((await repository.scan(['--history'])).code).toBe(1)
})
