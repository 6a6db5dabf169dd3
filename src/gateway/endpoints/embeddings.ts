/** POST /v1/embeddings */
import { apiError } from '#contract/errors.ts'
import { type CallEndpoint, invalid, type JsonObject, readModel, readServiceTier, wrongType } from './ask.ts'

const inputsMax = 2048

export const embeddings: CallEndpoint = {
  id: 'embeddings',
  scope: 'model.request.embeddings',
  upstream: '/embeddings',
  kinds: ['embedding'],
  otherKinds: 'Use /v1/chat/completions for chat models.',
  answers: false,
  read(body, pathModel) {
    const model = readModel(body, pathModel)
    checkInput(body)
    return {
      model,
      stream: false,
      includeUsage: false,
      choices: 1,
      outputTokens: 0,
      outputMember: 'max_tokens',
      // Without a word of it there is none to choose: the endpoint has no tiers of its own
      serviceTier: body.service_tier === undefined ? 'default' : readServiceTier(body),
    }
  },
}

function checkInput({ input }: JsonObject): void {
  if (input === undefined || input === null) throw apiError('missing_parameter', { param: 'input' })
  if (typeof input === 'string') {
    if (input === '') throw invalid('input', "Invalid 'input': it must not be an empty string.")
    return
  }
  if (!Array.isArray(input)) throw wrongType('input', 'a string or an array', input)
  if (input.length === 0) throw invalid('input', "Invalid 'input': empty array.", 'empty_array')
  if (typeof input[0] !== 'number' && input.length > inputsMax) {
    throw invalid('input', `Invalid 'input': at most ${inputsMax} inputs a request.`)
  }
}
