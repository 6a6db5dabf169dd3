/** The rarer parts of a price on the command line: other kinds of tokens, calls, long contexts, service tiers. */
import { type Command, Option } from 'commander'
import { messageOf, wrongUsage } from './exit.ts'
import { checkUsd } from './price-options.ts'

/** Option, member of the body, and what it is. */
const rates = [
  ['cache-write', 'cache_write', 'tokens that are written to the cache'],
  ['cache-write-1h', 'cache_write_1h', 'those that stay there for an hour'],
  ['reasoning', 'reasoning', 'reasoning tokens; as --output when not given'],
  ['audio-input', 'audio_input', 'audio tokens in'],
  ['cached-audio-input', 'cached_audio_input', 'cached audio tokens in'],
  ['audio-output', 'audio_output', 'audio tokens out'],
  ['image-input', 'image_input', 'image tokens in'],
  ['cached-image-input', 'cached_image_input', 'cached image tokens in'],
  ['image-output', 'image_output', 'image tokens out'],
] as const
const calls = [
  ['web-search', 'web_search', 'a web search'],
  ['file-search', 'file_search', 'a file search'],
  ['code-interpreter', 'code_interpreter', 'a session of the code interpreter'],
  ['request', 'request', 'each request, whatever it uses'],
] as const
const tiers = ['flex', 'batch', 'priority'] as const

export type DetailsOptions = { readonly [option: string]: string | string[] | undefined; above?: string[] }

export function addDetailsOptions(command: Command): Command {
  for (const [option, , about] of rates) command.option(`--${option} <usd>`, `dollars per million ${about}`)
  for (const [option, , about] of calls) command.option(`--${option} <usd>`, `dollars for ${about}`)
  for (const tier of tiers) command.option(`--${tier} <percent>`, `what tokens cost in the ${tier} tier, in percent`)
  const above = new Option(
    '--above <tokens:rates>',
    'dearer for long inputs, as in --above 272000:input=4,cached-input=0.4,output=15; may be given again',
  )
  return command.addOption(above.argParser((text: string, before: string[] = []) => [...before, text]))
}

/** The members of the body that were given. */
export function readDetailsOptions(options: DetailsOptions): object {
  return {
    ...group('rates', pick(options, rates, checkUsd)),
    ...group('calls', pick(options, calls, checkUsd)),
    ...group(
      'service_tier_percents',
      pick(
        options,
        tiers.map(tier => [tier, tier] as const),
        checkPercent,
      ),
    ),
    ...(options.above && { long_context: options.above.map(readTier) }),
  }
}

type Row = readonly [option: string, member: string, about?: string]

function pick(options: DetailsOptions, rows: readonly Row[], check: (text: string) => string): Record<string, string> {
  const given = rows.flatMap(([option, member]) => {
    const text = options[camel(option)]
    return typeof text === 'string' ? [[member, check(text)] as const] : []
  })
  return Object.fromEntries(given)
}

const group = (name: string, members: Record<string, string>): object =>
  Object.keys(members).length > 0 ? { [name]: members } : {}

const camel = (option: string): string => option.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())

export function checkPercent(text: string): string {
  const percent = text.replace(/%$/, '')
  if (/^\d{1,5}(\.\d{1,2})?$/.test(percent)) return percent
  throw wrongUsage(`'${text}' is not a percentage such as 50 or 12.5 (at most two decimals).`)
}

const tierRates = new Map<string, string>([
  ['input', 'input'],
  ['cached-input', 'cached_input'],
  ['output', 'output'],
  ...rates.map(([option, member]) => [option, member] as const),
])

function readTier(text: string): object {
  const [, tokens = '', list = ''] = /^(\d{1,9}):(.+)$/.exec(text) ?? []
  const pairs = list.split(',').map(pair => /^([a-z0-9-]+)=(.+)$/.exec(pair))
  if (tokens === '' || pairs.includes(null)) {
    throw wrongUsage(`--above ${text} is not understood. Write it as in --above 272000:input=4,output=15.`)
  }
  try {
    return { above_input_tokens: Number(tokens), rates: Object.fromEntries(pairs.map(readPair)) }
  } catch (error) {
    throw wrongUsage(`--above ${text}: ${messageOf(error)}`)
  }
}

function readPair(pair: RegExpExecArray | null): readonly [string, string] {
  const [, option = '', amount = ''] = pair ?? []
  const member = tierRates.get(option)
  if (!member) throw wrongUsage(`There is no rate "${option}"; there are ${[...tierRates.keys()].join(', ')}.`)
  return [member, checkUsd(amount)]
}
