/** `keyhouse groups`: people who are given projects and roles together. */
import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { Group, GroupUser } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const of = (name: string, about: string): Command =>
    command.command(name).description(about).argument('<group>', 'group_…, as `keyhouse groups list` shows it')
  onServer(command.command('list').description('all groups'), terminal, listGroups)
  onServer(command.command('create').description('a new group').argument('<name>'), terminal, createGroup)
  onServer(of('rename', 'give it another name').argument('<name>'), terminal, renameGroup)
  onServer(of('delete', 'its members lose what it gave them'), terminal, deleteGroup)
  onServer(of('users', 'who is in it'), terminal, listMembers)
  onServer(of('add', 'put somebody in').argument('<user>', 'user-…'), terminal, addMember)
  onServer(of('remove', 'take somebody out').argument('<user>', 'user-…'), terminal, removeMember)
  const grant = of('grant', 'give it access to a project')
    .argument('<project>', 'proj_…')
    .option('--role <role>', 'owner, member, viewer, none, or the id of a role of the project', 'member')
  onServer(grant, terminal, grantProject)
  onServer(of('ungrant', 'take a project away').argument('<project>', 'proj_…'), terminal, ungrantProject)
}

const groups = '/v1/organization/groups'

const columns: readonly Column<Group>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'created (UTC)', cell: ({ created_at }) => dateTime(created_at) },
]

const memberColumns: readonly Column<GroupUser>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'e-mail', cell: ({ email }) => email ?? '' },
]

const listGroups: Run<object> = async context => {
  const all = await context.client.list<Group>(groups)
  showList(context, all, { columns, none: 'No groups. Create one: keyhouse groups create NAME' })
}

const createGroup: Run<object> = async context => {
  const [name = ''] = context.words
  const group = await context.client.post<Group>(groups, { name })
  show(context, group, `Created the group ${safeText(name)} (${group.id}).`)
}

const renameGroup: Run<object> = async context => {
  const [id = '', name = ''] = context.words
  const group = await context.client.post<Group>(path`/v1/organization/groups/${id}`, { name })
  show(context, group, `${id} is named ${safeText(name)} now.`)
}

const deleteGroup: Run<object> = async context => {
  const [id = ''] = context.words
  const deleted = await context.client.delete<object>(path`/v1/organization/groups/${id}`)
  show(context, deleted, `Deleted ${id}. What it gave its members ends within a second.`)
}

const listMembers: Run<object> = async context => {
  const [id = ''] = context.words
  const members = await context.client.list<GroupUser>(path`/v1/organization/groups/${id}/users`)
  showList(context, members, {
    columns: memberColumns,
    none: `Nobody. Put somebody in: keyhouse groups add ${id} USER`,
  })
}

const addMember: Run<object> = async context => {
  const [id = '', user = ''] = context.words
  const added = await context.client.post<object>(path`/v1/organization/groups/${id}/users`, { user_id: user })
  show(context, added, `${user} is in ${id} now.`)
}

const removeMember: Run<object> = async context => {
  const [id = '', user = ''] = context.words
  const removed = await context.client.delete<object>(path`/v1/organization/groups/${id}/users/${user}`)
  show(context, removed, `${user} is no longer in ${id}.`)
}

const grantProject: Run<{ role: string }> = async context => {
  const [group_id = '', project = ''] = context.words
  const { role } = context.options
  const where = path`/v1/organization/projects/${project}/groups`
  const access = await context.client.post<object>(where, { group_id, role })
  show(context, access, `Everybody in ${group_id} is in ${project} now, as ${role}.`)
}

const ungrantProject: Run<object> = async context => {
  const [id = '', project = ''] = context.words
  const taken = await context.client.delete<object>(path`/v1/organization/projects/${project}/groups/${id}`)
  show(context, taken, `${id} has no access to ${project} any more.`)
}
