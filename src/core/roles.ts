/**
 * What the predefined roles may do, as OpenAI's matrix has it. Custom roles are rows of the database; these are not, so that
 * nobody can take an owner's rights away by an update.
 */
import { holdsScope, type Scope } from '#contract/scopes.ts'

export type OrganizationRole = 'owner' | 'reader'
export type ProjectRole = 'owner' | 'member' | 'viewer' | 'none'

export type PredefinedRole = {
  readonly id: string
  readonly name: string
  readonly description: string
  readonly resourceType: 'api.organization' | 'api.project'
  readonly permissions: readonly string[]
}

/** Building with models: what every member of a project does. */
const build = [
  'model.request',
  'api.model.read',
  'api.files.write',
  'api.batch.write',
  'api.fine_tuning.jobs.write',
  'api.assistants.write',
  'api.threads.write',
  'api.vector_stores.write',
  'api.responses.write',
  'api.evals.write',
  'api.client_secrets.write',
]

const look = [
  'api.model.read',
  'api.files.read',
  'api.batch.read',
  'api.fine_tuning.jobs.read',
  'api.assistants.read',
  'api.threads.read',
  'api.evals.read',
]

export const predefinedRoles = {
  organizationOwner: {
    id: 'role-api-organization-owner',
    name: 'owner',
    description: 'Manages the organization, its people, its projects and its money.',
    resourceType: 'api.organization',
    permissions: ['api', 'model.request'],
  },
  organizationReader: {
    id: 'role-api-organization-reader',
    name: 'reader',
    description: 'Is a member of the organization. What somebody may do in a project is the project role.',
    resourceType: 'api.organization',
    permissions: ['api.model.read', 'api.groups.read', 'api.roles.read'],
  },
  projectOwner: {
    id: 'role-api-project-owner',
    name: 'owner',
    description: 'Builds in the project, and manages its people, keys and settings.',
    resourceType: 'api.project',
    permissions: [...build, 'api.organization.projects', 'api.groups.write', 'api.roles.write', 'api.usage.read'],
  },
  projectMember: {
    id: 'role-api-project-member',
    name: 'member',
    description: 'Builds in the project.',
    resourceType: 'api.project',
    permissions: [...build, 'api.organization.projects.api_keys.write', 'api.groups.read', 'api.roles.read'],
  },
  projectViewer: {
    id: 'role-api-project-viewer',
    name: 'viewer',
    description: 'Sees what is in the project, and calls no models.',
    resourceType: 'api.project',
    permissions: [...look, 'api.organization.projects.api_keys.read'],
  },
} as const satisfies Record<string, PredefinedRole>

export const predefinedRole = (id: string): PredefinedRole | undefined =>
  Object.values(predefinedRoles).find(role => role.id === id)

/** Everything that the owner of a key was given, by role and by assignment, directly and through groups. */
export type HeldRoles = {
  readonly organizationRole: OrganizationRole | null
  readonly projectRoles: readonly ProjectRole[]
  /** Permissions of custom roles, and ids of predefined ones that were assigned. */
  readonly assigned: readonly string[]
}

const byProjectRole: Readonly<Record<ProjectRole, readonly string[]>> = {
  owner: predefinedRoles.projectOwner.permissions,
  member: predefinedRoles.projectMember.permissions,
  viewer: predefinedRoles.projectViewer.permissions,
  none: [],
}

/** The union of what the roles allow: permission strings, each with all that it implies. */
export function permissionsOf({ organizationRole, projectRoles, assigned }: HeldRoles): ReadonlySet<string> {
  const permissions = new Set<string>()
  const add = (more: readonly string[]): void => more.forEach(permission => void permissions.add(permission))
  if (organizationRole === 'owner') add(predefinedRoles.organizationOwner.permissions)
  if (organizationRole === 'reader') add(predefinedRoles.organizationReader.permissions)
  for (const role of projectRoles) add(byProjectRole[role])
  for (const item of assigned) add(predefinedRole(item)?.permissions ?? [item])
  return permissions
}

/** What a membership of the organization gives by itself. */
export const organizationPermissions = (organizationRole: OrganizationRole): ReadonlySet<string> =>
  permissionsOf({ organizationRole, projectRoles: [], assigned: [] })

/** What a membership of a project gives by itself, there. */
export const projectPermissions = (role: ProjectRole): ReadonlySet<string> =>
  permissionsOf({ organizationRole: null, projectRoles: [role], assigned: [] })

export const rolesAllow = (permissions: ReadonlySet<string>, needed: Scope): boolean => holdsScope(permissions, needed)
