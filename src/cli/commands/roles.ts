/** `keyhouse roles`: sets of permissions, of the organization or with --project of one project, and who has them. */
import type { Command } from 'commander'
import { wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { AssignedRole, Role } from '../wire.ts'

type Place = { project?: string }
type Holder = Place & { user?: string; group?: string }
type Draft = Place & { permissions?: string; description?: string; name?: string }

const placeHelp = ['--project <id>', 'of this project; of the organization when not given'] as const

export function define(command: Command, terminal: Terminal): void {
  const at = (name: string, about: string): Command =>
    command
      .command(name)
      .description(about)
      .option(...placeHelp)
  const of = (name: string, about: string): Command => at(name, about).argument('<role>', 'role_…')
  const to = (asked: Command): Command => asked.option('--user <id>', 'user-…').option('--group <id>', 'group_…')
  const drafted = (asked: Command): Command =>
    asked
      .option('--permissions <a,b>', 'scope strings, as in model.request,api.model.read')
      .option('--description <text>', 'what it is for')
  onServer(to(at('list', 'all roles, or those of a --user or --group')), terminal, listRoles)
  onServer(drafted(at('create', 'a new role').argument('<name>')), terminal, createRole)
  onServer(drafted(of('update', 'change a role').option('--name <name>', 'another name')), terminal, updateRole)
  onServer(of('delete', 'delete a role, and take it from everybody'), terminal, deleteRole)
  onServer(to(of('assign', 'give it to a --user or --group')), terminal, assignRole)
  onServer(to(of('unassign', 'take it from a --user or --group')), terminal, unassignRole)
}

const columns: readonly Column<Role | AssignedRole>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'kind', cell: ({ predefined_role }) => (predefined_role ? 'predefined' : 'custom') },
  { title: 'permissions', cell: ({ permissions }) => permissions.join(', ') },
]

const placeOf = ({ project }: Place): string =>
  project === undefined ? '/v1/organization' : path`/v1/projects/${project}`

/** Where a person's or a group's roles are; undefined when neither was named. */
function holderOf(options: Holder): string | undefined {
  const { user, group } = options
  if (user !== undefined && group !== undefined) throw wrongUsage('Give either --user or --group.')
  if (user !== undefined) return `${placeOf(options)}${path`/users/${user}/roles`}`
  return group === undefined ? undefined : `${placeOf(options)}${path`/groups/${group}/roles`}`
}

function namedHolder(options: Holder): string {
  const holder = holderOf(options)
  if (holder === undefined) throw wrongUsage('Say who: --user user-… or --group group_….')
  return holder
}

const listRoles: Run<Holder> = async context => {
  const holder = holderOf(context.options)
  const roles = await context.client.list<Role | AssignedRole>(holder ?? `${placeOf(context.options)}/roles`)
  showList(context, roles, { columns, none: 'None. Assign one: keyhouse roles assign ROLE --user USER' })
}

const permissionsOf = ({ permissions }: Draft): string[] | undefined =>
  permissions?.split(',').map(permission => permission.trim())

const createRole: Run<Draft> = async context => {
  const [role_name = ''] = context.words
  const permissions = permissionsOf(context.options)
  if (permissions === undefined) throw wrongUsage('Say what it may do: --permissions model.request,api.model.read')
  const body = { role_name, permissions, description: context.options.description }
  const role = await context.client.post<Role>(`${placeOf(context.options)}/roles`, body)
  show(context, role, `Created the role ${safeText(role.name)} (${role.id}).`)
}

const updateRole: Run<Draft> = async context => {
  const [id = ''] = context.words
  const { name: role_name, description } = context.options
  const body = { role_name, description, permissions: permissionsOf(context.options) }
  const role = await context.client.post<Role>(`${placeOf(context.options)}${path`/roles/${id}`}`, body)
  show(context, role, `${safeText(role.name)} (${id}) may ${role.permissions.join(', ')} now.`)
}

const deleteRole: Run<Place> = async context => {
  const [id = ''] = context.words
  const deleted = await context.client.delete<object>(`${placeOf(context.options)}${path`/roles/${id}`}`)
  show(context, deleted, `Deleted ${id}. Whoever had it loses what it gave within a second.`)
}

const assignRole: Run<Holder> = async context => {
  const [role_id = ''] = context.words
  const given = await context.client.post<object>(namedHolder(context.options), { role_id })
  show(context, given, `Gave ${role_id} to ${context.options.user ?? context.options.group}.`)
}

const unassignRole: Run<Holder> = async context => {
  const [id = ''] = context.words
  const taken = await context.client.delete<object>(`${namedHolder(context.options)}${path`/${id}`}`)
  show(context, taken, `Took ${id} from ${context.options.user ?? context.options.group}.`)
}
