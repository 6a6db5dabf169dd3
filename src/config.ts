/**
 * Every setting, one row each: its name, default, unit and one sentence. A setting is a flag (`--body-bytes-max`), an
 * environment variable (`KEYHOUSE_BODY_BYTES_MAX`) and a line in the optional config file (`body-bytes-max = 1000000`);
 * the earlier of these three wins. The environment is read here, once, and nowhere else.
 */
import { readFileSync } from 'node:fs'
import { addressList } from '#core/address.ts'
import { parseUsd } from '#core/money.ts'
import { threadsDefault } from '#inference/threads.ts'
import { logLevels } from '#observe/log.ts'
import { usageDaysMin, usageDaysUsual } from '#storage/usage-retention.ts'

type Row<Value> = {
  readonly default: Value
  readonly about: string
  /** Shown as **** wherever settings are shown. */
  readonly secret?: true
  /** A name that others use for it, besides KEYHOUSE_…. */
  readonly env?: string
  readonly read: (text: string) => Value
}

const text = (row: Omit<Row<string>, 'read'>): Row<string> => ({ ...row, read: value => value })

const oneOf = <const Choice extends string>(
  choices: readonly Choice[],
  row: Omit<Row<Choice>, 'read'>,
): Row<Choice> => ({
  ...row,
  read(value) {
    const choice = choices.find(known => known === value)
    if (choice === undefined) throw new Error(`must be one of ${choices.join(', ')}`)
    return choice
  },
})

const count = (bounds: { min: number; max: number }, row: Omit<Row<number>, 'read'>): Row<number> => ({
  ...row,
  read(value) {
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
    if (!(number >= bounds.min && number <= bounds.max)) {
      throw new Error(`must be a whole number from ${bounds.min} to ${bounds.max}`)
    }
    return number
  },
})

const usd = (row: Omit<Row<string>, 'read'>): Row<string> => ({
  ...row,
  read(value) {
    parseUsd(value)
    return value
  },
})

const addresses = (row: Omit<Row<string>, 'read'>): Row<string> => ({
  ...row,
  read(value) {
    addressList(splitList(value))
    return value
  },
})

export const splitList = (value: string): string[] =>
  value
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '')

const hours = 3_600_000
const onOff = ['on', 'off'] as const
const workersMax = 64
/** The embedded database is for a machine's own use, and has not the connections for more. */
const workersOnEmbeddedMax = 4

