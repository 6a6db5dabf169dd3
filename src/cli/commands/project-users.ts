/** `keyhouse projects users`: who is a member of a project, and as what. */
import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { tellRolesBeside } from '../roles-beside.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { ProjectUser } from '../wire.ts'

const roleHelp = 'owner, member, viewer, none, or the id of a role of the project'

export function defineProjectUsers(command: Command, terminal: Terminal): void {
  const of = (name: string, about: string): Command =>
    command.command(name).description(about).argument('<project>', 'proj_…')
  onServer(of('list', 'all members'), terminal, listMembers)
  const add = of('add', 'make somebody of the organization a member')
    .argument('<user>', 'user-… or an e-mail address')
    .option('--role <role>', roleHelp, 'member')
  onServer(add, terminal, addMember)
  const update = of('update', "change a member's role")
    .argument('<user>', 'user-…')
    .requiredOption('--role <role>', roleHelp)
  onServer(update, terminal, updateMember)
  const remove = of('remove', 'take somebody out; their keys of the project are refused within a second')
  onServer(remove.argument('<user>', 'user-…'), terminal, removeMember)
}

const columns: readonly Column<ProjectUser>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'e-mail', cell: ({ email }) => email ?? '' },
  { title: 'role', cell: ({ role }) => role },
  { title: 'since (UTC)', cell: ({ added_at }) => dateTime(added_at) },
]

const listMembers: Run<object> = async context => {
  const [project = ''] = context.words
  const members = await context.client.list<ProjectUser>(path`/v1/organization/projects/${project}/users`)
  const none = `No members. Add one: keyhouse projects users add ${project} USER`
  showList(context, members, { columns, none })
}

const addMember: Run<{ role: string }> = async context => {
  const [project = '', user = ''] = context.words
  const body = { ...(user.includes('@') ? { email: user } : { user_id: user }), role: context.options.role }
  const member = await context.client.post<ProjectUser>(path`/v1/organization/projects/${project}/users`, body)
  show(context, member, `${safeText(member.name)} (${member.id}) is in ${project} now, as ${member.role}.`)
}

const updateMember: Run<{ role: string }> = async context => {
  const [project = '', user = ''] = context.words
  const where = path`/v1/organization/projects/${project}/users/${user}`
  const member = await context.client.post<ProjectUser>(where, { role: context.options.role })
  show(context, member, `${safeText(member.name)} (${user}) is in ${project} as ${member.role} now.`)
  tellRolesBeside(context, member, { user, project })
}

const removeMember: Run<object> = async context => {
  const [project = '', user = ''] = context.words
  const removed = await context.client.delete<object>(path`/v1/organization/projects/${project}/users/${user}`)
  show(context, removed, `Removed ${user} from ${project}. Every server refuses their keys of it within a second.`)
}
