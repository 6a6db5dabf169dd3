// Mail against a real SMTP server in this process: what is sent and when, what is tried again, what is given up, and what never
// gets into a mail.
import { once } from 'node:events'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Mailer, openMailer } from '#platform/mail/mailer.ts'
import { queueMail } from '#platform/mail/queue-mail.ts'
import { sendDueMails } from '#platform/mail/send-due-mails.ts'
import { mintKey } from '#platform/mint-key.ts'
import { openDatabase } from '#storage/database.ts'
import { claimMails } from '#storage/mails.ts'
import { startNode, testJobs, until } from './support/jobs.ts'
import { send, serve, type TestPlatform, testParts, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform.stop())
beforeEach(() => query('delete from mails'))

const query = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  platform.database.query<Row>({ text }, values)

type Received = {
  readonly from: string
  readonly to: readonly string[]
  readonly text: string
  readonly secure: boolean
}
type Mailbox = { readonly url: string; readonly received: Received[]; close(): Promise<void> }

const boxes: Mailbox[] = []
afterEach(async () => {
  for (const box of boxes.splice(0)) await box.close()
})

async function mailbox(options: SMTPServerOptions = {}, port = 0): Promise<Mailbox> {
  const received: Received[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    logger: false,
    onData(stream, { envelope, secure }, callback) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = envelope
        received.push({
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map(({ address }) => address),
          text: Buffer.concat(chunks).toString('utf8'),
          secure,
        })
        callback()
      })
    },
    ...options,
  })
  server.on('error', () => undefined)
  await once(server.listen(port, '127.0.0.1'), 'listening')
  // A TCP server's address is never text
  const { port: bound } = server.server.address() as { port: number }
  const box = {
    url: `smtp://127.0.0.1:${bound}`,
    received,
    close: () => new Promise<void>(resolve => server.close(() => resolve())),
  }
  boxes.push(box)
  return box
}

const publicUrl = 'https://keyhouse.example.com'
const settingsFor = (smtpUrl: string) => ({ smtpUrl, from: 'Keyhouse <keyhouse@example.com>', publicUrl })

async function sendDue(smtpUrl: string | undefined): Promise<string | null> {
  const { parts } = await testJobs(platform.database)
  const mailer = smtpUrl === undefined ? undefined : openMailer(settingsFor(smtpUrl))
  try {
    return await sendDueMails({ ...parts, mailer })
  } finally {
    mailer?.close()
  }
}

const queueTest = (to = 'ada@example.com') =>
  queueMail(platform.database, 'test', { organizationId: null, to: [to], about: {} })

type Row = { state: string; tries: number; failure: string | null; waits: boolean; link_sealed: Buffer | null }
const mailRow = async (): Promise<Row | undefined> =>
  (await query<Row>('select state, tries, failure, next_try_at > now() as waits, link_sealed from mails'))[0]

