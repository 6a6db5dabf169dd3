/** Who keeps which promise: one table of handlers for each noun of the contract. */
import type { endpoints, Noun } from '#contract/endpoints.ts'
import type { Grant } from '#core/grant.ts'
import { adminApiKeyHandlers } from './admin-api-keys.ts'
import type { Source } from './change.ts'
import { creditHandlers } from './credits.ts'
import type { Handlers } from './handler.ts'
import { modelAliasHandlers } from './model-aliases.ts'
import { modelHandlers } from './models.ts'
import { operationHandlers } from './operations.ts'
import type { PlatformParts } from './platform.ts'
import { projectApiKeyHandlers } from './project-api-keys.ts'
import { projectHandlers } from './projects.ts'
import { providerHandlers } from './providers.ts'
import { rateLimitHandlers } from './rate-limits.ts'
import { usageHandlers } from './usage.ts'

const handlers: { readonly [Key in Noun]: Handlers<(typeof endpoints)[Key]> } = {
  adminApiKeys: adminApiKeyHandlers,
  projects: projectHandlers,
  projectApiKeys: projectApiKeyHandlers,
  rateLimits: rateLimitHandlers,
  usage: usageHandlers,
  credits: creditHandlers,
  providers: providerHandlers,
  models: modelHandlers,
  modelAliases: modelAliasHandlers,
  operations: operationHandlers,
}

type AnyCall = { grant: Grant | undefined; source: Source; params: unknown; query: unknown; body: unknown }
export type AnyHandler = (parts: PlatformParts, call: AnyCall) => Promise<unknown>

/** The handler of `endpoints[noun][verb]`. */
export function handlerOf(noun: Noun, verb: string): AnyHandler {
  // Each handler's types were matched with its row in the table above; here, in a loop over rows, all of them are alike.
  const handler = (handlers[noun] as unknown as Record<string, AnyHandler>)[verb]
  if (!handler) throw new Error(`no handler for ${noun}.${verb}`)
  return handler
}
