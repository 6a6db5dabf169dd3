// What smtp-url, mail-from and public-url may be, and that the password of a mail server is shown nowhere.
import { expect, test } from 'vitest'
import { describeConfig, loadConfig } from './config.ts'

const good = {
  'smtp-url': 'smtps://me:hush@mail.example.com',
  'mail-from': 'Keyhouse <keyhouse@example.com>',
  'public-url': 'https://keyhouse.example.com',
}
const load = (flags: Record<string, string>) => loadConfig({ flags, environment: {}, file: undefined })

test('the password of the mail server is masked wherever settings are shown', () => {
  const shown = describeConfig(load(good))
  expect(shown.find(({ name }) => name === 'smtp-url')?.value).toBe('****')
  expect(JSON.stringify(shown)).not.toContain('hush')
})

test('the environment names it as everybody does', () => {
  const environment = { SMTP_URL: 'smtp://localhost:25', KEYHOUSE_MAIL_FROM: 'a@b.c', KEYHOUSE_PUBLIC_URL: 'http://h' }
  expect(loadConfig({ flags: {}, environment, file: undefined }).values['smtp-url']).toBe('smtp://localhost:25')
})

test.each([
  [{ 'smtp-url': 'mail.example.com' }, 'smtp-url'],
  [{ 'smtp-url': 'smtp://' }, 'smtp-url'],
  [{ 'mail-from': '' }, 'mail-from'],
  [{ 'mail-from': 'Keyhouse' }, 'mail-from'],
  [{ 'mail-from': 'a@b.c\r\nBcc: x@y.z' }, 'mail-from'],
  [{ 'public-url': '' }, 'public-url'],
  [{ 'public-url': 'keyhouse.example.com' }, 'public-url'],
])('%j is refused by its name', (bad, name) => {
  const given: Record<string, string> = { ...good, ...bad }
  expect(() => load(given)).toThrow(new RegExp(`^The setting ${name} `))
  expect(() => load(given)).not.toThrow('hush')
})