describe('sending', () => {
  test('a mail is sent once, by whichever node is first', async () => {
    const box = await mailbox()
    for (let mail = 0; mail < 15; mail += 1) await queueTest(`u${mail}@example.com`)
    const settings = {
      connection: platform.connection,
      connectionsMax: 2,
      connectTimeoutMs: 5_000,
      statementTimeoutMs: 5_000,
    }
    const databases = [1, 2].map(() => openDatabase(settings, () => undefined))
    const mailers: Mailer[] = databases.map(() => openMailer(settingsFor(box.url)))
    const { parts } = await testJobs(platform.database)
    await Promise.all(databases.map((database, node) => sendDueMails({ ...parts, database, mailer: mailers[node] })))
    for (const mailer of mailers) mailer.close()
    for (const database of databases) await database.close()
    expect(box.received.map(({ to }) => to[0]).sort()).toEqual(
      Array.from({ length: 15 }, (_, mail) => `u${mail}@example.com`).sort(),
    )
    expect(await query<{ state: string }>('select distinct state from mails')).toEqual([{ state: 'sent' }])
    expect(await sendDue(box.url)).toBeNull()
    expect(box.received).toHaveLength(15)
  })

  test('a started node sends within seconds what is queued', async () => {
    const box = await mailbox()
    const node = await startNode(platform, 'node-m', { mail: settingsFor(box.url) })
    try {
      await queueTest()
      await until(async () => box.received.length === 1, 15_000)
      expect(box.received[0]).toMatchObject({ from: 'keyhouse@example.com', to: ['ada@example.com'] })
      expect(box.received[0]?.text).toContain(`Keyhouse at ${publicUrl}`)
      expect(box.received[0]?.text).toMatch(/^Message-ID: <mail_\w+@keyhouse>$/m)
    } finally {
      await node.stop()
    }
  })

  test('what a server refuses for now is tried again later, and then arrives', async () => {
    let refusals = 1
    const box = await mailbox({
      onRcptTo(_address, _session, callback) {
        refusals -= 1
        callback(refusals < 0 ? null : Object.assign(new Error('greylisted, come back'), { responseCode: 451 }))
      },
    })
    await queueTest()
    await sendDue(box.url)
    expect(await mailRow()).toMatchObject({
      state: 'queued',
      tries: 1,
      waits: true,
      failure: expect.stringContaining('greylisted'),
    })
    await sendDue(box.url)
    expect(box.received).toEqual([])
    await query('update mails set next_try_at = now()')
    await sendDue(box.url)
    expect(await mailRow()).toMatchObject({ state: 'sent', tries: 2, failure: null })
    expect(box.received).toHaveLength(1)
  })

  test('what a server refuses for good is given up, with its reason', async () => {
    const box = await mailbox({
      onRcptTo: (_address, _session, callback) =>
        callback(Object.assign(new Error('no such person'), { responseCode: 550 })),
    })
    await queueTest('nobody@example.com')
    await sendDue(box.url)
    expect(await mailRow()).toMatchObject({
      state: 'failed',
      tries: 1,
      failure: expect.stringContaining('no such person'),
    })
    const { json } = await platform.send(platform.first.adminKey, 'GET', '/v1/platform/status')
    expect(json.mail).toMatchObject({ failed: 1 })
  })

  test('the status counts the organizations none of whose owners can be reached', async () => {
    const unreached = async (): Promise<number> => {
      const { json } = await platform.send(platform.first.adminKey, 'GET', '/v1/platform/status')
      return json.mail.organizations_unreached
    }
    await query("update users set email = null where role = 'owner'")
    expect(await unreached()).toBe(2)
    const { organizationId } = platform.other
    await query("update users set email = 'owner@example.com' where organization_id = $1", [organizationId])
    expect(await unreached()).toBe(1)
    await query('update users set removed_at = now() where organization_id = $1', [organizationId])
    expect(await unreached()).toBe(2)
    await query('update users set removed_at = null, email = null where organization_id = $1', [organizationId])
  })

  test('a server that is away, or takes the password for wrong, is tried again, until it is too often', async () => {
    const away = await mailbox()
    await away.close()
    boxes.pop()
    await queueTest()
    await sendDue(away.url)
    expect(await mailRow()).toMatchObject({ state: 'queued', tries: 1, waits: true })
    const wrong = await mailbox({
      authOptional: false,
      onAuth: (_auth, _session, callback) => callback(new Error('wrong password')),
    })
    await query('update mails set next_try_at = now()')
    await sendDue(wrong.url.replace('smtp://', 'smtp://me:pass@'))
    expect(await mailRow()).toMatchObject({ state: 'queued', tries: 2 })
    await query('update mails set next_try_at = now(), tries = 11')
    await sendDue(away.url)
    expect(await mailRow()).toMatchObject({ state: 'failed', tries: 12 })
  })

  test('a mail in the hands of a node that died comes back', async () => {
    const box = await mailbox()
    await queueTest()
    await platform.database.transaction(async tx => {
      expect(await claimMails(tx, 10)).toHaveLength(1)
      // Another node does not even wait for it
      expect(await claimMails(platform.database, 10)).toEqual([])
    })
    await sendDue(box.url)
    expect(box.received).toEqual([])
    await query(`update mails set next_try_at = next_try_at - interval '5 minutes'`)
    await sendDue(box.url)
    expect(box.received).toHaveLength(1)
  })

  test('without a mail server it is held, and sent when there is one; but not what is days old', async () => {
    await queueTest()
    expect(await sendDue(undefined)).toContain('1 held')
    expect((await mailRow())?.state).toBe('held')
    const box = await mailbox()
    await sendDue(box.url)
    expect(box.received).toHaveLength(1)
    await query('delete from mails')
    await queueTest('late@example.com')
    await query(`update mails set state = 'held', created_at = now() - interval '4 days'`)
    await sendDue(box.url)
    expect(await mailRow()).toMatchObject({ state: 'failed', failure: 'it waited too long' })
    expect(box.received).toHaveLength(1)
  })

  test('a server that offers STARTTLS gets the mail and the password only behind it', async () => {
    const passwords: boolean[] = []
    const box = await mailbox({
      disabledCommands: [],
      authOptional: false,
      onAuth({ password }, { secure }, callback) {
        passwords.push(secure)
        callback(password === 'pass' ? null : new Error('wrong'), { user: 'me' })
      },
    })
    await queueTest()
    // The certificate is one that nobody vouches for: refused, unless that is said to be fine
    await sendDue(box.url.replace('smtp://', 'smtp://me:pass@'))
    expect([box.received.length, (await mailRow())?.state]).toEqual([0, 'queued'])
    await query('update mails set next_try_at = now()')
    await sendDue(`${box.url.replace('smtp://', 'smtp://me:pass@')}?tls.rejectUnauthorized=false`)
    expect(passwords).toEqual([true])
    expect(box.received).toMatchObject([{ secure: true }])
  })
})

