/** Other names of models: `davinci-codex` can go on being asked for. */
import { apiError } from '#contract/errors.ts'
import type { modelAliases } from '#contract/models.ts'
import { type AliasRow, deleteAlias, findModel, listAliases, upsertAlias } from '#storage/models.ts'
import { changeCatalogue } from './catalogue-change.ts'
import { existingModel } from './existing-model.ts'
import type { Handlers } from './handler.ts'
import { toList } from './page.ts'

export const modelAliasHandlers: Handlers<typeof modelAliases> = {
  async list({ database }, { query }) {
    return toList(await listAliases(database, query), toAlias, row => row.alias)
  },

  async set(parts, call) {
    const { body } = call
    return changeCatalogue(parts, call, async tx => {
      await existingModel(tx, body.model)
      if (await findModel(tx, body.alias)) throw nameTaken(body.alias)
      await upsertAlias(tx, body)
      return { answer: toAlias(body), requested: { model_alias: body } }
    })
  },

  async delete(parts, call) {
    const { alias } = call.params
    return changeCatalogue(parts, call, async tx => {
      if (!(await deleteAlias(tx, alias))) throw apiError('not_found', { what: 'model alias' })
      return {
        answer: { object: 'platform.model_alias.deleted' as const, alias, deleted: true as const },
        requested: { model_alias: { alias, deleted: true } },
      }
    })
  },
}

const nameTaken = (name: string): Error =>
  apiError('conflict', { message: `There is a model named \`${name}\`, and an alias cannot hide it.` })

const toAlias = ({ alias, model }: AliasRow) => ({ object: 'platform.model_alias' as const, alias, model })
