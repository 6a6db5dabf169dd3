/** `keyhouse users`: the people of the organization. They come by invitation: `keyhouse invites create`. */
import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { tellRolesBeside } from '../roles-beside.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { User } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const list = command.command('list').description('everybody').option('--email <address>', 'only whoever has it')
  onServer(list, terminal, listUsers)
  const update = command
    .command('update')
    .description("change somebody's role in the organization")
    .argument('<id>', 'user-…, as `keyhouse users list` shows it')
    .requiredOption('--role <role>', 'owner, who manages everything, reader, or the id of a role of the organization')
  onServer(update, terminal, updateUser)
  const remove = command
    .command('remove')
    .description('remove somebody; all of their keys are refused within a second')
    .argument('<id>', 'user-…')
  onServer(remove, terminal, removeUser)
}

const columns: readonly Column<User>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'e-mail', cell: ({ email }) => email ?? '' },
  { title: 'role', cell: ({ role }) => role },
  { title: 'since (UTC)', cell: ({ added_at }) => dateTime(added_at) },
]

const listUsers: Run<{ email?: string }> = async context => {
  const people = await context.client.list<User>('/v1/organization/users', { emails: context.options.email })
  showList(context, people, { columns, none: 'Nobody. Invite somebody: keyhouse invites create ADDRESS' })
}

const updateUser: Run<{ role: string }> = async context => {
  const [id = ''] = context.words
  const { role } = context.options
  const named = role.startsWith('role') ? { role_id: role } : { role }
  const user = await context.client.post<User>(path`/v1/organization/users/${id}`, named)
  const custom = user.assigned_roles?.find(assigned => assigned.id === role)
  const shown = custom ? safeText(custom.name) : { owner: 'an owner', reader: 'a reader' }[user.role]
  show(context, user, `${safeText(user.name)} (${id}) is ${shown} now.`)
  tellRolesBeside(context, { ...user, role: custom?.id ?? user.role }, { user: id })
}

const removeUser: Run<object> = async context => {
  const [id = ''] = context.words
  const removed = await context.client.delete<object>(path`/v1/organization/users/${id}`)
  show(context, removed, `Removed ${id}. Every server refuses their keys within a second.`)
}
