/** POST /v1/completions, and POST /v1/engines/{engine}/completions, which names the model in its path. */
import { apiError } from '#contract/errors.ts'
import {
  type CallEndpoint,
  invalid,
  type JsonObject,
  readCandidates,
  readModel,
  readOutputTokens,
  readServiceTier,
  readStream,
  wrongType,
} from './ask.ts'

const promptsMax = 2048
/** What the API has always used when max_tokens is not set. */
const outputTokensDefault = 16

export const completions: CallEndpoint = {
  id: 'completions',
  scope: 'model.request.completions',
  upstream: '/completions',
  kinds: ['completion', 'chat'],
  otherKinds: 'Use /v1/embeddings for embedding models.',
  answers: true,
  read(body, pathModel) {
    const model = readModel(body, pathModel)
    return {
      model,
      ...readStream(body),
      choices: readCandidates(body) * countPrompts(body),
      outputTokens: readOutputTokens(body, 'max_tokens', 0) ?? outputTokensDefault,
      outputMember: 'max_tokens',
      serviceTier: readServiceTier(body),
    }
  },
}

/** One prompt is a string or an array of tokens; an array of strings or of token arrays is as many prompts. */
function countPrompts({ prompt }: JsonObject): number {
  if (prompt === undefined || prompt === null) throw apiError('missing_parameter', { param: 'prompt' })
  if (typeof prompt === 'string') return 1
  if (!Array.isArray(prompt)) throw wrongType('prompt', 'a string or an array', prompt)
  if (prompt.length === 0) throw invalid('prompt', "Invalid 'prompt': empty array.", 'empty_array')
  if (typeof prompt[0] === 'number') return 1
  if (prompt.length > promptsMax) throw invalid('prompt', `Invalid 'prompt': at most ${promptsMax} prompts a request.`)
  return prompt.length
}
