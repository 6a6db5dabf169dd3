/** What a result of each kind of usage is made of: numbers that are counted, and names of what they are of. */
import { usdNumber } from '#core/money.ts'
import type { UsageGroup } from '#storage/usage-pages.ts'
import type { UsageMeasure } from '#storage/usage-queries.ts'

/** A row of the contract's answer, in two halves: what differs from sum to sum, and what a group has in all of them. */
export type ResultOf = {
  readonly object: string
  readonly measures: readonly UsageMeasure[]
  /** Leaves out groups that have none of this. */
  readonly having?: UsageMeasure
  /** Of the measures in their order. The same members in the same order each time. */
  numbers(counts: readonly number[]): Readonly<Record<string, number>>
  /** What stands around a number that is deeper in the result than its name. */
  readonly around?: Readonly<Record<string, readonly [before: string, after: string]>>
  names(group: UsageGroup): Readonly<Record<string, string | boolean | null>>
}

type Counts<Measures extends readonly UsageMeasure[]> = { readonly [Index in keyof Measures]: number }

const result = <const Measures extends readonly UsageMeasure[]>(
  row: Omit<ResultOf, 'measures' | 'numbers'> & {
    readonly measures: Measures
    numbers(counts: Counts<Measures>): Readonly<Record<string, number>>
  },
): ResultOf =>
  // Whoever counts does so measure by measure: there are as many numbers
  row as unknown as ResultOf

export const completionsResult = result({
  object: 'organization.usage.completions.result',
  measures: [
    'requests',
    'input_tokens',
    'cached_input_tokens',
    'cache_write_tokens',
    'audio_input_tokens',
    'cached_audio_input_tokens',
    'image_input_tokens',
    'cached_image_input_tokens',
    'output_tokens',
    'audio_output_tokens',
    'image_output_tokens',
  ],
  /** What OpenAI calls input of a kind is that part of it which was neither read from a cache nor written to one. */
  numbers([
    requests,
    input,
    cached,
    written,
    anyAudio,
    cachedAudio,
    anyImage,
    cachedImage,
    output,
    audioOut,
    imageOut,
  ]) {
    const [audio, image] = [anyAudio - cachedAudio, anyImage - cachedImage]
    return {
      input_tokens: input,
      input_cached_tokens: cached,
      input_uncached_tokens: rest(input - cached - written),
      input_cache_write_tokens: written,
      input_text_tokens: rest(input - cached - written - audio - image),
      input_cached_text_tokens: rest(cached - cachedAudio - cachedImage),
      input_audio_tokens: rest(audio),
      input_cached_audio_tokens: cachedAudio,
      input_image_tokens: rest(image),
      input_cached_image_tokens: cachedImage,
      output_tokens: output,
      output_text_tokens: rest(output - audioOut - imageOut),
      output_audio_tokens: audioOut,
      output_image_tokens: imageOut,
      num_model_requests: requests,
    }
  },
  names: group => ({ ...whoAndModel(group), batch: group.batch, service_tier: group.service_tier }),
})

/** Providers that count the parts loosely are no reason to show less than nothing. */
const rest = (left: number): number => Math.max(0, left)

export const embeddingsResult = result({
  object: 'organization.usage.embeddings.result',
  measures: ['requests', 'input_tokens'],
  numbers: ([requests, input]) => ({ input_tokens: input, num_model_requests: requests }),
  names: group => whoAndModel(group),
})

export const codeInterpreterResult = result({
  object: 'organization.usage.code_interpreter_sessions.result',
  measures: ['code_interpreter_calls'],
  having: 'code_interpreter_calls',
  numbers: ([sessions]) => ({ num_sessions: sessions }),
  names: ({ project_id }) => ({ project_id }),
})

export const fileSearchResult = result({
  object: 'organization.usage.file_searches.result',
  measures: ['file_search_calls'],
  having: 'file_search_calls',
  numbers: ([searches]) => ({ num_requests: searches }),
  names: group => ({ ...who(group), vector_store_id: null }),
})

export const webSearchResult = result({
  object: 'organization.usage.web_searches.result',
  measures: ['web_search_calls', 'web_search_requests'],
  having: 'web_search_calls',
  numbers: ([searches, requests]) => ({ num_requests: searches, num_model_requests: requests }),
  names: group => ({ ...whoAndModel(group), context_level: null }),
})

/** How much of a line item was used is only said of a line item. */
export const costsResult = ({ byLineItem }: { readonly byLineItem: boolean }): ResultOf =>
  result({
    object: 'organization.costs.result',
    measures: ['charged_nano_usd', 'input_tokens', 'output_tokens'],
    numbers: ([charged, input, output]) => ({
      amount: usdNumber(charged),
      ...(byLineItem && { quantity: input + output }),
    }),
    around: { amount: ['{"value":', ',"currency":"usd"}'] },
    names: group => ({
      line_item: group.model,
      ...who(group),
      ...(byLineItem ? {} : { quantity: null }),
      quantity_unit: byLineItem ? 'tokens' : null,
    }),
  })

const who = ({ project_id, user_id, api_key_id }: UsageGroup) => ({ project_id, user_id, api_key_id })
const whoAndModel = (group: UsageGroup) => ({ ...who(group), model: group.model })
