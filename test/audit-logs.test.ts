// The audit log: what can be asked of it, that nothing can be taken out of it or changed in it, and that this would show.
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sql } from '#storage/database.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) => platform.send(platform.first.adminKey, method, path, body)
const theirs = (method: string, path: string, body?: unknown) =>
  platform.send(platform.other.adminKey, method, path, body)
const logs = (query = '') => `/v1/organization/audit_logs${query}`
const run = (text: string, values: readonly unknown[] = []) => platform.database.query(sql(text), values)

type Entry = { id: string; type: string; effective_at: number; project?: { id: string } }

async function found(query: string): Promise<Entry[]> {
  const { status, json } = await ask('GET', logs(query))
  expect([status, json.error]).toEqual([200, undefined])
  return json.data
}

const newProject = async (name: string) => (await ask('POST', '/v1/organization/projects', { name })).json

describe('an entry', () => {
  test('says what was changed, by whom, with which key, and from where', async () => {
    const made = await newProject('Told')
    const [entry] = await found(`?resource_ids[]=${made.id}`)
    expect(entry).toMatchObject({
      id: expect.stringMatching(/^audit_log-/),
      type: 'project.created',
      effective_at: expect.closeTo(Date.now() / 1000, -1),
      actor: {
        type: 'api_key',
        api_key: {
          id: expect.stringMatching(/^key_/),
          type: 'user',
          user: { id: expect.stringMatching(/^user-/) },
          ip_address: '127.0.0.1',
          user_agent: expect.any(String),
        },
      },
      'project.created': { id: made.id, data: { name: 'Told' } },
    })
  })

  test('never holds the secret of the key that was made', async () => {
    const path = `/v1/organization/projects/${platform.projectId}/api_keys`
    const { json } = await ask('POST', path, { name: 'quiet' })
    const { text } = await ask('GET', logs(`?resource_ids[]=${json.id}`))
    expect(text).toContain(json.id)
    expect(text).not.toContain(json.value.slice(12, 40))
  })

  test('is not written where the change was refused', async () => {
    const before = (await ask('GET', logs('/verify'))).json.entries
    expect((await ask('POST', '/v1/organization/projects', { name: '' })).status).toBe(400)
    expect((await ask('DELETE', '/v1/organization/admin_api_keys/key_nothing')).status).toBe(404)
    expect((await ask('GET', logs('/verify'))).json.entries).toBe(before)
  })
})

describe('filters', () => {
  test('of every kind find what they name, and nothing else, in each spelling of an array', async () => {
    const made = await newProject('Filtered')
    await ask('POST', `/v1/organization/projects/${made.id}`, { name: 'Filtered again' })
    await ask('POST', `/v1/organization/projects/${made.id}/archive`)
    const types = async (query: string) => (await found(query)).map(({ type }) => type)
    const all = ['project.archived', 'project.updated', 'project.created']
    expect(await types(`?resource_ids[]=${made.id}`)).toEqual(all)
    expect(await types(`?resource_ids=${made.id}`)).toEqual(all)
    expect(await types(`?project_ids[]=${made.id}`)).toEqual(all)
    expect(await types(`?resource_ids=${made.id}&event_types[]=project.created&event_types[]=project.updated`)).toEqual(
      all.slice(1),
    )
    expect(await types(`?resource_ids=${made.id}&event_types=project.created,project.archived`)).toEqual([
      all[0],
      all[2],
    ])
    expect(await types('?event_types=certificate.created')).toEqual([])
    expect(await types('?tenant_only=true')).toEqual([])
    expect(await types(`?tenant_only=false&resource_ids=${made.id}`)).toEqual(all)
  })

  test('by actor take a person, a key, or an e-mail address in any case', async () => {
    const made = await newProject('By whom')
    await run("update users set email = 'Owner@Example.com' where organization_id = $1", [
      platform.first.organizationId,
    ])
    await ask('POST', `/v1/organization/projects/${made.id}`, { name: 'By whom again' })
    const [{ actor_id: person, actor_key_id: key } = {}] = await run(
      "select actor_id, actor_key_id from audit_logs where resource_id = $1 and type = 'project.updated'",
      [made.id],
    )
    const ofIt = `resource_ids=${made.id}`
    expect(await found(`?${ofIt}&actor_ids[]=${person}`)).toHaveLength(2)
    expect(await found(`?${ofIt}&actor_ids[]=${key}`)).toHaveLength(2)
    expect(await found(`?${ofIt}&actor_ids[]=user-nobody`)).toEqual([])
    expect(await found(`?${ofIt}&actor_emails[]=owner@EXAMPLE.com`)).toHaveLength(1)
    expect(await found(`?${ofIt}&actor_emails[]=somebody@example.com`)).toEqual([])
  })

  test('by time tell "before" from "not after"', async () => {
    const made = await newProject('Timed')
    const [{ effective_at: at = 0 } = {}] = await found(`?resource_ids=${made.id}`)
    const count = async (bounds: string) => (await found(`?resource_ids=${made.id}&${bounds}`)).length
    expect(await count(`effective_at[gt]=${at}`)).toBe(0)
    expect(await count(`effective_at[gte]=${at}`)).toBe(1)
    expect(await count(`effective_at[lt]=${at}`)).toBe(0)
    expect(await count(`effective_at[lte]=${at}`)).toBe(1)
    expect(await count(`effective_at[gt]=${at - 1}&effective_at[lt]=${at + 1}`)).toBe(1)
  })

  test.each(['limit=0', 'limit=101', 'effective_at[gt]=soon', 'tenant_only=maybe', 'colour=red'])(
    '%s is refused',
    async query => {
      const { status, json } = await ask('GET', logs(`?${query}`))
      expect([status, json.error.param]).toEqual([400, query.split('=')[0]])
    },
  )
})

