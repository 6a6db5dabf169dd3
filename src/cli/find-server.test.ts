import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { checkAdminKey, findServer } from './find-server.ts'
import { adminKey, projectKey, terminalFor } from './testing.ts'

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'keyhouse-cli-'))
})
afterEach(() => rmSync(dataDir, { recursive: true }))

const leaveAccessFile = (content: unknown) =>
  writeFileSync(join(dataDir, 'cli.json'), typeof content === 'string' ? content : JSON.stringify(content), {
    mode: 0o600,
  })
const terminal = (env: NodeJS.ProcessEnv) => terminalFor({ env, home: dataDir })

describe('where the server is', () => {
  test('a flag wins over the environment, that over what the running server left, that over the usual place', () => {
    leaveAccessFile({ url: 'http://127.0.0.1:9001', key: adminKey })
    const env = { KEYHOUSE_URL: 'http://env.example', KEYHOUSE_DATA_DIR: dataDir }
    expect(findServer({ url: 'http://flag.example' }, terminal(env)).url).toBe('http://flag.example')
    expect(findServer({}, terminal(env)).url).toBe('http://env.example')
    expect(findServer({}, terminal({ KEYHOUSE_DATA_DIR: dataDir })).url).toBe('http://127.0.0.1:9001')
    expect(findServer({}, terminal({})).url).toBe('http://127.0.0.1:8484')
  })

  test('a slash or /v1 at the end, as SDKs have it, does not matter', () => {
    const urls = ['http://h:1/', 'http://h:1/v1', 'http://h:1/v1/'].map(url => findServer({ url }, terminal({})).url)
    expect(urls).toEqual(['http://h:1', 'http://h:1', 'http://h:1'])
  })

  test.each(['localhost:8484', 'nonsense', 'ftp://h'])("'%s' is refused with how to write it", url => {
    expect(() => findServer({ url }, terminal({}))).toThrow('as in http://127.0.0.1:8484')
  })

  test('a damaged cli.json is told, not thrown', () => {
    leaveAccessFile('{"url":')
    const { accessFile, key } = findServer({ dataDir }, terminal({}))
    expect([accessFile.missing !== undefined, key]).toEqual([true, undefined])
  })
})

describe('with which key', () => {
  test("the running server's own key needs no telling", () => {
    leaveAccessFile({ url: 'http://127.0.0.1:9001', key: adminKey })
    expect(findServer({ dataDir }, terminal({})).key).toEqual({ value: adminKey, from: join(dataDir, 'cli.json') })
  })

  test("the local server's key is never sent to another server", () => {
    leaveAccessFile({ url: 'http://127.0.0.1:9001', key: adminKey })
    expect(findServer({ dataDir, url: 'http://elsewhere.example' }, terminal({})).key).toBeUndefined()
    expect(findServer({ dataDir, url: 'http://127.0.0.1:9002' }, terminal({})).key).toBeUndefined()
    expect(findServer({ dataDir, url: 'http://127.0.0.1:9001/v1' }, terminal({})).key?.value).toBe(adminKey)
  })

  test('a key that cannot be an admin key is refused before it is sent, and not shown', () => {
    const cut = { value: adminKey.slice(0, -1), from: '--admin-key' }
    expect(() => checkAdminKey(cut)).toThrow('The key from --admin-key cannot be used. It is a Keyhouse key, but cut')
    expect(() => checkAdminKey({ value: projectKey, from: 'KEYHOUSE_ADMIN_KEY' })).toThrow('is no admin key')
    expect(() => checkAdminKey(cut)).not.toThrow(cut.value)
    expect(checkAdminKey({ value: `${adminKey}\n`, from: 'the prompt' })).toBe(adminKey)
  })
})
