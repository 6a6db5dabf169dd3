/**
 * Scope strings: what a key or a role may do. OpenAI's where OpenAI has one. An empty list on a key means All.
 *
 * Three rules imply the rest: `…write` implies `…read`; `api.all.read` implies every `…read`; and a longer name is implied
 * by the shorter one that it begins with, so `model.request` is every kind of call and `model.request.embeddings` is one.
 */
export const scopes = {
  'model.request': 'Call models, at every endpoint.',
  'model.request.chat_completions': 'Chat completions.',
  'model.request.completions': 'Completions.',
  'model.request.embeddings': 'Embeddings.',
  'model.request.responses': 'Responses.',
  'model.request.audio': 'Speech and transcription.',
  'model.request.images': 'Images.',
  'model.request.moderations': 'Moderations.',
  'model.request.realtime': 'Realtime sessions.',
  'api.model.read': 'List models.',
  'api.files.read': 'Read files.',
  'api.files.write': 'Upload and delete files.',
  'api.batch.read': 'Read batches.',
  'api.batch.write': 'Create and cancel batches.',
  'api.fine_tuning.jobs.read': 'Read fine-tuning jobs.',
  'api.fine_tuning.jobs.write': 'Create and cancel fine-tuning jobs.',
  'api.assistants.read': 'Read assistants.',
  'api.assistants.write': 'Create and change assistants.',
  'api.threads.read': 'Read threads.',
  'api.threads.write': 'Create and change threads.',
  'api.vector_stores.read': 'Read vector stores.',
  'api.vector_stores.write': 'Create and change vector stores.',
  'api.responses.read': 'Read stored responses.',
  'api.responses.write': 'Create and delete stored responses.',
  'api.evals.read': 'Read evals.',
  'api.evals.write': 'Create and change evals.',
  'api.usage.read': 'Read usage, costs and the call log.',
  // Not `.read`: who may read everything else need not read what people wrote
  'api.calls.payloads': 'Read what was said in calls, in projects that capture it.',
  'api.client_secrets.write': 'Mint short-lived keys for browsers.',
  'api.organization.projects.read': 'Read projects and their settings.',
  'api.organization.projects.write': 'Create and change projects and their settings.',
  'api.organization.projects.api_keys.read': 'List project API keys.',
  'api.organization.projects.api_keys.write': 'Create, change, rotate and revoke project API keys.',
  'api.organization.projects.service_accounts.read': 'List service accounts.',
  'api.organization.projects.service_accounts.write': 'Create and change service accounts.',
  'api.organization.admin_api_keys.read': 'List admin API keys.',
  'api.organization.admin_api_keys.write': 'Create and revoke admin API keys.',
  'api.organization.users.read': 'List people.',
  'api.organization.users.write': 'Change and remove people.',
  'api.organization.invites.read': 'List invites.',
  'api.organization.invites.write': 'Invite people.',
  'api.groups.read': 'List groups.',
  'api.groups.write': 'Create and change groups.',
  'api.roles.read': 'List roles and who has them.',
  'api.roles.write': 'Create, change and assign roles.',
  'api.organization.certificates.read': 'List certificates.',
  'api.organization.certificates.write': 'Upload and activate certificates.',
  'api.organization.audit_logs.read': 'Read the audit log.',
  'api.organization.settings.read': 'Read settings of the organization: data retention, key policy.',
  'api.organization.settings.write': 'Change settings of the organization.',
  'api.organization.spend.read': 'Read spend limits and alerts.',
  'api.organization.spend.write': 'Change spend limits and alerts.',
  'api.credits.read': 'Read the credit balance.',
  'api.credits.write': 'Add credit.',
  'api.platform.read': 'Read providers, models, routes and server status.',
  'api.platform.write': 'Change providers, models and routes; pull models.',
  // No `.read` and `.write`, and below no other name: who may do the rest of the platform's work may do neither
  'api.platform.backup': 'Take a backup, which holds everything.',
  'api.platform.restore': 'Restore a backup, which replaces everything, keys and people too.',
} as const

export type Scope = keyof typeof scopes

/** Other spellings that OpenAI's clients send, and the umbrella of its admin keys. */
export const scopeAliases = {
  'api.model.request': 'model.request',
  'api.all.read': 'api.all.read',
  'api.management.read': 'api.all.read',
  'api.management.write': 'api.organization',
} as const

export const scopeNames = [...Object.keys(scopes), ...Object.keys(scopeAliases)] as [string, ...string[]]

/** May whoever holds `held` do what needs `needed`? An empty list holds nothing here: see `keyAllows`. */
export function holdsScope(held: Iterable<string>, needed: Scope): boolean {
  for (const name of held) {
    const scope = name in scopeAliases ? scopeAliases[name as keyof typeof scopeAliases] : name
    if (implies(scope, needed)) return true
  }
  return false
}

function implies(held: string, needed: Scope): boolean {
  if (held === needed) return true
  if (needed.endsWith('.read')) {
    if (held === 'api.all.read' || held === `${needed.slice(0, -'.read'.length)}.write`) return true
  }
  return needed.startsWith(`${held}.`)
}

// keys() forgets that these are the keys of the table above
export const allScopes = Object.keys(scopes) as readonly Scope[]

/** Every scope that comes with these. */
export const impliedScopes = (held: readonly string[]): Scope[] => allScopes.filter(scope => holdsScope(held, scope))

/** A key's own scopes: an empty list is All. */
export const keyAllows = (keyScopes: readonly string[], needed: Scope): boolean =>
  keyScopes.length === 0 || holdsScope(keyScopes, needed)
