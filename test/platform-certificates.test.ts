// Certificates for mutual TLS as owners manage them. What they do to calls is in mutual-tls.test.ts.
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { only, sql } from '#storage/database.ts'
import { makeCertificate } from './support/certificates.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform

beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const path = '/v1/organization/certificates'
const ask = (method: string, where: string, body?: unknown) =>
  platform.send(platform.first.adminKey, method, where, body)
const theirs = (method: string, where: string, body?: unknown) =>
  platform.send(platform.other.adminKey, method, where, body)
const inProject = (rest: string) => `/v1/organization/projects/${platform.projectId}/certificates${rest}`

async function upload(name: string): Promise<string> {
  const { pem } = makeCertificate({ name, authority: true })
  return (await ask('POST', path, { name, certificate: pem })).json.id
}

async function lastAudit() {
  const text = 'select entry from audit_logs where organization_id = $1 order by number desc limit 1'
  const row = only(await platform.database.query<{ entry: string }>(sql(text), [platform.first.organizationId]))
  return JSON.parse(row.entry)
}

const events = async () =>
  (
    await platform.database.query<{ kind: string; id: string }>(
      sql('select subject_kind as kind, subject_id as id from auth_events order by id'),
    )
  ).map(({ kind, id }) => [kind, id])

async function everything<Item>(pages: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = []
  for await (const item of pages) items.push(item)
  return items
}

