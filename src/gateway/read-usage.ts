/**
 * What a provider says that a call used, in the many shapes in which OpenAI-compatible ones say it. All of them count the
 * same things; they differ in names, and in whether a part is inside its whole or beside it.
 */
import type { ServiceTier, Usage } from '#core/usage.ts'

type Members = { readonly [member: string]: unknown }

/**
 * @param value the `usage` object of an answer
 * @param answers whether there is output: embeddings have none, whatever is said of it
 * @returns undefined when any number that costs cannot be believed
 */
export function readUsage(value: unknown, answers: boolean): Usage | undefined {
  const usage = object(value)
  if (!usage) return undefined
  const stated = count(usage.prompt_tokens ?? usage.input_tokens)
  if (stated === undefined) return undefined
  const inputTokens = stated + cachedBeside(usage, stated)
  const output = answers ? readOutput(usage, inputTokens) : noOutput
  if (output === undefined) return undefined
  return { ...readInput(usage, inputTokens), ...output, ...readToolCalls(usage) }
}

// Input ---------------------------------------------------------------------------------------------------------------------

/**
 * Anthropic counts what it read from its cache and wrote there beside the input, and some who translate for it still do.
 * OpenAI's own `input_tokens` comes with details, and includes all.
 */
function cachedBeside(usage: Members, stated: number): number {
  const cached = (count(usage.cache_creation_input_tokens) ?? 0) + (count(usage.cache_read_input_tokens) ?? 0)
  if (cached === 0) return 0
  const isAnthropics = usage.prompt_tokens === undefined && usage.input_tokens_details === undefined
  const output = count(usage.completion_tokens ?? usage.output_tokens) ?? 0
  return isAnthropics || cached > stated || count(usage.total_tokens) === stated + cached + output ? cached : 0
}

function readInput(usage: Members, inputTokens: number) {
  const details = object(usage.prompt_tokens_details ?? usage.input_tokens_details ?? usage.input_token_details) ?? {}
  const cached = firstCount(
    details.cached_tokens,
    usage.cache_read_input_tokens,
    // DeepSeek, Moonshot, Mistral, xAI
    usage.prompt_cache_hit_tokens,
    usage.cached_tokens,
    usage.num_cached_tokens,
    usage.cached_prompt_text_tokens,
  )
  const cachedDetails = object(details.cached_tokens_details) ?? {}
  const written = firstCount(
    details.cache_write_tokens,
    usage.cache_creation_input_tokens,
    details.cache_creation_tokens,
  )
  return {
    inputTokens,
    cachedInputTokens: Math.min(cached ?? 0, inputTokens),
    cacheWriteTokens: written,
    cacheWrite1hTokens: count(object(usage.cache_creation)?.ephemeral_1h_input_tokens),
    audioInputTokens: count(details.audio_tokens),
    imageInputTokens: count(details.image_tokens),
    cachedAudioInputTokens: count(cachedDetails.audio_tokens),
    cachedImageInputTokens: count(cachedDetails.image_tokens),
  }
}

// Output --------------------------------------------------------------------------------------------------------------------

type Output = Pick<Usage, 'outputTokens' | 'reasoningTokens' | 'audioOutputTokens' | 'imageOutputTokens'>

const noOutput: Output = { outputTokens: 0, reasoningTokens: 0 }

function readOutput(usage: Members, inputTokens: number): Output | undefined {
  const ofTotal = count((count(usage.total_tokens) ?? Number.NaN) - inputTokens)
  const named = usage.completion_tokens ?? usage.output_tokens ?? ofTotal
  const stated = count(named)
  if (stated === undefined) return undefined
  const outputTokens = Math.max(stated + searchedBeside(usage), ofTotal ?? 0)
  const details =
    object(usage.completion_tokens_details ?? usage.output_tokens_details ?? usage.output_token_details) ?? {}
  const reasoning = firstCount(details.reasoning_tokens, details.thinking_tokens, usage.reasoning_tokens)
  return {
    outputTokens,
    // Gemini and xAI leave what a model thought out of the output that they state, and charge for it: the total has it
    reasoningTokens: Math.min(reasoning ?? outputTokens - stated, outputTokens),
    audioOutputTokens: count(details.audio_tokens),
    imageOutputTokens: count(details.image_tokens),
  }
}

/** Perplexity charges for what it thought and cited beside the output, and leaves both out of the total. */
function searchedBeside(usage: Members): number {
  if (usage.citation_tokens === undefined && usage.num_search_queries === undefined) return 0
  return (count(usage.reasoning_tokens) ?? 0) + (count(usage.citation_tokens) ?? 0)
}

// Tools, and how it was served ----------------------------------------------------------------------------------------------

function readToolCalls(usage: Members): Pick<Usage, 'webSearchCalls'> {
  const byServer = object(usage.server_tool_use ?? usage.server_tool_use_details) ?? {}
  const byTools = object(usage.server_side_tool_usage_details) ?? {}
  // Anthropic and OpenRouter; xAI; Perplexity
  const searches = firstCount(byServer.web_search_requests, byTools.web_search_calls, usage.num_search_queries)
  return { webSearchCalls: searches }
}

const tierNames: Readonly<Record<string, ServiceTier>> = {
  flex: 'flex',
  batch: 'batch',
  priority: 'priority',
  // Other names of it, and what is dearer still and has no price of its own here
  fast: 'priority',
  ultrafast: 'priority',
}

/** What the provider says it served the call as; what we know nothing of is the default. */
export function readServiceTier(stated: unknown, usage: unknown): ServiceTier {
  const name = stated ?? object(usage)?.service_tier
  return (typeof name === 'string' && Object.hasOwn(tierNames, name) && tierNames[name]) || 'default'
}

// Numbers -------------------------------------------------------------------------------------------------------------------

const object = (value: unknown): Members | undefined =>
  // An object has members of unknown types, which is what this says
  typeof value === 'object' && value !== null ? (value as Members) : undefined

/** More than any model reads or writes in a call; as in the catalogue. A number without its sign says 2,147,483,647. */
const countMax = 100_000_000

const count = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= countMax ? value : undefined

/** Of several names for one thing, the first that has something to say; a zero may stand beside the one that counts. */
function firstCount(...values: readonly unknown[]): number | undefined {
  const counts = values.map(count).filter(found => found !== undefined)
  return counts.find(found => found > 0) ?? counts[0]
}
