/** Prices on the command line: dollars per million tokens, kept as the text that was typed, so that no float touches them. */
import type { Command } from 'commander'
import { parseUsd } from '#core/money.ts'
import { messageOf, wrongUsage } from './exit.ts'

export type PriceOptions = { input?: string; cachedInput?: string; output?: string }

export type PriceBody = {
  input_usd_per_million: string
  output_usd_per_million: string
  cached_input_usd_per_million?: string
}

export const addPriceOptions = (command: Command): Command =>
  command
    .option('--input <usd>', 'dollars per million input tokens')
    .option('--output <usd>', 'dollars per million output tokens (0 for embeddings)')
    .option('--cached-input <usd>', 'dollars per million cached input tokens; as --input when not given')

/** Undefined when no price was given at all. */
export function readPrice({ input, output, cachedInput }: PriceOptions): PriceBody | undefined {
  if (input === undefined && output === undefined && cachedInput === undefined) return undefined
  if (input === undefined || output === undefined) throw wrongUsage('A price needs both sides, in and out.')
  return {
    input_usd_per_million: checkUsd(input),
    output_usd_per_million: checkUsd(output),
    ...(cachedInput !== undefined && { cached_input_usd_per_million: checkUsd(cachedInput) }),
  }
}

/** @throws CliError for anything but a plain amount such as 50, 12.50 or $0.000001 */
export function checkUsd(text: string): string {
  const amount = text.replace(/^\$/, '')
  try {
    parseUsd(amount)
    return amount
  } catch (error) {
    throw wrongUsage(`${messageOf(error)}.`)
  }
}
