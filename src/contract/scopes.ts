/**
 * Scope strings, OpenAI's where OpenAI has one. An empty list on a key means All; `api.all.read` means read-only.
 * `…write` implies `…read`.
 */
export const scopes = {
  'model.request': 'Call models: chat completions, completions and embeddings.',
  'api.model.read': 'List models.',
  'api.organization.projects.read': 'Read projects.',
  'api.organization.projects.write': 'Create and change projects.',
  'api.organization.projects.api_keys.read': 'List project API keys.',
  'api.organization.projects.api_keys.write': 'Create and revoke project API keys.',
  'api.organization.admin_api_keys.read': 'List admin API keys.',
  'api.organization.admin_api_keys.write': 'Create and revoke admin API keys.',
  'api.usage.read': 'Read usage and costs.',
  'api.credits.read': 'Read the credit balance.',
  'api.credits.write': 'Add credit.',
  'api.platform.read': 'Read providers, models, routes and server status.',
  'api.platform.write': 'Change providers, models and routes; pull models; back up and restore.',
} as const

export type Scope = keyof typeof scopes

/** May a key with `held` scopes do what needs `needed`? */
export function hasScope(held: readonly string[], needed: Scope): boolean {
  if (held.length === 0 || held.includes(needed)) return true
  if (!needed.endsWith('.read')) return needed === 'model.request' && held.includes('api.model.request')
  return held.includes('api.all.read') || held.includes(`${needed.slice(0, -'.read'.length)}.write`)
}
