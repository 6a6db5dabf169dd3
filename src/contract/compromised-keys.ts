/** A key that others may hold: one call revokes it, replaces it where that is asked for, and tells what it was used for. */
import { z } from 'zod'
import { type Endpoints, expiresInSeconds, unixTime } from './endpoint.ts'
import { allowedCidrs, allowedModels, keyScopes } from './key-settings.ts'
import { projectApiKey } from './project-api-keys.ts'

const windowHoursMax = 720
const windowHoursDefault = 24

const used = {
  calls: z.int(),
  cost_usd: z.string().describe('Dollars, as decimal text.'),
  first_used_at: unixTime,
  last_used_at: unixTime,
}

const activity = z
  .object({
    from: unixTime,
    to: unixTime,
    calls: z.int(),
    cost_usd: z.string().describe('Dollars, as decimal text.'),
    first_used_at: unixTime.nullable(),
    last_used_at: unixTime.nullable(),
    models: z.array(z.object({ model: z.string(), input_tokens: z.int(), output_tokens: z.int(), ...used })),
    addresses: z.array(z.object({ address: z.string().nullable().describe('Null: not known.'), ...used })),
  })
  .describe(
    'What the key and its client secrets did: most calls first. Calls that were cut now are settled a moment later.',
  )
  .meta({ id: 'KeyActivity' })

export const compromisedKeys = {
  report: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}/compromised',
    summary: 'Revoke an API key that others may hold, cut its streams, replace it if asked, and tell what it did.',
    scope: 'api.organization.projects.api_keys.write',
    body: z
      .strictObject({
        replacement: z
          .strictObject({
            scopes: keyScopes.optional().describe('Left out: those of the old key.'),
            allowed_cidrs: allowedCidrs.optional().describe('Left out: those of the old key.'),
            allowed_models: allowedModels.optional().describe('Left out: those of the old key.'),
            expires_in_seconds: expiresInSeconds.optional().describe('Left out: as the old key.'),
          })
          .optional()
          .describe('Left out: no replacement.'),
        window_hours: z.int().min(1).max(windowHoursMax).default(windowHoursDefault),
      })
      .prefault({}),
    answer: z
      .object({
        object: z.literal('organization.project.api_key.compromised'),
        id: z.string(),
        revoked_at: unixTime,
        replacement: projectApiKey.extend({ value: z.string() }).nullable(),
        woken_backup_id: z.string().nullable().describe('The backup key that works from now on.'),
        activity,
      })
      .meta({ id: 'ProjectApiKeyCompromised' }),
  },
} as const satisfies Endpoints