describe('what is in a mail', () => {
  test('no name can begin a header or leave the subject', async () => {
    const box = await mailbox()
    const nasty = 'prod\r\nBcc: thief@example.com\r\n\r\n<b>hi</b>\u2028x'
    await queueMail(platform.database, 'rotation_due', {
      organizationId: null,
      to: ['ada@example.com'],
      about: { keyId: 'key_1', name: nasty, redacted: 'sk-…', project: nasty, dueOn: '2026-12-01', days: 0 },
    })
    await queueMail(platform.database, 'spend_alert', {
      organizationId: null,
      to: ['ada@example.com'],
      about: { where: nasty, spentUsd: '1', thresholdUsd: '1', percent: null, month: '2026-11', prefix: nasty },
    })
    const queued = await query<{ subject: string }>('select subject from mails')
    for (const { subject } of queued) expect(subject).toMatch(/^[^\p{Cc}\p{Zl}]+$/u)
    await sendDue(box.url)
    expect(box.received).toHaveLength(2)
    for (const { to, text } of box.received) {
      expect(to).toEqual(['ada@example.com'])
      const [head = ''] = text.split('\r\n\r\n')
      expect(head).not.toMatch(/^bcc:/im)
      expect(head.match(/^Subject:/gm)).toHaveLength(1)
    }
  })

  test('an invitation is mailed with its link; the token is in no table, and the link opens a page that accepts it', async () => {
    const box = await mailbox()
    const parts = testParts({ ...platform, logged: platform.logged })
    const server = await serve({ ...parts, mail: { publicUrl } })
    try {
      const body = { email: 'grace@example.com', role: 'reader' }
      const { json } = await send(server.url, platform.first.adminKey, 'POST', '/v1/organization/invites', body)
      const stored = await query<{ all: string }>('select mails::text as all from mails')
      expect(stored).toHaveLength(1)
      expect(stored[0]?.all).not.toContain(json.token)
      const [{ id = '' } = {}] = (await platform.send(platform.first.adminKey, 'GET', '/v1/platform/mails')).json.data
      const shown = (await platform.send(platform.first.adminKey, 'GET', `/v1/platform/mails/${id}`)).json
      expect(shown.text).toContain('{link}')
      await sendDue(box.url)
      const [mail] = box.received
      const plain = (mail?.text ?? '').replaceAll('=\r\n', '').replaceAll('=3D', '=')
      expect(plain).toContain(`${publicUrl}/v1/organization/invites/accept#${json.token}`)
      expect((await mailRow())?.link_sealed).toBeNull()
      const page = await fetch(`${server.url}/v1/organization/invites/accept`)
      expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
      expect(await page.text()).toContain('Accept the invitation')
    } finally {
      await server.stop()
    }
  })

  test('without a mail server an invitation is handed over by hand, as before', async () => {
    const body = { email: 'hand@example.com', role: 'reader' }
    expect((await platform.send(platform.first.adminKey, 'POST', '/v1/organization/invites', body)).status).toBe(200)
    expect(await query('select from mails')).toEqual([])
  })

  test('owners are told of a key that leaked, and of one that was compromised; no secret is in what they get', async () => {
    await query(`update users set email = 'owner@example.com' where organization_id = $1`, [
      platform.first.organizationId,
    ])
    const [owner] = await query<{ id: string }>('select id from users where organization_id = $1', [
      platform.first.organizationId,
    ])
    const mint = () =>
      platform.database.transaction(tx =>
        mintKey(tx, platform.secrets, {
          kind: 'project',
          organizationId: platform.first.organizationId,
          // As the database gave them
          projectId: platform.projectId as never,
          ownerUserId: owner?.id as never,
          name: 'leaky',
        }),
      )
    const leaked = await mint()
    const report = { key: leaked.value, source: 'a friend', url: `https://example.com/?k=${leaked.value}` }
    expect((await platform.send(null, 'POST', '/v1/leaks', report)).json.matched).toBe(true)
    const lost = await mint()
    const path = `/v1/organization/projects/${platform.projectId}/api_keys/${lost.id}/compromised`
    expect((await platform.send(platform.first.adminKey, 'POST', path, { replacement: {} })).status).toBe(200)
    const mails = await query<{ kind: string; recipient: string; all: string }>(
      'select kind, recipient, mails::text as all from mails order by kind',
    )
    expect(mails.map(({ kind, recipient }) => [kind, recipient])).toEqual([
      ['key_compromised', 'owner@example.com'],
      ['key_leaked', 'owner@example.com'],
    ])
    for (const { all } of mails) {
      expect(all).not.toContain(leaked.value)
      expect(all).not.toContain(lost.value)
      expect(all).toContain('leaky')
    }
  })
})

