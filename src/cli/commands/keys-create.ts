/** `keyhouse keys create`: prints the new key once, in lines that can be pasted as they are. */
import type { Command } from 'commander'
import { dateTime, parseDuration } from '../amounts.ts'
import type { Client } from '../client.ts'
import { CliError, wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { print, printJson, safeText, type Terminal } from '../terminal.ts'
import { isTestModel, testModel } from '../test-models.ts'
import type { AdminKey, NewKey, PlatformModel, Project, ProjectKey } from '../wire.ts'

type CreateOptions = {
  name?: string
  project?: string
  scopes?: string
  readOnly?: true
  expires?: string
  test?: true
  admin?: true
}

export function defineCreate(command: Command, terminal: Terminal): void {
  command
    .option('--name <name>', 'what it is for')
    .option('--project <id>', 'the project that pays; the first active one when not given')
    .option('--scopes <a,b>', 'only these permissions, as in model.request,api.model.read; all when not given')
    .option('--read-only', 'may read everything and change nothing')
    .option('--expires <duration>', 'refused after that time, as in 30d or 12h; never when not given')
    .option('--test', 'reaches only the deterministic test models')
    .option('--admin', 'manages the organization and cannot call models')
  onServer<CreateOptions>(command, terminal, async context => {
    checkTogether(context.options)
    await (context.options.admin ? createAdminKey(context) : createProjectKey(context))
  })
}

function checkTogether({ admin, project, scopes, readOnly, test }: CreateOptions): void {
  if (scopes !== undefined && readOnly) throw wrongUsage('Give either --scopes or --read-only.')
  if (admin && (project !== undefined || scopes !== undefined || readOnly || test))
    throw wrongUsage('An admin key belongs to the organization: --admin goes only with --name and --expires.')
}

const createProjectKey: Run<CreateOptions> = async ({ client, terminal, options }) => {
  const project = await projectFor(client, options.project)
  const scopes = options.readOnly ? ['api.all.read'] : options.scopes?.split(',').map(scope => scope.trim())
  const body = { ...nameAndExpiry(options, terminal), scopes, test: options.test }
  const path = `/v1/organization/projects/${encodeURIComponent(project.id)}/api_keys`
  const key = await client.post<NewKey<ProjectKey>>(path, body)
  if (options.json) return void printJson(terminal, { ...key, project_id: project.id })
  print(terminal, `${created(key)} for ${safeText(project.name)}${expiry(key)}. ${onlyNow}`)
  print(terminal, firstCall(client.server.url, key.value, options.test ? testModel : await chatModel(client)))
}

const createAdminKey: Run<CreateOptions> = async ({ client, terminal, options }) => {
  const key = await client.post<NewKey<AdminKey>>('/v1/organization/admin_api_keys', nameAndExpiry(options, terminal))
  if (options.json) return void printJson(terminal, key)
  print(terminal, `${created(key)}${expiry(key)}; it manages everything in the organization. ${onlyNow}`)
  print(terminal, `\n  export KEYHOUSE_ADMIN_KEY=${key.value}\n  export KEYHOUSE_URL=${client.server.url}`)
}

const onlyNow = 'It is shown only now and kept nowhere:'

function nameAndExpiry({ name, expires }: CreateOptions, { now }: Terminal) {
  const expiresInSeconds = expires === undefined ? undefined : parseDuration(expires)
  return { name: name ?? `cli ${dateTime(now() / 1000)}`, expires_in_seconds: expiresInSeconds }
}

async function projectFor(client: Client, id: string | undefined): Promise<Project> {
  if (id !== undefined) return client.get(`/v1/organization/projects/${encodeURIComponent(id)}`)
  const projects = await client.list<Project>('/v1/organization/projects', { order: 'asc' })
  const first = projects.find(({ status }) => status === 'active')
  if (first) return first
  throw new CliError('notFound', 'There is no active project. Create one: keyhouse projects create NAME')
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
