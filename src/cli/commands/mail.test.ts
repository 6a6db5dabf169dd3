import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Api, list, runOn, startApi } from '../testing.ts'

const mail = {
  object: 'platform.mail',
  id: 'mail_1',
  organization_id: null,
  kind: 'test',
  recipient: 'ada@example.com',
  subject: 'Keyhouse can send mail',
  state: 'failed',
  tries: 2,
  created_at: 1_790_000_000,
  sent_at: null,
  next_try_at: null,
  failure: '550 no such person',
}

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/platform/mails': list([mail]),
    'GET /v1/platform/mails/mail_1': { ...mail, text: 'one\n\ntwo \u001b[31mred' },
    'POST /v1/platform/mails/test': { ...mail, state: 'queued' },
  })
})
afterEach(() => api.close())

test('a mail is one line: when, what became of it, to whom, and why not', async () => {
  const { stdout } = await runOn(api, ['mail', 'list', '--state', 'failed'])
  expect(stdout).toContain(
    'mail_1  2026-09-21 14:13  failed  ada@example.com  Keyhouse can send mail  550 no such person',
  )
  expect(api.asked.at(-1)?.query.get('state')).toBe('failed')
  expect((await runOn(api, ['mail', 'list', '--state', 'lost'])).code).toBe(2)
})

test('a mail is shown with its text, in which nothing can paint the terminal', async () => {
  const { stdout } = await runOn(api, ['mail', 'show', 'mail_1'])
  expect(stdout).toContain('Failure  550 no such person\n\none\n\ntwo ')
  expect(stdout).not.toContain('\u001b')
})

test('a test mail is queued, and it is said how to see what became of it', async () => {
  const { stdout } = await runOn(api, ['mail', 'test', 'ada@example.com'])
  expect(stdout).toContain('keyhouse mail show mail_1')
  expect(JSON.parse(api.asked.at(-1)?.body ?? '')).toEqual({ to: 'ada@example.com' })
})

test('a test mail that nobody sends, without a mail server, says which settings are missing', async () => {
  const held = await startApi({ 'POST /v1/platform/mails/test': { ...mail, state: 'held' } })
  const { stdout } = await runOn(held, ['mail', 'test', 'ada@example.com'])
  expect(stdout).toContain('no mail server is set: start the server with smtp-url, mail-from and public-url')
  await held.close()
})