describe('pages', () => {
  test('go on to older entries, and back to newer ones', async () => {
    const everything = (await found('?limit=100')).map(({ id }) => id)
    const first = (await ask('GET', logs('?limit=3'))).json
    expect(first.data.map((entry: Entry) => entry.id)).toEqual(everything.slice(0, 3))
    expect([first.first_id, first.last_id, first.has_more]).toEqual([everything[0], everything[2], true])
    const second = await found(`?limit=3&after=${first.last_id}`)
    expect(second.map(({ id }) => id)).toEqual(everything.slice(3, 6))
    const back = await found(`?limit=2&before=${everything[3]}`)
    expect(back.map(({ id }) => id)).toEqual(everything.slice(1, 3))
    expect((await ask('GET', logs(`?after=${everything.at(-1)}`))).json).toMatchObject({ data: [], has_more: false })
  })

  test('are followed by the official SDK, with its filters', async () => {
    const client = new OpenAI({
      adminAPIKey: platform.first.adminKey,
      apiKey: 'unused',
      baseURL: `${platform.url}/v1`,
      maxRetries: 0,
    })
    const made = await newProject('By SDK')
    for (const name of ['b', 'c', 'd']) await ask('POST', `/v1/organization/projects/${made.id}`, { name })
    const seen: string[] = []
    const filter = {
      project_ids: [made.id],
      event_types: ['project.created' as const, 'project.updated' as const],
      effective_at: { gte: 1 },
      limit: 2,
    }
    for await (const entry of client.admin.organization.auditLogs.list(filter)) seen.push(entry.type)
    expect(seen).toEqual(['project.updated', 'project.updated', 'project.updated', 'project.created'])
  })
})

test('nothing of another organization is found, whatever is named, and its cursor leads nowhere', async () => {
  const made = await newProject('Ours')
  const [ours] = await found(`?resource_ids=${made.id}`)
  for (const query of [`?resource_ids=${made.id}`, `?project_ids=${made.id}`, `?after=${ours?.id}`]) {
    expect((await theirs('GET', logs(query))).json.data).toEqual([])
  }
  expect((await theirs('GET', logs('/verify'))).json).toMatchObject({ entries: 0, whole: true, first_broken: null })
})

