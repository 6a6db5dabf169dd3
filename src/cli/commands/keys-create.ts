/** `keyhouse keys create`: prints the new key once, in lines that can be pasted as they are. */
import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import type { Client } from '../client.ts'
import { projectFor } from '../default-project.ts'
import type { EnvFile } from '../env-file.ts'
import { CliError, wrongUsage } from '../exit.ts'
import { adminKeys, keysOf } from '../find-key.ts'
import { addKeyOptions, type KeyOptions, keyBody } from '../key-options.ts'
import { checkUsd } from '../price-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { show } from '../show.ts'
import { print, printJson, safeText, type Terminal } from '../terminal.ts'
import { isTestModel, testModel } from '../test-models.ts'
import type { AdminKey, NewKey, PlatformModel, ProjectKey } from '../wire.ts'
import { budgetPeriod } from './keys-budget.ts'
import { type EnvOptions, envFileFor, keepInFile, offerToIgnore } from './keys-env.ts'

type CreateOptions = KeyOptions &
  EnvOptions & {
    name?: string
    project?: string
    backupOf?: string
    budget?: string
    budgetPeriod: string
    test?: true
    admin?: true
  }

export function defineCreate(command: Command, terminal: Terminal): void {
  addKeyOptions(command)
    .option('--name <name>', 'what it is for')
    .option('--project <id>', 'the project that pays; the first active one when not given')
    .option('--backup-of <id>', 'sleeps until that key is revoked, and then takes its place')
    .option('--budget <usd>', 'the most that it may spend in a period, in dollars')
    .addOption(budgetPeriod('--budget-period <period>'))
    .option('--test', 'reaches only the deterministic test models')
    .option('--admin', 'manages the organization and cannot call models')
    .option('--env <file>', 'write it into that .env file instead of showing it')
    .option('--env-name <name>', 'under this name (default KEYHOUSE_API_KEY)')
    .option('--ignore', 'add the file to .gitignore where git does not ignore it')
  onServer<CreateOptions>(command, terminal, async context => {
    checkTogether(context.options)
    await (context.options.admin ? createAdminKey(context) : createProjectKey(context))
  })
}

function checkTogether(options: CreateOptions): void {
  const { admin, project, test, cidr, origin, model, rotateEvery, backupOf, budget, env, envName, ignore } = options
  if (env === undefined && (envName !== undefined || ignore)) throw wrongUsage('--env-name and --ignore go with --env.')
  if (admin && [project, test, cidr, origin, model, rotateEvery, backupOf, budget].some(option => option !== undefined))
    throw wrongUsage('An admin key belongs to the organization: --admin goes with --name, --scopes, --expires, --env.')
}

const createProjectKey: Run<CreateOptions> = async ({ client, terminal, options }) => {
  const file = await envFileFor(options, 'KEYHOUSE_API_KEY')
  const settings = keyBody(options)
  const project = await projectFor(client, options.project)
  const { test, backupOf: backup_of } = options
  const budget = options.budget && { limit_usd: checkUsd(options.budget), period: options.budgetPeriod }
  const body = { name: nameOf(options, terminal), ...settings, test, backup_of, budget }
  const keys = keysOf(project.id)
  const key = await client.post<NewKey<ProjectKey>>(keys, body)
  if (file) return writeKey({ client, terminal, options }, file, { ...key, path: `${keys}/${key.id}` })
  if (options.json) return void printJson(terminal, { ...key, project_id: project.id })
  print(terminal, `${created(key)} for ${safeText(project.name)}${expiry(key)}. ${onlyNow}`)
  print(terminal, firstCall(client.server.url, key.value, options.test ? testModel : await chatModel(client)))
}

const createAdminKey: Run<CreateOptions> = async ({ client, terminal, options }) => {
  const file = await envFileFor(options, 'KEYHOUSE_ADMIN_KEY')
  const { scopes, expires_in_seconds } = keyBody(options)
  const body = { name: nameOf(options, terminal), scopes, expires_in_seconds }
  const key = await client.post<NewKey<AdminKey>>(adminKeys, body)
  if (file) return writeKey({ client, terminal, options }, file, { ...key, path: `${adminKeys}/${key.id}` })
  if (options.json) return void printJson(terminal, key)
  print(terminal, `${created(key)}${expiry(key)}; it manages everything in the organization. ${onlyNow}`)
  print(terminal, `\n  export KEYHOUSE_ADMIN_KEY=${key.value}\n  export KEYHOUSE_URL=${client.server.url}`)
}

const onlyNow = 'It is shown only now and kept nowhere:'

const nameOf = ({ name }: CreateOptions, { now }: Terminal): string => name ?? `cli ${dateTime(now() / 1000)}`

type Context = Pick<Parameters<Run<CreateOptions>>[0], 'client' | 'terminal' | 'options'>

async function writeKey(
  { client, terminal, options }: Context,
  file: EnvFile,
  { path, ...key }: NewKey<AnyKey> & { path: string },
): Promise<void> {
  const { value, ...shown } = key
  await keepInFile(client, file, { value, path })
  show({ terminal, options }, { ...shown, env_file: file.path }, `${created(key)}${expiry(key)}.`)
  if (!options.json) print(terminal, `Wrote ${file.name} to ${file.path}, which only you can read.`)
  await offerToIgnore(file, options, terminal)
}

type AnyKey = AdminKey | ProjectKey

const created = ({ id, name }: AnyKey): string => `Created the key ${safeText(name)} (${id})`
const expiry = ({ expires_at }: AnyKey): string => (expires_at ? `, valid until ${dateTime(expires_at)} UTC` : '')

const embeddedModel = 'tinyllama-1.1b-chat'

/** A model that the first call can go to. An organization that does not operate the server may not list them all. */
async function chatModel(client: Client): Promise<string> {
  try {
    const models = await client.list<PlatformModel>('/v1/platform/models')
    const ready = models.filter(({ kind, name }) => kind === 'chat' && !isTestModel({ name }))
    return ready.find(({ local }) => local?.status === 'ready')?.name ?? ready[0]?.name ?? embeddedModel
  } catch (error) {
    if (error instanceof CliError) return embeddedModel
    throw error
  }
}

function firstCall(url: string, key: string, model: string): string {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Say hello.' }], max_tokens: 40 })
  return [
    '',
    `  export OPENAI_API_KEY=${key}`,
    `  export OPENAI_BASE_URL=${url}/v1`,
    '',
    "OpenAI's SDKs read these two lines. The first call, in the same shell:",
    '',
    '  curl "$OPENAI_BASE_URL/chat/completions" -H "Authorization: Bearer $OPENAI_API_KEY" \\',
    `    -H "Content-Type: application/json" -d '${body.replaceAll("'", "'\\''")}'`,
  ].join('\n')
}
