// Backup and restore with real files and a real gzip stream.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Api, type Asked, refuse, runOn, startApi } from '../testing.ts'

const snapshot = Buffer.from('rows\n'.repeat(100_000))
const backup = gzipSync(snapshot)
const me = { effective_scopes: ['api.platform.restore'], organization: { id: 'org-1', name: 'Default' } }

let folder: string
let file: string
let answer: (asked: Asked, response: ServerResponse) => unknown
let api: Api
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keyhouse-cli-'))
  file = join(folder, 'keyhouse.backup')
  answer = (_asked, response) => void response.end(backup)
  api = await startApi({
    'GET /v1/platform/backup': (asked: Asked, response: ServerResponse) => answer(asked, response),
    'GET /v1/me': me,
    'POST /v1/platform/restore': { object: 'platform.restore', tables: 12, rows: 3456, schema: 1 },
  })
})
afterEach(async () => {
  await api.close()
  rmSync(folder, { recursive: true })
})

describe('backup', () => {
  test('writes a whole file, for its owner only', async () => {
    const { code, stdout } = await runOn(api, ['backup', file])
    expect([code, stdout]).toEqual([0, `Saved ${backup.length} B to ${file}.\n`])
    expect(gunzipSync(readFileSync(file)).equals(snapshot)).toBe(true)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(existsSync(`${file}.partial`)).toBe(false)
  })

  test('replaces an older backup only when the new one is whole', async () => {
    writeFileSync(file, 'the old one')
    answer = (_asked, response) => void response.end(backup.subarray(0, -9))
    const { code, stderr } = await runOn(api, ['backup', file])
    expect([code, readFileSync(file, 'utf8')]).toEqual([1, 'the old one'])
    expect(stderr).toContain('The backup that came is not whole')
    expect(existsSync(`${file}.partial`)).toBe(false)
  })

  test('a connection that breaks leaves nothing behind', async () => {
    answer = (_asked, response) => {
      response.write(backup.subarray(0, 50))
      setTimeout(() => response.destroy(), 50)
    }
    const { code } = await runOn(api, ['backup', file])
    expect([code, existsSync(file), existsSync(`${file}.partial`)]).toEqual([3, false, false])
  })

  test('a folder that is not there is told, and so is a name that no file can have', async () => {
    const { code, stderr } = await runOn(api, ['backup', join(folder, 'none', 'x')])
    expect([code, stderr]).toEqual([1, expect.stringContaining('ENOENT')])
    const long = await runOn(api, ['backup', join(folder, 'x'.repeat(300))])
    expect([long.code, long.stderr]).toEqual([1, expect.stringContaining('ENAMETOOLONG')])
  })

  test('- is stdout', async () => {
    const { code, stdout, stderr } = await runOn(api, ['backup', '-'])
    expect([code, stdout.length > 0, stderr]).toEqual([0, true, ''])
    expect((await runOn(api, ['backup', '-'], { isTTY: true })).code).toBe(2)
  })
})

describe('restore', () => {
  beforeEach(() => writeFileSync(file, backup))

  test('sends the file and says what came', async () => {
    const { code, stdout } = await runOn(api, ['restore', file, '--yes'])
    expect(code).toBe(0)
    expect(stdout).toContain(`Restored 3,456 rows in 12 tables from ${file}.`)
    expect(api.asked.at(-1)?.path).toBe('/v1/platform/restore')
  })

  test('replaces nothing without being asked to', async () => {
    const { code, stderr } = await runOn(api, ['restore', file])
    expect([code, stderr]).toEqual([2, expect.stringContaining('Add --yes')])
    expect(api.asked.some(({ path }) => path === '/v1/platform/restore')).toBe(false)
  })

  test.each(['text', ''])("a file that holds '%s' is no backup", async content => {
    writeFileSync(file, content)
    const { code, stderr } = await runOn(api, ['restore', file, '--yes'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('it is not what `keyhouse backup` writes')])
  })

  test('says at once that the key may not do it, and sends nothing', async () => {
    const narrow = await startApi({ 'GET /v1/me': { ...me, effective_scopes: ['api.platform.write'] } })
    const { code, stderr } = await runOn(narrow, ['restore', file, '--yes'])
    await narrow.close()
    expect([code, stderr]).toEqual([4, expect.stringContaining('missing scope api.platform.restore')])
    expect(narrow.asked.map(({ path }) => path)).toEqual(['/v1/me'])
  })

  test('the reason of a server that refuses is told', async () => {
    const refusing = await startApi({
      'GET /v1/me': me,
      'POST /v1/platform/restore': refuse(400, 'The backup is of a newer version.'),
    })
    const { code, stderr } = await runOn(refusing, ['restore', file, '--yes'])
    await refusing.close()
    expect([code, stderr]).toEqual([1, expect.stringMatching(/newer version\. \[req_2\]/)])
  })
})

test('a server that refuses while the file is still on its way is heard', async () => {
  writeFileSync(file, Buffer.concat([backup, Buffer.alloc(20_000_000)]))
  const { createServer } = await import('node:http')
  const early = createServer((request: IncomingMessage, response) => {
    if (request.method === 'GET') return void response.end(JSON.stringify(me))
    response.writeHead(413, { 'content-type': 'application/json', connection: 'close' })
    response.end(JSON.stringify({ error: { message: 'The request body is too large.' } }))
  })
  await new Promise<void>(resolve => early.listen(0, '127.0.0.1', resolve))
  const address = early.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const { code, stderr } = await runOn(api, ['restore', file, '--yes', '--url', url])
  early.closeAllConnections()
  early.close()
  expect([code, stderr]).toEqual([1, expect.stringContaining('The request body is too large.')])
})
