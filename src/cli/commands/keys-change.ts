/** `keyhouse keys update|rotate|backup|disable|enable`: keys that are there already, of projects; the last two any. */
import type { Command } from 'commander'
import { ago, dateTime, parseDuration } from '../amounts.ts'
import { wrongUsage } from '../exit.ts'
import { anyKeyPath, projectKeyPath } from '../find-key.ts'
import { addKeyOptions, type KeyOptions, keyBody } from '../key-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { show } from '../show.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { AdminKey, NewKey, ProjectKey, RotatedKey } from '../wire.ts'

type OfProject = { project?: string }

export function defineChanges(command: Command, terminal: Terminal): void {
  const verb = (name: string, about: string): Command =>
    command
      .command(name)
      .description(about)
      .argument('<id>', 'key_…, as `keyhouse keys list` shows it')
      .option('--project <id>', 'the project that it belongs to; found when not given')
  const update = verb('update', 'change what a key may do, from where, and until when')
    .option('--name <name>', 'what it is for')
    .option('--all', 'may do everything that a project key can')
  onServer(addKeyOptions(update), terminal, updateKey)
  const rotate = verb('rotate', 'replace a key by a new one with the same settings, shown once')
    .option('--grace <duration>', 'how long the old one goes on working, 0s to 7d (default 1d)')
    .option('--expires <duration>', 'of the new one; when not given it expires when the old one would have')
  onServer(rotate, terminal, rotateKey)
  onServer(verb('backup', 'a second key that works once this one is revoked'), terminal, backupKey)
  onServer(verb('disable', 'refuse a key everywhere, within a second, until it is enabled'), terminal, disableKey)
  onServer(verb('enable', 'let a disabled key work again'), terminal, enableKey)
}

const updateKey: Run<KeyOptions & OfProject & { name?: string; all?: true }> = async context => {
  const { client, options, words } = context
  const [id = ''] = words
  if (options.all && (options.scopes !== undefined || options.readOnly || options.restricted))
    throw wrongUsage('Give either --all, --read-only or --scopes.')
  const body = { name: options.name, ...keyBody(options), ...(options.all && { permissions: 'all' }) }
  if (Object.values(body).every(member => member === undefined))
    throw wrongUsage('Nothing to change was given. `keyhouse keys update --help` lists what can be.')
  const key = await client.post<ProjectKey>(await projectKeyPath(client, id, options.project), body)
  show(context, key, `Changed the key ${safeText(key.name)} (${id}). Every server knows within a second.`)
}

const rotateKey: Run<OfProject & { grace?: string; expires?: string }> = async context => {
  const { client, options, words, terminal } = context
  const [id = ''] = words
  const { grace, expires } = options
  const body = {
    grace_seconds: grace === undefined ? undefined : graceIn(grace),
    expires_in_seconds: expires === undefined ? undefined : parseDuration(expires),
  }
  const path = await projectKeyPath(client, id, options.project)
  const key = await client.post<RotatedKey>(`${path}/rotate`, body)
  const { expires_at: endsAt, last_used_at: usedAt } = key.replaced
  show(
    context,
    key,
    `Rotated ${id}, which was ${usedAt === null ? 'never used' : `last used ${ago(usedAt, terminal.now())}`} and works until ` +
      `${dateTime(endsAt)} UTC.\n${revealed(key)}`,
  )
}

/** Nothing is no duration to wait, and a good grace for a key that leaked. */
const graceIn = (text: string): number => (/^0[smhdw]?$/.test(text) ? 0 : parseDuration(text))

const backupKey: Run<OfProject> = async context => {
  const { client, options, words } = context
  const [id = ''] = words
  const key = await client.post<NewKey<ProjectKey>>(`${await projectKeyPath(client, id, options.project)}/backup`, {})
  show(context, key, `It begins to work when ${id} is revoked.\n${revealed(key)}`)
}

const disableKey: Run<OfProject> = async context => {
  const key = await switchKey(context, 'disable')
  show(context, key, `Disabled ${key.id}. Every server refuses it within a second: keyhouse keys enable ${key.id}`)
}

const enableKey: Run<OfProject> = async context => {
  const key = await switchKey(context, 'enable')
  show(context, key, `Enabled ${key.id}.`)
}

async function switchKey(
  { client, options, words }: Parameters<Run<OfProject>>[0],
  verb: string,
): Promise<ProjectKey | AdminKey> {
  const [id = ''] = words
  return client.post(`${await anyKeyPath(client, id, options.project)}/${verb}`, {})
}

const revealed = ({ id, name, value }: NewKey<ProjectKey>): string =>
  `The new key ${safeText(name)} (${id}) is shown only now and kept nowhere:\n\n  ${value}\n`