export const settings = {
  host: text({
    default: '127.0.0.1',
    about: 'Address to listen on. 0.0.0.0 is every network that this machine is in.',
  }),
  port: count({ min: 0, max: 65_535 }, { default: 8484, about: 'TCP port to listen on; 0 picks a free one.' }),
  'trusted-proxies': addresses({
    default: '',
    about: 'Addresses or CIDR blocks, separated by commas, of the proxies whose X-Forwarded-For is believed.',
  }),
  'tls-cert': text({
    default: '',
    about:
      'PEM file of the certificate and its chain. With tls-key: the server speaks HTTPS, and asks for client certificates.',
  }),
  'tls-key': text({ default: '', about: 'PEM file of the private key of tls-cert.' }),
  'client-cert-header': text({
    default: '',
    about:
      'Header in which a trusted proxy passes the client certificate on that it has asked for, as ssl-client-cert or x-forwarded-client-cert. The proxy must replace what clients send in it.',
  }),
  'data-dir': text({ default: '', about: "Where everything is kept. Empty: the platform's usual place for the user." }),
  'database-url': text({
    default: '',
    env: 'DATABASE_URL',
    secret: true,
    about: 'A PostgreSQL (15 or newer) of your own, as postgres://…. Empty: the embedded one.',
  }),
  'redis-url': text({
    default: '',
    env: 'REDIS_URL',
    secret: true,
    about:
      'A Redis (7 or newer) or Valkey, as redis://…, in which several nodes count rate limits. Empty: each of several gives out its share of them.',
  }),
  workers: count(
    { min: 1, max: workersMax },
    {
      default: 1,
      about:
        'Server processes on this machine that share the port. With more than one, redis-url lets each give out all of a rate limit, not its share.',
    },
  ),
  'database-connections-max': count(
    { min: 2, max: 500 },
    { default: 12, about: 'Connections that this node keeps to the database.' },
  ),
  'database-timeout-ms': count(
    { min: 100, max: 600_000 },
    { default: 5_000, about: 'Milliseconds that one statement may take.' },
  ),
  'log-level': oneOf(logLevels, { default: 'info', about: `How much is logged: ${logLevels.join(', ')}.` }),
  'key-pepper': text({
    default: '',
    secret: true,
    about: '64 hexadecimal digits; key hashes are made with it. Empty: from secrets.json in the data directory.',
  }),
  'sealing-key': text({
    default: '',
    secret: true,
    about:
      "64 hexadecimal digits; providers' credentials are sealed with it. Empty: from secrets.json in the data directory.",
  }),
  'metrics-token': text({
    default: '',
    secret: true,
    about: 'Bearer token for GET /metrics. Empty: only clients on this machine may read it.',
  }),
  'body-bytes-max': count(
    { min: 1_000, max: 1_000_000_000 },
    { default: 64 * 1024 * 1024, about: 'Largest request body, in bytes.' },
  ),
  'body-timeout-ms': count(
    { min: 100, max: hours },
    { default: 60_000, about: 'Milliseconds within which a request body must arrive.' },
  ),
  'header-bytes-max': count(
    { min: 1_000, max: 1_000_000 },
    { default: 16_384, about: 'Largest block of request headers, in bytes.' },
  ),
  'headers-timeout-ms': count(
    { min: 100, max: hours },
    { default: 10_000, about: 'Milliseconds within which the request headers must arrive.' },
  ),
  'keep-alive-timeout-ms': count(
    { min: 100, max: hours },
    {
      default: 65_000,
      about: 'Milliseconds that an idle connection is kept open. Keep it longer than the load balancer does.',
    },
  ),
  'client-stall-ms': count(
    { min: 100, max: hours },
    { default: 120_000, about: 'Milliseconds that a client may take no byte of a stream before it is cut.' },
  ),
  'client-left-ms': count(
    { min: 0, max: hours },
    {
      default: 2_000,
      about:
        'Milliseconds that an answer that is not streamed is still waited for when its client has left, so that what it cost is known. Then it is cancelled and estimated.',
    },
  ),
  'calls-max': count(
    { min: 1, max: 1_000_000 },
    { default: 10_000, about: 'Calls in flight at once; more are refused with 503.' },
  ),
  'drain-ms': count(
    { min: 0, max: hours },
    { default: 20_000, about: 'Milliseconds that a stopping server waits for calls in flight.' },
  ),
  'drain-notice-ms': count(
    { min: 0, max: hours },
    {
      default: 0,
      about:
        'Milliseconds that a stopping server still takes calls while /health/ready answers 503, so that load balancers turn away first. Longer than they take to look.',
    },
  ),
  'upstream-connect-timeout-ms': count(
    { min: 100, max: hours },
    { default: 10_000, about: 'Milliseconds to connect to a provider.' },
  ),
  'upstream-answer-timeout-ms': count(
    { min: 100, max: hours },
    { default: 600_000, about: "Milliseconds until a provider's answer begins." },
  ),
  'upstream-silence-timeout-ms': count(
    { min: 100, max: hours },
    { default: 120_000, about: "Milliseconds between two pieces of a provider's answer." },
  ),
  'upstream-connections-max': count(
    { min: 1, max: 100_000 },
    { default: 1_024, about: 'Connections to one provider at once.' },
  ),
  'upstream-body-bytes-max': count(
    { min: 1_000, max: 1_000_000_000 },
    { default: 128 * 1024 * 1024, about: 'Largest answer of a provider that is not streamed, in bytes.' },
  ),
  'auth-fresh-ms': count(
    { min: 300, max: hours },
    {
      default: 1_000,
      about:
        'Milliseconds within which a revoked key is refused everywhere. A node that cannot know asks the database, and serves nobody when that is away.',
    },
  ),
  'auth-poll-ms': count(
    { min: 50, max: 10_000 },
    { default: 250, about: 'Milliseconds between looks for changes to keys. At most a third of auth-fresh-ms.' },
  ),
  'grants-max': count(
    { min: 100, max: 10_000_000 },
    { default: 50_000, about: 'Keys whose grants are kept in memory.' },
  ),
  'requests-per-minute': count(
    { min: 1, max: 1_000_000_000 },
    {
      default: 60_000,
      about: 'Requests a minute and model, for organizations and projects without limits of their own.',
    },
  ),
  'tokens-per-minute': count(
    { min: 1, max: 1_000_000_000_000 },
    {
      default: 100_000_000,
      about: 'Tokens a minute and model, for organizations and projects without limits of their own.',
    },
  ),
  'smtp-url': text({
    default: '',
    env: 'SMTP_URL',
    secret: true,
    about:
      'Mail server, as smtp://USER:PASSWORD@HOST:587, or smtps:// for TLS from the first byte. Needs mail-from and public-url. Empty: mail is kept and not sent.',
  }),
  'mail-from': text({
    default: '',
    about: 'Who mail is from: an address, or Keyhouse <keyhouse@example.com>.',
  }),
  'public-url': text({
    default: '',
    about: 'Where people reach this server, as https://keyhouse.example.com, for the links in mails.',
  }),
  'unknown-keys-per-minute': count(
    { min: 1, max: 1_000_000 },
    { default: 120, about: 'Requests with unknown keys that one address may send a minute.' },
  ),
  'leak-keys-url': text({
    default: '',
    about:
      "Where GitHub's public keys for leak reports are: https://api.github.com/meta/public_keys/secret_scanning. Empty: POST /v1/leaks/github is off.",
  }),
  'leak-keys-file': text({
    default: '',
    about: 'The same keys in a file, for machines that reach no network. At most one of the two.',
  }),
  'output-tokens-default': count(
    { min: 1, max: 10_000_000 },
    { default: 4_096, about: 'Output bound that is sent along where neither the request nor the model has one.' },
  ),
  'clamped-output-tokens-min': count(
    { min: 0, max: 1_000_000 },
    {
      default: 64,
      about:
        'Shortest answer, in output tokens, that a call is cut to where credit or a spend limit does not cover the whole. 0: such calls are refused.',
    },
  ),
  'unpriced-models': oneOf(['refuse', 'free'], {
    default: 'refuse',
    about: 'What happens to calls of a model that has no price: refuse, free.',
  }),
  'test-models': oneOf(onOff, { default: 'off', about: 'Whether ordinary keys see the fake test models: on, off.' }),
  'first-credit-usd': usd({
    default: '100',
    about: 'Dollars of free credit that the organization gets on the first start.',
  }),
  'lease-usd-max': usd({
    default: '5',
    about: 'Dollars of an organization that this node reserves at a time, at most.',
  }),
  'lost-node-minutes': count(
    { min: 1, max: 1_440 },
    {
      default: 60,
      about:
        'Minutes without a sign of life after which a node is given up for lost, and what it had reserved is taken back.',
    },
  ),
  'lease-idle-ms': count(
    { min: 1_000, max: hours },
    { default: 5_000, about: 'Milliseconds without a call after which reserved credit is handed back.' },
  ),
  'journal-bytes-max': count(
    { min: 1_000_000, max: 10_000_000_000 },
    {
      default: 256 * 1024 * 1024,
      about: 'Bytes of usage that may wait for the database before new calls are refused.',
    },
  ),
  'usage-retention-days': count(
    { min: usageDaysMin, max: 36_500 },
    {
      default: usageDaysUsual,
      about: 'Days for which single calls are kept (the call log). Sums by day are kept for ever.',
    },
  ),
  'local-model': oneOf(onOff, { default: 'on', about: 'Whether the embedded model is fetched and offered: on, off.' }),
  'local-model-threads': count(
    { min: 1, max: 256 },
    {
      default: threadsDefault(),
      about: 'Threads of the embedded model. More than there are free cores makes it many times slower.',
    },
  ),
  'local-model-queue-max': count(
    { min: 1, max: 10_000 },
    { default: 32, about: 'Calls that may wait for the embedded model; more are refused with 503.' },
  ),
} satisfies Record<string, Row<string> | Row<number>>

