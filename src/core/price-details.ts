/** A price's details as they travel, in the names and units of the wire or of the database, and as we count with them. */
import { type NanoUsd, nanoUsd } from './money.ts'
import { formatPercent, parsePercent } from './percent.ts'
import type { PriceDetails, Rates } from './price.ts'

type Amounts<Amount> = { readonly [name: string]: Amount | undefined }

/** The shape of `priceDetails` in the contract, for any way to write an amount. */
export type WrittenDetails<Amount> = {
  readonly rates?: Amounts<Amount> | undefined
  readonly calls?: Amounts<Amount> | undefined
  readonly units?: Amounts<Amount> | undefined
  readonly long_context?:
    | readonly { readonly above_input_tokens: number; readonly rates: Amounts<Amount> }[]
    | undefined
  readonly service_tier_percents?: Amounts<string> | undefined
}

/** Undefined where there is nothing beside the three rates. The schema has checked all names. */
export function readDetails<Amount>(
  written: WrittenDetails<Amount>,
  read: (amount: Amount) => NanoUsd,
): PriceDetails | undefined {
  const details = {
    ...present('rates', mapped(written.rates, camel, read)),
    ...present('calls', mapped(written.calls, camel, read)),
    ...present('units', mapped(written.units, camel, read)),
    ...(written.long_context?.length && {
      tiers: written.long_context.map(({ above_input_tokens: aboveInputTokens, rates }) => ({
        aboveInputTokens,
        // The names are those of the schema, which are these in another case
        rates: (mapped(rates, camel, read) ?? {}) as Partial<Rates>,
      })),
    }),
    ...present('serviceTiers', mapped(written.service_tier_percents, camel, parsePercent)),
  }
  return Object.keys(details).length > 0 ? details : undefined
}

export function writeDetails<Amount>(
  details: PriceDetails | undefined,
  write: (amount: NanoUsd) => Amount,
): WrittenDetails<Amount> {
  return {
    ...present('rates', mapped(details?.rates, snake, write)),
    ...present('calls', mapped(details?.calls, snake, write)),
    ...present('units', mapped(details?.units, snake, write)),
    ...(details?.tiers?.length && {
      long_context: details.tiers.map(({ aboveInputTokens, rates }) => ({
        above_input_tokens: aboveInputTokens,
        rates: mapped(rates, snake, write) ?? {},
      })),
    }),
    ...present('service_tier_percents', mapped(details?.serviceTiers, snake, formatPercent)),
  }
}

function mapped<From, To>(
  amounts: { readonly [name: string]: From | undefined } | undefined,
  rename: (name: string) => string,
  convert: (amount: From) => To,
): Record<string, To> | undefined {
  const entries = Object.entries(amounts ?? {}).flatMap(([name, amount]) =>
    amount === undefined ? [] : [[rename(name), convert(amount)] as const],
  )
  return entries.length > 0 ? Object.fromEntries(entries) : undefined
}

const present = <Name extends string, Value>(name: Name, value: Value | undefined): { [Key in Name]?: Value } =>
  // A computed name is widened to any text
  (value === undefined ? {} : { [name]: value }) as { [Key in Name]?: Value }

const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
const snake = (name: string): string => name.replace(/[A-Z]|\d+/g, letter => `_${letter.toLowerCase()}`)

const wholeBasisPoints = 10_000n

/** Every amount with that much on top, rounded up; service tiers are shares of it already. */
export function withMargin(details: PriceDetails | undefined, basisPoints: bigint): PriceDetails | undefined {
  if (!details || basisPoints === 0n) return details
  const raised = writeDetails(details, amount => addMargin(amount, basisPoints))
  return readDetails(raised, amount => amount)
}

export const addMargin = (amount: NanoUsd, basisPoints: bigint): NanoUsd =>
  nanoUsd((amount * (wholeBasisPoints + basisPoints) + wholeBasisPoints - 1n) / wholeBasisPoints)