describe('the chain', () => {
  const verify = async () => (await ask('GET', logs('/verify'))).json

  /** What only the database's owner can do, with the trigger out of the way; then back again. */
  async function tampered(change: string, back: string): Promise<number | null> {
    await run('alter table audit_logs disable trigger audit_logs_append_only')
    try {
      await run(change)
      const { whole, first_broken: broken } = await verify()
      expect(whole).toBe(broken === null)
      await run(back)
      return broken
    } finally {
      await run('alter table audit_logs enable trigger audit_logs_append_only')
    }
  }

  test('is refused any update and delete by the database itself', async () => {
    await newProject('Kept')
    await expect(run("update audit_logs set entry = '{}'")).rejects.toThrow('append only')
    await expect(run('delete from audit_logs')).rejects.toThrow('append only')
    await expect(run('truncate audit_logs')).rejects.toThrow('append only')
  })

  test('holds while fifty changes are made at once, and has one entry for each', async () => {
    const before = await verify()
    const made = await Promise.all(Array.from({ length: 50 }, (_, index) => newProject(`at once ${index}`)))
    const after = await verify()
    expect(after).toMatchObject({ whole: true, first_broken: null, entries: before.entries + 50 })
    const [{ count } = {}] = await run(
      'select count(distinct resource_id) as count from audit_logs where resource_id = any($1)',
      [made.map(({ id }) => id)],
    )
    expect(count).toBe(50n)
  })

  test.each([
    'entry',
    'type',
    'effective_at',
    'project_name',
    'actor_id',
    'actor_key_id',
    'actor_email',
    'resource_id',
    'id',
  ])('breaks at an entry whose %s was changed', async column => {
    const value = column === 'effective_at' ? "timestamptz '2001-01-01'" : "'forged'"
    const ours = `organization_id = '${platform.first.organizationId}' and number = 3`
    await run(`create table keep as select * from audit_logs where ${ours}`)
    const back = `update audit_logs l set ${column} = keep.${column} from keep where l.organization_id = keep.organization_id and l.number = 3`
    expect(await tampered(`update audit_logs set ${column} = ${value} where ${ours}`, back)).toBe(3)
    await run('drop table keep')
    expect((await verify()).whole).toBe(true)
  })

  test('breaks behind an entry that was taken out', async () => {
    const ours = `organization_id = '${platform.first.organizationId}' and number = 5`
    await run(`create table keep as select * from audit_logs where ${ours}`)
    const broken = await tampered(`delete from audit_logs where ${ours}`, 'insert into audit_logs select * from keep')
    await run('drop table keep')
    expect(broken).toBe(6)
    expect((await verify()).whole).toBe(true)
  })

  test.each([0, -7])('breaks at an entry that was put before the first one, as number %i', async number => {
    const { organizationId } = platform.first
    const columns = `id || 'x', type, effective_at, project_id, project_name, actor_kind, actor_id, actor_key_id, actor_email,
      resource_id, entry, previous_hash, hash`
    const put = `insert into audit_logs select organization_id, ${number}, ${columns} from audit_logs
      where organization_id = '${organizationId}' and number = 1`
    const back = `delete from audit_logs where organization_id = '${organizationId}' and number = ${number}`
    expect(await tampered(put, back)).toBe(number)
    expect((await verify()).whole).toBe(true)
  })

  describe('at its end', () => {
    const head = async (): Promise<string> => (await ask('GET', logs('/head'))).json.head
    const numberOf = (text: string): number => Number(text.split(':')[0])

    test('is told by a head, which names the newest entry, and which a log that goes on still holds', async () => {
      const noted = await head()
      const { entries } = await verify()
      expect([numberOf(noted), (await verify()).head]).toEqual([entries, noted])
      await newProject('After the note')
      const later = (await ask('GET', logs(`/verify?head=${noted}`))).json
      expect(later).toMatchObject({ whole: true, noted_head_found: true, entries: entries + 1 })
      expect((await verify()).noted_head_found).toBe(null)
      const forged = noted.replace(/:.*/, `:${'0'.repeat(64)}`)
      const another = (await ask('GET', logs(`/verify?head=${forged}`))).json
      expect(another).toMatchObject({ whole: false, first_broken: null, noted_head_found: false })
      expect((await ask('GET', logs('/verify?head=latest'))).json.error.param).toBe('head')
    })

    test('breaks where entries were cut off, and stays broken when it grows again', async () => {
      await newProject('To be cut off')
      const newest = numberOf(await head())
      const ours = `organization_id = '${platform.first.organizationId}' and number`
      await run(`create table keep as select * from audit_logs where ${ours} > ${newest - 2}`)
      const back = 'insert into audit_logs select * from keep'
      expect(await tampered(`delete from audit_logs where ${ours} > ${newest - 2}`, back)).toBe(newest - 1)
      await run('alter table audit_logs disable trigger audit_logs_append_only')
      await run(`delete from audit_logs where ${ours} > ${newest - 2}`)
      await newProject('Grown again')
      expect((await verify()).first_broken).toBe(newest + 1)
      await run(back)
      await run('alter table audit_logs enable trigger audit_logs_append_only')
      await run('drop table keep')
      expect((await verify()).whole).toBe(true)
    })

    test('breaks at an end that was written anew, though it is a chain in itself', async () => {
      const newest = numberOf(await head())
      const ours = `organization_id = '${platform.first.organizationId}' and number = ${newest}`
      await run(`create table keep as select * from audit_logs where ${ours}`)
      const forged = `update audit_logs l set entry = '{}', hash = audit_hash(l.previous_hash, l.number, l.id, l.type,
        l.effective_at, l.project_id, l.project_name, l.actor_kind, l.actor_id, l.actor_key_id, l.actor_email,
        l.resource_id, '{}') where ${ours}`
      const back = `update audit_logs l set entry = keep.entry, hash = keep.hash from keep where l.id = keep.id`
      expect(await tampered(forged, back)).toBe(newest)
      await run('drop table keep')
      expect((await verify()).whole).toBe(true)
    })

    test('cannot be moved back, taken out or jumped ahead by the server itself', async () => {
      await expect(run('update audit_heads set number = number - 1')).rejects.toThrow('one entry at a time')
      await expect(run('update audit_heads set number = number + 2')).rejects.toThrow('one entry at a time')
      await expect(run('delete from audit_heads')).rejects.toThrow('append only')
      await expect(run('truncate audit_heads')).rejects.toThrow('append only')
    })
  })

  test('is checked in pieces, each of which begins where the one before ended', async () => {
    const { organizationId } = platform.first
    const pieces = await run(
      `select piece.* from generate_series(0, 40, 10) at cross join lateral check_audit_log($1, at, at + 10) piece`,
      [organizationId],
    )
    expect(pieces).toEqual(Array.from({ length: 5 }, () => ({ entries: 10n, first_broken: null })))
  })
})
