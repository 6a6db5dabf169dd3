/** Other names of models: `davinci-codex` can go on being asked for. */
import { apiError } from '#contract/errors.ts'
import type { modelAliases } from '#contract/models.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import { type AliasRow, deleteAlias, findModel, listAliases, lockCatalogue, upsertAlias } from '#storage/models.ts'
import { existingModel } from './existing-model.ts'
import type { Handlers } from './handler.ts'
import { toList } from './page.ts'

export const modelAliasHandlers: Handlers<typeof modelAliases> = {
  async list({ database }, { query }) {
    return toList(await listAliases(database, query), toAlias, row => row.alias)
  },

  async set({ database }, { body }) {
    return database.transaction(async tx => {
      await lockCatalogue(tx)
      await existingModel(tx, body.model)
      if (await findModel(tx, body.alias)) throw nameTaken(body.alias)
      await upsertAlias(tx, body)
      await recordAuthEvent(tx, 'catalogue', '')
      return toAlias(body)
    })
  },

  async delete({ database }, { params: { alias } }) {
    await database.transaction(async tx => {
      await lockCatalogue(tx)
      if (!(await deleteAlias(tx, alias))) throw apiError('not_found', { what: 'model alias' })
      await recordAuthEvent(tx, 'catalogue', '')
    })
    return { object: 'platform.model_alias.deleted', alias, deleted: true }
  },
}

const nameTaken = (name: string): Error =>
  apiError('conflict', { message: `There is a model named \`${name}\`, and an alias cannot hide it.` })

const toAlias = ({ alias, model }: AliasRow) => ({ object: 'platform.model_alias' as const, alias, model })
