/** What only an operator's key may see: the key itself, versions, the database, the journal, models and providers. */
import { version } from '#src/version.ts'
import { bytes, count, duration } from '../amounts.ts'
import { type Client, createClient } from '../client.ts'
import { CliError, messageOf } from '../exit.ts'
import type { FoundServer } from '../find-server.ts'
import { isTestModel } from '../test-models.ts'
import type { PlatformModel, Provider, Status } from '../wire.ts'
import { type Check, ok, unknown, warning, wrong } from './check.ts'

export type Looked = { readonly checks: readonly Check[]; readonly dataDir?: string }

const unseen = ['version', 'troubles', 'database', 'journal', 'limits', 'ledger', 'mail', 'models', 'providers'].map(
  unknown,
)
export const nothingSeen: Looked = { checks: [unknown('key'), ...unseen] }

export async function lookInside(server: FoundServer): Promise<Looked> {
  if (server.key === undefined) return { checks: [keyMissing(server), ...unseen] }
  try {
    const client = createClient(server, server.key)
    const status = await client.get<Status>('/v1/platform/status')
    const checks = [ok('key', `accepted (from ${server.key.from})`), ...checkStatus(status)]
    const lists = [await guarded('models', checkModels(client)), await guarded('providers', checkProviders(client))]
    return { checks: [...checks, ...lists], dataDir: status.data_dir }
  } catch (error) {
    return { checks: [failed('key', error), ...unseen] }
  }
}

const guarded = (name: string, check: Promise<Check>): Promise<Check> => check.catch(error => failed(name, error))

/** A key that is refused is for its owner to mend, anything else for whoever reads the server's log. */
function failed(name: string, error: unknown): Check {
  const isRefused = error instanceof CliError && error.reason === 'notAuthorized'
  const mend = isRefused ? 'Set KEYHOUSE_ADMIN_KEY to an admin key of the operator.' : "See the server's log."
  return wrong(name, messageOf(error), mend)
}

const keyMissing = ({ accessFile }: FoundServer): Check =>
  wrong(
    'key',
    `there is none (${accessFile.path}: ${accessFile.missing ?? 'it is for another server'})`,
    'Set KEYHOUSE_ADMIN_KEY, or name the data directory of the running server with --data-dir.',
  )

const checkStatus = (status: Status): Check[] => [
  checkVersion(status),
  checkTroubles(status),
  checkDatabase(status),
  checkJournal(status),
  checkLimits(status),
  checkLedger(status),
  checkMail(status),
]

function checkVersion({ version: theirs, node_version, uptime_seconds }: Status): Check {
  if (theirs !== version) {
    const mend = 'Restart the server, or use the CLI that came with it.'
    return warning('version', `the server runs ${theirs}, this is ${version}`, mend)
  }
  return ok(
    'version',
    `${version} on both sides; the server's Node is ${node_version}, up for ${duration(uptime_seconds)}`,
  )
}

function checkTroubles({ troubles = [] }: Status): Check {
  const [oldest] = troubles
  if (oldest === undefined) return ok('troubles', 'none now')
  const { kind, about, since, reason } = oldest
  const which = about === '' ? kind : `${kind} (${about})`
  const more = troubles.length === 1 ? '' : `; and ${count(troubles.length - 1)} more`
  return wrong(
    'troubles',
    `${which} since ${new Date(since * 1000).toISOString()}: ${reason}${more}`,
    "The server's log says what to do, and docs/operations.md.",
  )
}

const latencyMsMax = 100

function checkDatabase({ database }: Status): Check {
  const { kind, latency_ms, size_bytes, version: postgres } = database
  if (!database.ok) {
    const mend =
      kind === 'external' ? 'Is DATABASE_URL right, and that server up?' : "See the server's log, then restart it."
    return wrong('database', `the ${kind} one does not answer`, mend)
  }
  const proof = `${kind} PostgreSQL ${postgres}, ${bytes(size_bytes ?? 0)}, answers in ${latency_ms} ms`
  if (latency_ms <= latencyMsMax) return ok('database', proof)
  return warning('database', proof, 'Every change waits for it: move it closer, or give it a faster disk.')
}

