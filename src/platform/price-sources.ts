/** Where a price comes from, as its row says. A price row outlives its model, and so tells what was offered before. */

/** Set by hand: nothing else ever replaces it. */
export const operatorSource = 'operator'
/** From the bundled table of well-known providers. */
export const knownPriceSource = 'genai-prices'
/** The operator said of a provider that it costs nothing. */
export const freeSource = 'free'
/** The nominal price of what comes with Keyhouse. */
export const builtinSource = 'builtin'

/** Meant for who costs nothing: at any other provider the model would be free, or nearly, by accident. */
export const isNominal = (source: string): boolean => source === freeSource || source === builtinSource