export type SettingName = keyof typeof settings
export type Source = 'flag' | 'environment' | 'file' | 'default'
export type Config = {
  readonly values: { readonly [Name in SettingName]: ReturnType<(typeof settings)[Name]['read']> }
  readonly sources: { readonly [Name in SettingName]: Source }
}

export const settingNames = Object.keys(settings) as SettingName[]

export const envName = (name: SettingName): string => `KEYHOUSE_${name.toUpperCase().replaceAll('-', '_')}`

export class BadSetting extends Error {
  constructor(name: string, source: string, reason: string) {
    super(`The setting ${name} (${source}) ${reason}.`)
    this.name = 'BadSetting'
  }
}

export type ConfigInput = {
  /** By setting name, as the command line gave them. */
  readonly flags: Readonly<Record<string, string | undefined>>
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly file: string | undefined
}

/** @throws BadSetting that names the setting, where it was set, and what it must be */
export function loadConfig({ flags, environment, file }: ConfigInput): Config {
  const fromFile = file === undefined ? {} : readConfigFile(file)
  const entries = settingNames.map(name => {
    const given = whereSet(name, { flags, environment, fromFile })
    return { name, source: given.source, value: given.text === undefined ? settings[name].default : read(name, given) }
  })
  const config = {
    // One value per row, read by that row: fromEntries cannot express it, the table guarantees it.
    values: Object.fromEntries(entries.map(({ name, value }) => [name, value])) as Config['values'],
    sources: Object.fromEntries(entries.map(({ name, source }) => [name, source])) as Config['sources'],
  }
  checkTogether(config)
  return config
}

