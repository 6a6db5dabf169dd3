import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, symlinkSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import { type Folder, newFolder, newRepository, randomBytes, samples, secretIn } from '../scan/testing.ts'
import type { Ran } from '../testing.ts'

const folders: Folder[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) folder.remove()
})
function opened(folder: Folder): Folder {
  folders.push(folder)
  return folder
}
const repository = (): Folder => opened(newRepository())
const projectKey = (): string => makeKey('project', randomBytes)

type Found = { rule: string; path: string; line: number; column: number; shown: string; hash: string }
const found = ({ stdout }: Ran): Found[] => JSON.parse(stdout).findings
const places = (ran: Ran): string[] =>
  found(ran).map(({ rule, path, line, column }) => `${rule} ${path}:${line}:${column}`)

test('a clean tree ends with 0, a key with 1, and the key is told by its place and its last four characters', async () => {
  const folder = repository()
  folder.write('src/a.ts', 'export const a = 1\n')
  expect((await folder.scan()).code).toBe(0)
  const key = projectKey()
  folder.write('src/b.ts', `// ünï\nconst é = '${key}'\n`)
  const { code, stdout, stderr } = await folder.scan()
  expect(code).toBe(1)
  expect(stdout).toContain(
    `src/b.ts:2:12  critical  Keyhouse key  sk-kh-proj-****${key.slice(-4)}\n  → Rotate or revoke it`,
  )
  expect(stderr).toContain('Scanned 2 files')
})

test('what .gitignore names is left out, what is new or tracked is not; below a folder only that folder', async () => {
  const folder = repository()
  folder.write('.gitignore', 'secret.txt\n')
  for (const name of ['secret.txt', 'new.txt', 'tracked.txt', 'a/b/deep one.txt']) folder.write(name, projectKey())
  folder.git('add', 'tracked.txt')
  const paths = ['a/b/deep one.txt', 'new.txt', 'tracked.txt']
  expect(
    found(await folder.scan(['--json']))
      .map(({ path }) => path)
      .sort(),
  ).toEqual(paths)
  const all = await folder.scan(['--json', '--include-ignored'])
  expect(
    found(all)
      .map(({ path }) => path)
      .sort(),
  ).toEqual([...paths, 'secret.txt'].sort())
  expect(places(await scanAt(folder, 'a'))).toEqual(['keyhouse-key a/b/deep one.txt:1:1'])
  expect(places(await scanAt(folder, 'secret.txt'))).toEqual(['keyhouse-key secret.txt:1:1'])
})

const scanAt = (folder: Folder, name: string): Promise<Ran> => folder.scan(['--json'], {}, name)

test('outside of repositories everything below is read, without .git, node_modules, links and binary files', async () => {
  const folder = opened(newFolder())
  const key = projectKey()
  folder.write('a/b/c.txt', `\n\n  ${key}`)
  folder.write('node_modules/x/index.js', key)
  folder.write('.git/config', key)
  folder.write('binary', Buffer.concat([Buffer.from([0, 1]), Buffer.from(key)]))
  symlinkSync(join(folder.path, 'a/b/c.txt'), join(folder.path, 'link.txt'))
  const { stdout, code } = await folder.scan(['--json'])
  expect(code).toBe(1)
  expect(JSON.parse(stdout).findings).toMatchObject([{ path: 'a/b/c.txt', line: 3, column: 3 }])
  expect(JSON.parse(stdout).skipped).toEqual([
    { reason: 'binary', count: 1, paths: ['binary'] },
    { reason: 'no_file', count: 1, paths: ['link.txt'] },
    { reason: 'node_modules', count: 1, paths: ['node_modules'] },
  ])
})

test('what cannot be read or is too large is named, and the rest is scanned', async () => {
  const folder = repository()
  truncateSync(folder.write('large.bin', 'x'), 50_000_001)
  folder.write('gone.txt', '')
  folder.git('add', 'gone.txt')
  execFileSync('rm', [join(folder.path, 'gone.txt')])
  symlinkSync('/etc/passwd', join(folder.path, 'link'))
  folder.write('key.txt', projectKey())
  const { stdout, stderr } = await folder.scan(['--format', 'json'])
  expect(JSON.parse(stdout).findings).toHaveLength(1)
  expect(stderr).toContain('Left out, larger than 50 MB: 1 (large.bin).')
  expect(stderr).toContain('Left out, known to git, but not there: 1 (gone.txt).')
  expect(stderr).toContain('(link).')
})