test('the life of a certificate, through the SDK', async () => {
  const adminAPIKey = platform.first.adminKey
  const openai = new OpenAI({ adminAPIKey, apiKey: 'unused', baseURL: `${platform.url}/v1`, maxRetries: 0 })
  const { certificates, projects } = openai.admin.organization
  const authority = makeCertificate({ name: 'Authority', authority: true })
  const made = await certificates.create({ name: 'ours', certificate: `comment\n${authority.pem}\n` })
  expect(made).toEqual({
    object: 'certificate',
    id: expect.stringMatching(/^cert_/),
    name: 'ours',
    created_at: expect.any(Number),
    certificate_details: {
      valid_at: Date.parse(authority.x509.validFrom) / 1000,
      expires_at: Date.parse(authority.x509.validTo) / 1000,
    },
  })
  expect(await lastAudit()).toMatchObject({ 'certificate.created': { id: made.id, name: 'ours' } })
  expect(await certificates.retrieve(made.id)).toEqual(made)
  const whole = await certificates.retrieve(made.id, { include: ['content'] })
  expect(whole.certificate_details.content).toBe(authority.pem)
  expect(await certificates.update(made.id, { name: 'renamed' })).toEqual({ ...made, name: 'renamed' })
  expect(await lastAudit()).toMatchObject({ 'certificate.updated': { id: made.id, name: 'renamed' } })

  const [active] = await everything(certificates.activate({ certificate_ids: [made.id] }))
  expect(active).toMatchObject({ object: 'organization.certificate', id: made.id, active: true })
  expect(await lastAudit()).toMatchObject({
    type: 'certificates.activated',
    'certificates.activated': { certificates: [{ id: made.id, name: 'renamed' }] },
  })
  expect((await events()).at(-1)).toEqual(['organization', platform.first.organizationId])
  expect(await everything(certificates.list())).toMatchObject([{ id: made.id, active: true }])
  expect(await everything(projects.certificates.list(platform.projectId))).toMatchObject([
    { object: 'organization.project.certificate', id: made.id, active: false },
  ])
  await everything(projects.certificates.activate(platform.projectId, { certificate_ids: [made.id] }))
  expect(await lastAudit()).toMatchObject({ type: 'certificates.activated', project: { id: platform.projectId } })
  expect((await events()).at(-1)).toEqual(['project', platform.projectId])

  await expect(certificates.delete(made.id)).rejects.toThrow(`is active for ${platform.first.organizationId}`)
  await everything(certificates.deactivate({ certificate_ids: [made.id] }))
  await expect(certificates.delete(made.id)).rejects.toThrow(`is active for ${platform.projectId}`)
  const [inactive] = await everything(
    projects.certificates.deactivate(platform.projectId, { certificate_ids: [made.id] }),
  )
  expect(inactive).toMatchObject({ object: 'organization.project.certificate', active: false })
  expect(await certificates.delete(made.id)).toEqual({ object: 'certificate.deleted', id: made.id })
  expect(await lastAudit()).toMatchObject({ 'certificate.deleted': { id: made.id, certificate: authority.pem } })
  await expect(certificates.retrieve(made.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError)
})

describe('what is not taken', () => {
  const yesterday = new Date(Date.now() - 86_400_000)

  test('an expired one, one that is there already, a key, a text', async () => {
    const one = makeCertificate({ name: 'one', authority: true })
    const expired = makeCertificate({ name: 'old', validFrom: new Date(0), validTo: yesterday })
    expect((await ask('POST', path, { certificate: one.pem })).json.name).toBe(null)
    const again = await ask('POST', path, { certificate: one.pem })
    expect([again.status, again.json.error.message]).toEqual([409, expect.stringContaining('already')])
    for (const [certificate, reason] of [
      [expired.pem, 'it expired at'],
      [one.key, 'holds a private key'],
      ['hello', 'begins with -----BEGIN CERTIFICATE-----'],
    ]) {
      const { status, json, text } = await ask('POST', path, { certificate })
      expect([status, json.error.param, json.error.message]).toEqual([
        400,
        'certificate',
        expect.stringContaining(String(reason)),
      ])
      expect(text).not.toContain(one.key.slice(40, 80))
    }
    // Another organization may trust the same authority
    expect((await theirs('POST', path, { certificate: one.pem })).status).toBe(200)
  })

  test('one that has expired since cannot be activated, and may be deactivated', async () => {
    const id = await upload('expiring')
    await ask('POST', `${path}/activate`, { certificate_ids: [id] })
    await platform.database.query(sql("update certificates set expires_at = now() - interval '1 s' where id = $1"), [
      id,
    ])
    const { status, json } = await ask('POST', `${path}/activate`, { certificate_ids: [id] })
    expect([status, json.error.message]).toEqual([409, expect.stringContaining('expired at')])
    expect((await ask('POST', `${path}/deactivate`, { certificate_ids: [id] })).json.data[0].active).toBe(false)
  })
})

test('several are activated together or not at all, at most ten, and twice is once', async () => {
  const [one, two] = [await upload('first'), await upload('second')]
  const missing = await ask('POST', `${path}/activate`, { certificate_ids: [one, 'cert_nothing', two] })
  expect([missing.status, missing.json.error.code]).toEqual([404, 'not_found'])
  const active = async () =>
    (await ask('GET', `${path}?limit=100`)).json.data.filter((row: { active: boolean }) => row.active).length
  expect(await active()).toBe(0)
  for (let times = 0; times < 2; times += 1) {
    const { json } = await ask('POST', `${path}/activate`, { certificate_ids: [two, one, two] })
    expect(json.data.map((row: { id: string }) => row.id)).toEqual([two, one])
    expect(await active()).toBe(2)
  }
  const eleven = Array.from({ length: 11 }, () => one)
  expect((await ask('POST', `${path}/deactivate`, { certificate_ids: eleven })).status).toBe(400)
  expect((await ask('POST', `${path}/deactivate`, { certificate_ids: [] })).status).toBe(400)
  await ask('POST', `${path}/deactivate`, { certificate_ids: [one, two] })
  expect(await active()).toBe(0)
})

test('the list is newest first, and pages', async () => {
  const ids = [await upload('a'), await upload('b'), await upload('c')]
  const first = (await ask('GET', `${path}?limit=2`)).json
  expect(first.data.map((row: { id: string }) => row.id)).toEqual([ids[2], ids[1]])
  const next = (await ask('GET', `${path}?limit=1&after=${first.last_id}`)).json
  expect(next.data[0].id).toBe(ids[0])
  const upwards = (await ask('GET', `${path}?limit=100&order=asc`)).json
  expect(upwards.data.at(-1).id).toBe(ids[2])
})

test('a certificate of another organization looks absent, at every verb', async () => {
  const id = await upload('mine')
  const toggle = { certificate_ids: [id] }
  const their = `/v1/organization/projects/${platform.other.projectId}/certificates`
  const cases = [
    ['GET', `${path}/${id}`, undefined],
    ['POST', `${path}/${id}`, { name: 'theirs' }],
    ['DELETE', `${path}/${id}`, undefined],
    ['POST', `${path}/activate`, toggle],
    ['POST', `${path}/deactivate`, toggle],
    ['POST', `${their}/activate`, toggle],
    ['POST', inProject('/activate'), toggle],
    ['GET', inProject(''), undefined],
  ] as const
  for (const [method, where, body] of cases) expect((await theirs(method, where, body)).status).toBe(404)
  const listed = (await theirs('GET', path)).json.data.map((row: { name: string }) => row.name)
  expect(listed).not.toContain('mine')
  expect((await theirs('GET', `${path}?after=${id}`)).json.data).toEqual([])
})