type Given = { readonly source: Source; readonly where: string; readonly text: string | undefined }

function whereSet(
  name: SettingName,
  from: Pick<ConfigInput, 'flags' | 'environment'> & { fromFile: Readonly<Record<string, string>> },
): Given {
  const flag = from.flags[name]
  if (flag !== undefined) return { source: 'flag', where: `--${name}`, text: flag }
  const row: Row<string> | Row<number> = settings[name]
  for (const variable of [envName(name), row.env]) {
    const value = variable === undefined ? undefined : from.environment[variable]
    if (value !== undefined && value !== '') return { source: 'environment', where: String(variable), text: value }
  }
  const line = from.fromFile[name]
  if (line !== undefined) return { source: 'file', where: 'config file', text: line }
  return { source: 'default', where: 'default', text: undefined }
}

function read(name: SettingName, { text: value = '', where }: Given): string | number {
  try {
    return settings[name].read(value)
  } catch (error) {
    throw new BadSetting(name, where, error instanceof Error ? error.message : String(error))
  }
}

function readConfigFile(file: string): Record<string, string> {
  let content: string
  try {
    content = readFileSync(file, 'utf8')
  } catch (error) {
    throw new Error(`The config file ${file} cannot be read: ${error instanceof Error ? error.message : error}`)
  }
  const values: Record<string, string> = {}
  for (const [index, line] of content.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue
    const match = /^\s*([\w-]+)\s*=\s*(.*?)\s*$/.exec(line)
    if (!match) throw new Error(`${file}, line ${index + 1}: expected "name = value"`)
    const [, name = '', value = ''] = match
    if (!(name in settings))
      throw new Error(`${file}, line ${index + 1}: there is no setting "${name}". \`keyhouse config\` lists them.`)
    values[name] = value
  }
  return values
}

