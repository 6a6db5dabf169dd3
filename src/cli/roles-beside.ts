/** What a person keeps when the role of a membership is changed: roles that were assigned besides, or come through groups. */
import type { Run } from './server-command.ts'
import { note, safeText } from './terminal.ts'
import type { ProjectUser, User } from './wire.ts'

type Context = Parameters<Run<object>>[0]

export function tellRolesBeside(
  { terminal }: Context,
  { role, assigned_roles = [] }: { readonly role: string } & Pick<User | ProjectUser, 'assigned_roles'>,
  { user, project }: { readonly user: string; readonly project?: string },
): void {
  const where = project === undefined ? '' : ` --project ${project}`
  for (const { id, name, assignment_sources } of assigned_roles.filter(assigned => assigned.id !== role)) {
    const groups = assignment_sources?.map(source => source.principal_id)
    const mend = groups
      ? `It comes through ${groups.join(', ')}: keyhouse groups users ${groups[0]}`
      : `To take it: keyhouse roles unassign ${id} --user ${user}${where}`
    note(terminal, `They still have the role ${safeText(name)} (${id}) besides. ${mend}`)
  }
}
