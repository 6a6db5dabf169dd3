/** What a request says about a key, checked and in the words of storage. What it leaves out is undefined. */
import type { z } from 'zod'
import { type ApiError, apiError } from '#contract/errors.ts'
import type { keyPermissions, keySettings } from '#contract/key-settings.ts'
import { plainBlock } from '#core/address.ts'
import type { KeySettings } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { checkOwnNames } from './own-model-names.ts'

type Members<Shape extends Record<string, z.ZodType>> = { readonly [Name in keyof Shape]?: z.output<Shape[Name]> }
type Given = Members<typeof keySettings>

/** @throws ApiError invalid_parameter, which names the entry of a list that cannot be used */
export async function readKeySettings(
  tx: Queryable,
  given: Given,
): Promise<Partial<Omit<KeySettings, 'name' | 'expiresAt'>>> {
  const { allowed_cidrs: cidrs, allowed_origins: origins, allowed_models: models, rotate_every_days: days } = given
  if (models) await checkOwnNames(tx, 'allowed_models', models)
  const scopes = readScopes(given)
  return {
    ...(scopes && { scopes }),
    ...(cidrs && { allowedCidrs: readBlocks(cidrs) }),
    ...(origins && { allowedOrigins: unique(origins) }),
    ...(models && { allowedModels: unique(models) }),
    ...(days !== undefined && { rotateEveryDays: days }),
  }
}

function readScopes({ permissions, scopes }: Members<typeof keyPermissions>): readonly string[] | undefined {
  const some = scopes !== undefined && scopes.length > 0
  if (permissions === 'restricted' && !some) {
    throw invalid('scopes', "permissions 'restricted' needs scopes: at least one of what the key may do.")
  }
  if (permissions !== undefined && permissions !== 'restricted' && some) {
    throw invalid('permissions', `Send either permissions '${permissions}' or scopes.`)
  }
  if (permissions === 'all') return []
  return permissions === 'read_only' ? ['api.all.read'] : scopes && unique(scopes)
}

export function readBlocks(blocks: readonly string[]): readonly string[] {
  return unique(blocks.map((block, index) => readBlock(block, index)))
}

function readBlock(block: string, index: number): string {
  try {
    return plainBlock(block)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw invalid(`allowed_cidrs[${index}]`, `Invalid 'allowed_cidrs[${index}]': ${error.message}.`)
  }
}

const unique = (items: readonly string[]): string[] => [...new Set(items)]

const invalid = (param: string, message: string): ApiError =>
  apiError('invalid_parameter', { param, message, code: 'invalid_value' })