/** Whoever can change what comes from there on the way decides which reports are believed. */
const trustedUrl = /^https:\/\/|^http:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])[:/]/

function checkTogether({ values }: Config): void {
  if (values['auth-poll-ms'] * 3 > values['auth-fresh-ms']) {
    throw new BadSetting('auth-poll-ms', 'with auth-fresh-ms', 'must be at most a third of auth-fresh-ms')
  }
  if ((values['tls-cert'] === '') !== (values['tls-key'] === '')) {
    throw new BadSetting('tls-cert', 'with tls-key', 'must be set together with tls-key')
  }
  if (values['client-cert-header'] !== '' && values['trusted-proxies'] === '') {
    throw new BadSetting(
      'client-cert-header',
      'with trusted-proxies',
      'needs trusted-proxies: it is believed from nobody else',
    )
  }
  if (values['leak-keys-url'] !== '' && values['leak-keys-file'] !== '') {
    throw new BadSetting('leak-keys-file', 'with leak-keys-url', 'is another source of the same: set one of the two')
  }
  if (values['leak-keys-url'] !== '' && !trustedUrl.test(values['leak-keys-url'])) {
    throw new BadSetting('leak-keys-url', 'KEYHOUSE_LEAK_KEYS_URL', 'must begin with https://, but on this machine')
  }
  if (values['database-url'] !== '' && !/^postgres(ql)?:\/\//.test(values['database-url'])) {
    throw new BadSetting('database-url', 'DATABASE_URL', 'must begin with postgres://')
  }
  checkMail(values)
  if (values['redis-url'] !== '' && !/^rediss?:\/\//.test(values['redis-url'])) {
    throw new BadSetting('redis-url', 'REDIS_URL', 'must begin with redis:// or rediss://')
  }
  if (values.workers > workersOnEmbeddedMax && values['database-url'] === '') {
    const reason = `above ${workersOnEmbeddedMax} needs database-url: the embedded database has no connections for more`
    throw new BadSetting('workers', 'with database-url', reason)
  }
}

function checkMail(values: Config['values']): void {
  const { 'smtp-url': smtpUrl, 'mail-from': from, 'public-url': publicUrl } = values
  if (publicUrl !== '' && !/^https?:\/\/[^\s/?#]+[^\s?#]*$/.test(publicUrl)) {
    throw new BadSetting('public-url', 'KEYHOUSE_PUBLIC_URL', 'must begin with https:// or http:// and name a host')
  }
  if (smtpUrl === '') return
  if (!/^smtps?:\/\/[^\s]+$/.test(smtpUrl) || !URL.canParse(smtpUrl)) {
    throw new BadSetting('smtp-url', 'SMTP_URL', 'must be a URL that begins with smtp:// or smtps://')
  }
  if (!/^(?:[^<>@\p{Cc}]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)$/u.test(from)) {
    throw new BadSetting('mail-from', 'with smtp-url', 'must be an address, as keyhouse@example.com')
  }
  if (publicUrl === '') throw new BadSetting('public-url', 'with smtp-url', 'must be set: mails carry links')
}

export type ShownSetting = {
  readonly name: SettingName
  readonly value: string
  readonly source: Source
  readonly flag: string
  readonly env: string
  readonly about: string
}

/** The effective settings for people: secrets masked, each with its source. */
export function describeConfig({ values, sources }: Config): ShownSetting[] {
  return settingNames.map(name => {
    const row: Row<string> | Row<number> = settings[name]
    const value = String(values[name])
    return {
      name,
      value: row.secret && value !== '' ? '****' : value,
      source: sources[name],
      flag: `--${name}`,
      env: row.env ?? envName(name),
      about: row.about,
    }
  })
}
