/** What can be set on a key, as options; the same wherever a key is made or changed. */
import type { Command } from 'commander'
import { parseDuration } from './amounts.ts'
import { wrongUsage } from './exit.ts'

export type KeyOptions = {
  scopes?: string
  restricted?: true
  readOnly?: true
  cidr?: string[]
  origin?: string[]
  model?: string[]
  rotateEvery?: string
  expires?: string
}

export const addKeyOptions = (command: Command): Command =>
  addListOptions(command)
    .option('--model <name>', 'only with this model; may be given often, "none" for all of the project', gather)
    .option('--scopes <a,b>', 'only these permissions, as in model.request,api.model.read')
    .option('--restricted', 'say that it is --scopes and not all: an error without them')
    .option('--read-only', 'may read everything and change nothing')
    .option('--rotate-every <duration>', 'reminds when it is due, in whole days, as in 90d')
    .option('--expires <duration>', 'refused after that time, as in 30d or 12h')

export const addListOptions = (command: Command): Command =>
  command
    .option('--cidr <block>', 'only from this address or block; may be given often, "none" for everywhere', gather)
    .option('--origin <host>', 'only for pages of this host, or \'*.host\'; may be given often, "none" for all', gather)

export const gather = (text: string, before: string[] = []): string[] => [...before, ...words(text)]
const words = (text: string): string[] => text.split(',').map(word => word.trim())

const secondsInDay = 86_400

/** The members of the request; what was not given is undefined and left out. */
export function keyBody(options: KeyOptions) {
  const { scopes, restricted, readOnly, rotateEvery, expires } = options
  if (scopes !== undefined && readOnly) throw wrongUsage('Give either --scopes or --read-only.')
  if (restricted && (scopes === undefined || readOnly))
    throw wrongUsage('--restricted goes with --scopes: at least one of what the key may do.')
  return {
    scopes: readOnly ? ['api.all.read'] : scopes === undefined ? undefined : words(scopes),
    permissions: restricted ? 'restricted' : undefined,
    ...listBody(options),
    allowed_models: options.model && listed(options.model),
    rotate_every_days: rotateEvery === undefined ? undefined : daysIn(rotateEvery),
    expires_in_seconds: expires === undefined ? undefined : parseDuration(expires),
  }
}

export const listBody = ({ cidr, origin }: Pick<KeyOptions, 'cidr' | 'origin'>) => ({
  allowed_cidrs: cidr && listed(cidr),
  allowed_origins: origin && listed(origin),
})

const listed = (entries: readonly string[]): readonly string[] => (entries.join() === 'none' ? [] : entries)

function daysIn(text: string): number | null {
  if (text === 'never') return null
  const days = parseDuration(text) / secondsInDay
  if (Number.isInteger(days)) return days
  throw wrongUsage(`--rotate-every takes whole days, as in 90d, or "never"; got '${text}'.`)
}