const waitingMax = 10_000

function checkJournal({ journal }: Status): Check {
  const { waiting, refusal, last_error, rejected = 0 } = journal
  if (refusal !== null) return wrong('journal', refusal, 'Free disk space, or bring the database back.')
  if (rejected > 0) {
    const mend = 'Look into rejected-usage.log in the data directory.'
    return wrong('journal', `the database refused ${count(rejected)} usage records`, mend)
  }
  const proof = `${count(waiting)} usage records (${bytes(journal.bytes)}) wait for the database`
  if (last_error !== null)
    return warning('journal', `${proof}: ${last_error}`, 'Bring the database back; nothing is lost.')
  return waiting > waitingMax ? warning('journal', proof, 'Give the database a faster disk.') : ok('journal', proof)
}

function checkLimits({ cluster: { nodes, rate_limits } }: Status): Check {
  const many = nodes === 1 ? 'one node' : `${nodes} nodes`
  if (rate_limits === 'redis') return ok('limits', `${many}, counted in Redis`)
  if (rate_limits === 'memory' && nodes === 1) return ok('limits', `${many}, counted in memory`)
  const mend = rate_limits === 'alone' ? 'Bring back the Redis that REDIS_URL names.' : 'Give all nodes one REDIS_URL.'
  return warning('limits', `${many}: each gives out its share of every rate limit alone`, mend)
}

function checkLedger({ ledger: { findings } }: Status): Check {
  if (findings === 0) return ok('ledger', 'everything adds up')
  return wrong('ledger', `${count(findings)} things do not add up`, 'keyhouse ledger verify --full')
}

function checkMail({ mail: { set_up, failed, organizations_unreached: unreached } }: Status): Check {
  if (failed === 0 && !set_up) return ok('mail', 'none is sent: no mail server is set up')
  if (failed === 0 && unreached > 0) {
    const whose = unreached === 1 ? 'one organization' : `${count(unreached)} organizations`
    const proof = `none of the owners of ${whose} has an e-mail address: alerts, budgets and leaked keys are told to nobody`
    return warning('mail', proof, 'keyhouse invites create YOU@EXAMPLE.COM --role owner')
  }
  if (failed === 0) return ok('mail', 'none was given up in the last day')
  return warning('mail', `${count(failed)} were given up in the last day`, 'keyhouse mail list --state failed')
}

async function checkModels(client: Client): Promise<Check> {
  const all = await client.list<PlatformModel>('/v1/platform/models')
  const models = all.filter(model => !isTestModel(model))
  const missing = models.find(({ local }) => local !== null && /absent|failed/.test(local.status))
  if (missing)
    return warning(
      'models',
      `${missing.name} is not here${missing.local?.reason ? `: ${missing.local.reason}` : ''}`,
      `keyhouse models pull ${missing.name}`,
    )
  const coming = models.find(({ local }) => local?.status === 'downloading')
  if (coming)
    return warning('models', `${coming.name} is being fetched (${coming.local?.percent ?? 0} %)`, 'Wait a moment.')
  const unpriced = models.find(({ price }) => price === null)
  if (unpriced) {
    const mend = `keyhouse prices set ${unpriced.name} --input USD --output USD`
    return warning('models', `${unpriced.name} has no price, so its calls are refused`, mend)
  }
  if (models.length === 0) return warning('models', 'there are only test models', 'keyhouse providers add openai')
  return ok('models', `${models.length} can be called`)
}

async function checkProviders(client: Client): Promise<Check> {
  const providers = await client.list<Provider>('/v1/platform/providers')
  // What is built in has no address, and needs no credential
  const hosts = providers.filter(({ base_url }) => base_url !== null)
  const bare = hosts.filter(({ credential_hint }) => credential_hint === null).map(({ name }) => name)
  if (bare.length > 0) {
    return warning(
      'providers',
      `without a credential: ${bare.join(', ')}`,
      `If it needs one: keyhouse providers add ${bare[0]}`,
    )
  }
  return ok(
    'providers',
    hosts.length === 0 ? 'only the built-in one' : `${hosts.length} connected, each with a credential`,
  )
}
