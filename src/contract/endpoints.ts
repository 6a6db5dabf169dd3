/** Every row of the Administration API, by noun. */
import { adminApiKeys } from './admin-api-keys.ts'
import { credits } from './credits.ts'
import type { Endpoint, Endpoints } from './endpoint.ts'
import { modelAliases, models } from './models.ts'
import { operations } from './operations.ts'
import { projectApiKeys } from './project-api-keys.ts'
import { projects } from './projects.ts'
import { providers } from './providers.ts'
import { rateLimits } from './rate-limits.ts'
import { usage } from './usage.ts'

export const endpoints = {
  adminApiKeys,
  projects,
  projectApiKeys,
  rateLimits,
  usage,
  credits,
  providers,
  models,
  modelAliases,
  operations,
} as const satisfies Readonly<Record<string, Endpoints>>

export type Noun = keyof typeof endpoints
export type NamedEndpoint = { readonly noun: Noun; readonly verb: string; readonly row: Endpoint }

export const allEndpoints: readonly NamedEndpoint[] = Object.entries(endpoints).flatMap(([noun, rows]) =>
  // entries() forgets that these are the keys of the table above
  Object.entries(rows as Endpoints).map(([verb, row]) => ({ noun: noun as Noun, verb, row })),
)
