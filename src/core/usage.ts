/**
 * What one call used, as its provider counted it, and how a row of `usage_events` keeps it: the same both ways, so that
 * what was charged can be computed again from the row alone.
 */

/** `cached` is part of `input`, `reasoning` is part of `output`. */
export type TokenUsage = {
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
}

/** How a call was served, as far as prices differ. */
export const serviceTiers = ['default', 'flex', 'batch', 'priority'] as const
export type ServiceTier = (typeof serviceTiers)[number]

/** All parts of input or output, but for the calls of tools. Left out: none, and the default tier. */
export type Usage = TokenUsage & {
  readonly cacheWriteTokens?: number | undefined
  /** Of the cache writes, those that are kept for an hour. */
  readonly cacheWrite1hTokens?: number | undefined
  readonly audioInputTokens?: number | undefined
  /** Of the cached input. */
  readonly cachedAudioInputTokens?: number | undefined
  readonly imageInputTokens?: number | undefined
  /** Of the cached input. */
  readonly cachedImageInputTokens?: number | undefined
  readonly audioOutputTokens?: number | undefined
  readonly imageOutputTokens?: number | undefined
  readonly webSearchCalls?: number | undefined
  readonly fileSearchCalls?: number | undefined
  readonly codeInterpreterCalls?: number | undefined
  readonly serviceTier?: ServiceTier | undefined
}

/** Columns of `usage_events` beside the four that every row has; null is none, and for the tier the default. */
export type UsageColumns = {
  readonly cache_write_tokens: number | null
  readonly cache_write_1h_tokens: number | null
  readonly audio_input_tokens: number | null
  readonly cached_audio_input_tokens: number | null
  readonly image_input_tokens: number | null
  readonly cached_image_input_tokens: number | null
  readonly audio_output_tokens: number | null
  readonly image_output_tokens: number | null
  readonly tool_calls: ToolCalls | null
  readonly service_tier: string | null
}

type ToolCalls = {
  readonly web_search?: number
  readonly file_search?: number
  readonly code_interpreter?: number
}

export const usageColumns = (usage: Usage): UsageColumns => ({
  cache_write_tokens: usage.cacheWriteTokens || null,
  cache_write_1h_tokens: usage.cacheWrite1hTokens || null,
  audio_input_tokens: usage.audioInputTokens || null,
  cached_audio_input_tokens: usage.cachedAudioInputTokens || null,
  image_input_tokens: usage.imageInputTokens || null,
  cached_image_input_tokens: usage.cachedImageInputTokens || null,
  audio_output_tokens: usage.audioOutputTokens || null,
  image_output_tokens: usage.imageOutputTokens || null,
  tool_calls: toolCalls(usage),
  service_tier: usage.serviceTier === 'default' ? null : (usage.serviceTier ?? null),
})

/** The columns that are not null: of most calls none, and what is not said need not be written down, read and stored. */
export function usageMembers(usage: Usage): Partial<UsageColumns> {
  if (isPlain(usage)) return none
  return Object.fromEntries(Object.entries(usageColumns(usage)).filter(([, value]) => value !== null))
}

const none: Partial<UsageColumns> = {}

const isPlain = (usage: Usage): boolean =>
  (usage.serviceTier ?? 'default') === 'default' && !extras.some(name => (usage[name] ?? 0) > 0)

const extras = [
  'cacheWriteTokens',
  'cacheWrite1hTokens',
  'audioInputTokens',
  'cachedAudioInputTokens',
  'imageInputTokens',
  'cachedImageInputTokens',
  'audioOutputTokens',
  'imageOutputTokens',
  'webSearchCalls',
  'fileSearchCalls',
  'codeInterpreterCalls',
] as const satisfies readonly (keyof Usage)[]

function toolCalls({ webSearchCalls, fileSearchCalls, codeInterpreterCalls }: Usage): ToolCalls | null {
  const calls: ToolCalls = {
    ...(webSearchCalls && { web_search: webSearchCalls }),
    ...(fileSearchCalls && { file_search: fileSearchCalls }),
    ...(codeInterpreterCalls && { code_interpreter: codeInterpreterCalls }),
  }
  return Object.keys(calls).length > 0 ? calls : null
}

export type UsageRow = UsageColumns & {
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
}

export const usageFromColumns = (row: UsageRow): Usage => ({
  inputTokens: row.input_tokens,
  cachedInputTokens: row.cached_input_tokens,
  outputTokens: row.output_tokens,
  reasoningTokens: row.reasoning_tokens,
  cacheWriteTokens: row.cache_write_tokens ?? undefined,
  cacheWrite1hTokens: row.cache_write_1h_tokens ?? undefined,
  audioInputTokens: row.audio_input_tokens ?? undefined,
  cachedAudioInputTokens: row.cached_audio_input_tokens ?? undefined,
  imageInputTokens: row.image_input_tokens ?? undefined,
  cachedImageInputTokens: row.cached_image_input_tokens ?? undefined,
  audioOutputTokens: row.audio_output_tokens ?? undefined,
  imageOutputTokens: row.image_output_tokens ?? undefined,
  webSearchCalls: row.tool_calls?.web_search,
  fileSearchCalls: row.tool_calls?.file_search,
  codeInterpreterCalls: row.tool_calls?.code_interpreter,
  serviceTier: serviceTiers.find(tier => tier === row.service_tier),
})
