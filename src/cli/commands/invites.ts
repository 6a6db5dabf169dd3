/** `keyhouse invites`: the way in for people. Keyhouse sends no mail: the token is handed over by whoever invites. */
import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { Invite } from '../wire.ts'

const invites = '/v1/organization/invites'

export function define(command: Command, terminal: Terminal): void {
  const create = command
    .command('create')
    .description('invite somebody; the token is shown once')
    .argument('<email>')
    .option('--role <role>', 'owner, who manages everything, or reader', 'reader')
    .option('--project <id=role...>', 'a project to be a member of, as in proj_…=member or proj_…=owner')
  onServer(create, terminal, createInvite)
  onServer(command.command('list').description('all invitations'), terminal, listInvites)
  const revoke = command
    .command('revoke')
    .description('withdraw an invitation that was not accepted')
    .argument('<id>', 'invite-…, as `keyhouse invites list` shows it')
  onServer(revoke, terminal, revokeInvite)
}

const columns: readonly Column<Invite>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'e-mail', cell: ({ email }) => email },
  { title: 'role', cell: ({ role }) => role },
  { title: 'projects', cell: ({ projects }) => projects.map(({ id, role }) => `${id} (${role})`).join(', ') },
  { title: 'status', cell: ({ status }) => status },
  { title: 'expires (UTC)', cell: ({ expires_at }) => dateTime(expires_at) },
]

const createInvite: Run<{ role: string; project?: string[] }> = async context => {
  const [email = ''] = context.words
  const { role, project = [] } = context.options
  const body = { email, role, projects: project.map(toProject) }
  const invite = await context.client.post<Invite & { token: string }>(invites, body)
  show(context, invite, howToAccept(invite, context.client.server.url))
}

function toProject(text: string): { id: string; role: string } {
  const [id = '', role = 'member', ...more] = text.split('=')
  if (id === '' || more.length > 0)
    throw wrongUsage(`--project takes PROJECT=ROLE, as in proj_…=member, not '${text}'.`)
  return { id, role }
}

const howToAccept = ({ id, email, expires_at, token }: Invite & { token: string }, url: string): string =>
  `Invited ${safeText(email)} (${id}), until ${dateTime(expires_at)} UTC. Send them these lines; the token is shown only now:

  curl "${url}/v1/organization/invites/accept" -H 'Content-Type: application/json' \\
    -d '{"token":"${token}","name":"YOUR NAME"}'`

const listInvites: Run<object> = async context => {
  const all = await context.client.list<Invite>(invites)
  showList(context, all, { columns, none: 'No invitations. Invite somebody: keyhouse invites create ADDRESS' })
}

const revokeInvite: Run<object> = async context => {
  const [id = ''] = context.words
  const withdrawn = await context.client.delete<object>(path`/v1/organization/invites/${id}`)
  show(context, withdrawn, `Withdrew ${id}. Its token is refused from now on.`)
}