test('text in UTF-16, as PowerShell writes it, is read', async () => {
  const folder = opened(newFolder())
  const little = Buffer.from(`\ufeffkey=${projectKey()}\r\n`, 'utf16le')
  folder.write('little.txt', little)
  folder.write('big.txt', Buffer.from(little).swap16())
  expect(places(await folder.scan(['--json']))).toEqual(['keyhouse-key big.txt:1:5', 'keyhouse-key little.txt:1:5'])
})

test('a .env file that git does not ignore is a finding of its own, with the step that mends it', async () => {
  const folder = repository()
  folder.write('.gitignore', '.env.local\n')
  for (const name of ['.env', '.env.local', '.env.example', 'api/.env.production', 'src/env.ts'])
    folder.write(name, 'A=1\n')
  folder.git('add', 'api')
  const { stdout, code } = await folder.scan()
  expect(code).toBe(1)
  expect(stdout).toContain('.env:1:1  medium  .env file that git does not ignore\n  → echo /.env >> .gitignore\n')
  expect(stdout).toContain('→ git rm --cached api/.env.production && echo /api/.env.production >> .gitignore, then')
  expect(stdout.match(/→/g)).toHaveLength(2)
})

test('no output in any format holds a whole secret, not even where a file is named after one', async () => {
  const folder = repository()
  const secrets = Object.values(samples).map(make => make())
  for (const [index, secret] of secrets.entries()) folder.write(`file-${index}.txt`, `before ${secret}\n`)
  const named = projectKey()
  folder.write(`${named}.txt`, named)
  folder.write(`${named}.env`, named)
  folder.write(`${named}.bin`, '\0')
  for (const words of [[], ['--json'], ['--format', 'sarif'], ['--staged'], ['--history'], ['--baseline', named]]) {
    folder.git('add', '.')
    const { stdout, stderr } = await folder.scan(words)
    for (const secret of [...secrets.map(secretIn), named]) {
      expect(stdout).not.toContain(secret.slice(4, -4))
      expect(stderr).not.toContain(secret.slice(4, -4))
    }
  }
  expect((await folder.scan()).stdout).toContain(`sk-kh-proj-****${named.slice(-4)}.txt:1:1`)
})

test('a comment on the line silences it, and no other line', async () => {
  const folder = opened(newFolder())
  const [one, two] = [projectKey(), projectKey()]
  folder.write('a.py', `a = "${one}"  # keyhouse-scan:allow an example\nb = "${two}"\n# keyhouse-scan:allow\n`)
  expect(places(await folder.scan(['--json']))).toEqual(['keyhouse-key a.py:2:6'])
})

test('a baseline silences what it knows wherever that moves, and holds no secret', async () => {
  const folder = opened(newFolder())
  const known = projectKey()
  const baseline = join(folder.path, 'known.json')
  folder.write('a.txt', known)
  const update = await folder.scan(['--baseline', baseline, '--update-baseline'])
  expect([update.code, update.stdout]).toEqual([0, ''])
  expect(readFileSync(baseline, 'utf8')).not.toContain(known.slice(11, -4))
  folder.write('moved/a.txt', `\n${known}`)
  expect((await folder.scan(['--baseline', baseline])).code).toBe(0)
  folder.write('b.txt', projectKey())
  expect(places(await folder.scan(['--baseline', baseline, '--json']))).toEqual(['keyhouse-key b.txt:1:1'])
})

test('SARIF names rules, places and fingerprints as code scanning services read them', async () => {
  const folder = repository()
  folder.write('a folder/ä.ts', `const key = '${projectKey()}'\n`)
  const output = join(folder.path, '.git', 'leaks.sarif')
  const { code, stdout } = await folder.scan(['--format', 'sarif', '--output', output])
  expect([code, stdout]).toEqual([1, ''])
  const sarif = JSON.parse(readFileSync(output, 'utf8'))
  const [{ tool, results }] = sarif.runs
  expect([sarif.version, sarif.$schema, tool.driver.name]).toEqual([
    '2.1.0',
    expect.stringContaining('sarif-2.1.0'),
    'keyhouse scan',
  ])
  expect(results).toEqual([
    {
      ruleId: 'keyhouse-key',
      ruleIndex: 0,
      level: 'error',
      message: { text: expect.stringContaining('Keyhouse key sk-kh-proj-****') },
      locations: [
        {
          physicalLocation: {
            artifactLocation: { uri: 'a%20folder/%C3%A4.ts', uriBaseId: '%SRCROOT%' },
            region: { startLine: 1, startColumn: 14 },
          },
        },
      ],
      partialFingerprints: { 'keyhouseScan/v1': expect.stringMatching(/^[0-9a-f]{64}$/) },
      properties: {},
    },
  ])
  for (const rule of tool.driver.rules)
    expect(rule).toMatchObject({ help: { text: expect.any(String) }, defaultConfiguration: {} })
})

