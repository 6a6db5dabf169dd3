/** `keyhouse model-permissions`: which models the keys of a project may call. */
import type { Command } from 'commander'
import { onServer, type Run } from '../server-command.ts'
import { ofProject, type ProjectOption, projectPlace, type SettingsPlace } from '../settings-place.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { ModelPermissions } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const show = command.command('show').description('which models the project may call')
  onServer(ofProject(show), terminal, showPermissions)
  const allow = command
    .command('allow')
    .description('these models, and no others')
    .argument('<models...>', 'their names')
  onServer(ofProject(allow), terminal, setPermissions('allow_list'))
  const deny = command.command('deny').description('all models but these').argument('<models...>', 'their names')
  onServer(ofProject(deny), terminal, setPermissions('deny_list'))
  onServer(ofProject(command.command('clear').description('all models again')), terminal, clearPermissions)
}

const pathOf = ({ path }: SettingsPlace): string => `${path}/model_permissions`

const showPermissions: Run<ProjectOption> = async ({ client, terminal, options }) => {
  const place = await projectPlace(client, options.project)
  const permissions = await client.get<ModelPermissions>(pathOf(place))
  if (options.json) printJson(terminal, permissions)
  else print(terminal, sentence(place, permissions))
}

/** @param mode in force from now on, with the models that the command names */
const setPermissions =
  (mode: ModelPermissions['mode']): Run<ProjectOption> =>
  async ({ client, terminal, options, words }) => {
    const place = await projectPlace(client, options.project)
    const body = { mode, model_ids: words.flat() }
    const permissions = await client.post<ModelPermissions>(pathOf(place), body)
    if (options.json) printJson(terminal, permissions)
    else print(terminal, sentence(place, permissions))
  }

const clearPermissions: Run<ProjectOption> = async ({ client, terminal, options }) => {
  const place = await projectPlace(client, options.project)
  const answer = await client.delete<object>(pathOf(place))
  if (options.json) printJson(terminal, answer)
  else print(terminal, `${place.name} may call all models.`)
}

function sentence({ name }: SettingsPlace, { mode, model_ids }: ModelPermissions): string {
  const models = model_ids.join(', ')
  if (mode === 'allow_list') return `${name} may call ${models === '' ? 'no models' : `only ${models}`}.`
  return `${name} may call all models${models === '' ? '' : ` but ${models}`}.`
}
