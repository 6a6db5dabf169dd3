/** `keyhouse keys create --env .env`: the new key goes into a file and not onto the screen. */
import { askYes } from '../ask.ts'
import type { Client } from '../client.ts'
import { type EnvFile, openEnvFile } from '../env-file.ts'
import { CliError, messageOf } from '../exit.ts'
import { canAsk, note, type Terminal } from '../terminal.ts'

export type EnvOptions = { env?: string; envName?: string; ignore?: true }

/** Undefined where the key is to be shown. Asked before the key is made, so that none is made for a file that is refused. */
export const envFileFor = async ({ env, envName }: EnvOptions, nameDefault: string): Promise<EnvFile | undefined> =>
  env === undefined ? undefined : openEnvFile(env, envName ?? nameDefault)

/** A key that cannot be written down is one that nobody has: it is revoked. @param path where the key lives */
export async function keepInFile(client: Client, file: EnvFile, key: { value: string; path: string }): Promise<void> {
  try {
    await file.write(key.value)
  } catch (error) {
    await client.delete(key.path)
    throw new CliError('failed', `${messageOf(error)}. The new key was revoked again.`, { cause: error })
  }
}

export async function offerToIgnore(file: EnvFile, { ignore }: EnvOptions, terminal: Terminal): Promise<void> {
  if (!file.shouldBeIgnored) return
  const wanted =
    ignore ?? (canAsk(terminal) && (await askYes(terminal, `Git does not ignore ${file.path}. Ignore it?`)))
  if (wanted) await file.ignore()
  else note(terminal, `warning: git does not ignore ${file.path}. Add it to .gitignore, or give --ignore.`)
}