const wrongUses: [words: string[], says: string][] = [
  [['--staged', '--history'], 'Give one of'],
  [['--include-ignored', '--staged'], 'is for files'],
  [['--update-baseline'], '--baseline FILE'],
  [['--json', '--format', 'sarif'], 'either --json or --format'],
  [['--format', 'xml'], 'Allowed choices are human, json, sarif'],
  [['--baseline', '/nowhere/known.json'], 'cannot be used'],
  [['--staged'], 'in no git repository'],
  [['--history'], 'in no git repository'],
  [['--install-hook'], 'in no git repository'],
  [['--output', '/nowhere/report'], 'cannot be written'],
]

test.each(wrongUses)('%j is wrong usage: exit code 2 and what to do', async (words, says) => {
  const { code, stderr } = await opened(newFolder()).scan(words)
  expect([code, stderr]).toEqual([2, expect.stringContaining(says)])
})

test('a path that is not there, and a machine without git in a repository, are told with exit code 2', async () => {
  const folder = repository()
  expect(await scanAt(folder, 'nowhere')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('cannot be scanned'),
  })
  expect(await folder.scan([], { PATH: '/nowhere' })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('Install git'),
  })
})

test('a staged key is found by --staged, an unstaged one is not', async () => {
  const folder = repository()
  folder.write('a.txt', 'one\n')
  folder.commit()
  folder.write('a.txt', `one\ntwo\n${projectKey()}\n`)
  folder.write('.env', 'A=1')
  expect((await folder.scan(['--staged'])).code).toBe(0)
  folder.git('add', '.')
  const ran = await folder.scan(['--staged', '--json'])
  expect(places(ran)).toEqual(['env-file-not-ignored .env:1:1', 'keyhouse-key a.txt:3:1'])
})

const commit = ({ path }: Folder) =>
  spawnSync('git', ['-C', path, '-c', 'user.name=A', '-c', 'user.email=a@example.com', 'commit', '-m', 'x'], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: path },
  })

test('the hook stops a commit that holds a key, lets others pass, and can be taken out', async () => {
  const folder = repository()
  expect((await folder.scan(['--install-hook'])).stdout).toContain('Installed')
  expect((await folder.scan(['--install-hook'])).stdout).toContain('It is there already')
  folder.write('a.txt', 'nothing\n')
  folder.git('add', '.')
  expect(commit(folder).status).toBe(0)
  const key = projectKey()
  folder.write('a.txt', `${key}\n`)
  folder.git('add', '.')
  const stopped = commit(folder)
  expect([stopped.status, stopped.stdout + stopped.stderr]).toEqual([
    1,
    expect.stringContaining(`sk-kh-proj-****${key.slice(-4)}`),
  ])
  expect((await folder.scan(['--uninstall-hook'])).stdout).toContain('Removed')
  expect((await folder.scan(['--uninstall-hook'])).stdout).toContain('It is not there')
  expect(commit(folder).status).toBe(0)
})

test('the hook stands before an existing one, where core.hooksPath says, and gives it back as it was', async () => {
  const folder = repository()
  folder.git('config', 'core.hooksPath', 'my hooks')
  const existing = '#!/usr/bin/env bash\necho "mine ran"\nexit 0\n'
  chmodSync(folder.write('my hooks/pre-commit', existing), 0o755)
  expect((await folder.scan(['--install-hook', '--baseline', 'known.json'])).stdout).toContain('my hooks/pre-commit')
  folder.write('known.json', '{"version":1,"known":[]}')
  folder.write('a.txt', 'nothing\n')
  folder.git('add', 'a.txt')
  expect(commit(folder).stderr).toContain('mine ran')
  folder.write('a.txt', projectKey())
  folder.git('add', 'a.txt')
  expect(commit(folder).status).toBe(1)
  await folder.scan(['--uninstall-hook'])
  expect(readFileSync(join(folder.path, 'my hooks/pre-commit'), 'utf8')).toBe(existing)
})

test('hooks in another language, links, and hooks that other repositories share are left alone', async () => {
  const folder = repository()
  const shared = opened(newFolder())
  const hook = folder.write('.git/hooks/pre-commit', '#!/usr/bin/env python3\nprint(1)\n')
  expect(await folder.scan(['--install-hook'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('is no shell script'),
  })
  expect(readFileSync(hook, 'utf8')).toBe('#!/usr/bin/env python3\nprint(1)\n')
  execFileSync('rm', [hook])
  symlinkSync('../../run.sh', hook)
  expect(await folder.scan(['--install-hook'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no regular file'),
  })
  folder.git('config', 'core.hooksPath', shared.path)
  expect(await folder.scan(['--install-hook'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('other repositories'),
  })
})
