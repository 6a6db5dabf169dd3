/** What can be set on a key: what it may do, with which models, from where, and when it is to be replaced. The same on every kind of key. */
import { z } from 'zod'
import { modelName } from './models.ts'
import { scopeNames } from './scopes.ts'

/** Entries of an address or origin list; the database's CHECK says the same. */
export const listEntriesMax = 50
const blockCharactersMax = 50
const originCharactersMax = 253
export const rotateEveryDaysMax = 3_650

const scope = z.enum(scopeNames, {
  error: "expected a permission that docs/permissions.md lists, as in 'model.request'",
})
export const keyScopes = z.array(scope).max(scopeNames.length)

export const permissionLevels = ['all', 'restricted', 'read_only'] as const

export const allowedCidrs = z
  .array(z.string().trim().min(1).max(blockCharactersMax))
  .max(listEntriesMax)
  .describe('Addresses and CIDR blocks, v4 and v6, from which it may be used. Empty: from everywhere.')

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const originPattern = new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*$`)

export const allowedOrigins = z
  .array(
    z
      .string()
      .trim()
      .toLowerCase()
      .max(originCharactersMax)
      .regex(originPattern, "expected a host, such as app.example.com, or '*.example.com' for all below it"),
  )
  .max(listEntriesMax)
  .describe('Hosts of the web pages that may use it: advisory, since only browsers tell. Empty: all.')

/** The database's CHECK says the same: every node remembers the lists of the keys that call. */
const allowedModelsMax = 100

export const allowedModels = z
  .array(modelName)
  .max(allowedModelsMax)
  .describe(
    "The models' own names, beside the project's model permissions; an alias is refused. Names that are not there yet " +
      'count once they are. Empty: all that the project may call.',
  )

/** `permissions` is a comfort: all, read_only, or restricted to `scopes`. */
export const keyPermissions = {
  permissions: z.enum(permissionLevels).optional(),
  scopes: keyScopes.optional().describe('Empty: All.'),
}

export const keySettings = {
  ...keyPermissions,
  allowed_cidrs: allowedCidrs.optional(),
  allowed_origins: allowedOrigins.optional(),
  allowed_models: allowedModels.optional(),
  rotate_every_days: z.int().min(1).max(rotateEveryDaysMax).nullish().describe('Reminds when it is due. Null: never.'),
}
