/** The rows of src/config.ts as options, for the commands that read settings: one row, one option. */
import { type Command, Option } from 'commander'
import { type Config, envName, loadConfig, type SettingName, settingNames, settings } from '#src/config.ts'
import { messageOf, wrongUsage } from './exit.ts'
import type { Terminal } from './terminal.ts'

const options = new Map(settingNames.map(name => [name, optionOf(name)]))

export function addSettings(command: Command): Command {
  command.option('--config <file>', 'file with lines such as "port = 8484" (KEYHOUSE_CONFIG)')
  for (const option of options.values()) command.addOption(option)
  return command
}

/** The settings that are in force, given the options of `command`. @throws CliError that names the bad one */
export function readSettings(command: Command, { env }: Terminal): Config {
  const file: string | undefined = command.opts().config ?? (env.KEYHOUSE_CONFIG || undefined)
  try {
    return loadConfig({ flags: flagsOf(command), environment: env, file })
  } catch (error) {
    throw wrongUsage(messageOf(error))
  }
}

const flagsOf = (command: Command): Record<string, string | undefined> =>
  Object.fromEntries([...options].map(([name, option]) => [name, command.getOptionValue(option.attributeName())]))

function optionOf(name: SettingName): Option {
  const row: { default: string | number; about: string; env?: string; secret?: true } = settings[name]
  const usually = row.default === '' ? '' : `default ${row.default}, `
  const warning = row.secret ? ' Everybody on this machine sees flags: better set the variable.' : ''
  return new Option(`--${name} <value>`, `${row.about}${warning} (${usually}${row.env ?? envName(name)})`)
}