describe('the outbox', () => {
  const admin = (method: string, path: string, body?: unknown) =>
    platform.send(platform.first.adminKey, method, path, body)

  test('the operator lists, reads and tests', async () => {
    const made = (await admin('POST', '/v1/platform/mails/test', { to: 'ada@example.com' })).json
    expect(made).toMatchObject({ state: 'queued', recipient: 'ada@example.com', kind: 'test' })
    for (let mail = 0; mail < 3; mail += 1) await queueTest(`x${mail}@example.com`)
    const first = (await admin('GET', '/v1/platform/mails?limit=2')).json
    expect([first.data.length, first.has_more]).toEqual([2, true])
    const rest = (await admin('GET', `/v1/platform/mails?limit=2&after=${first.last_id}`)).json
    expect([rest.data.length, rest.has_more]).toEqual([2, false])
    expect(rest.data.at(-1).id).toBe(made.id)
    expect((await admin('GET', '/v1/platform/mails?state=failed')).json.data).toEqual([])
    expect((await admin('GET', `/v1/platform/mails/${made.id}`)).json.text).toContain('keyhouse mail test')
    expect((await admin('GET', '/v1/platform/mails/mail_none')).status).toBe(404)
  })

  test('nobody else does', async () => {
    const [id] = await queueTest()
    for (const path of ['/v1/platform/mails', `/v1/platform/mails/${id}`]) {
      expect((await platform.send(platform.other.adminKey, 'GET', path)).status).toBe(403)
    }
  })
})
