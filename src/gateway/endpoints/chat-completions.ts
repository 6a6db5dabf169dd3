/** POST /v1/chat/completions */
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

export const chatCompletions: CallEndpoint = {
  id: 'chat.completions',
  scope: 'model.request.chat_completions',
  upstream: '/chat/completions',
  kinds: ['chat'],
  otherKinds: 'Use /v1/embeddings for embedding models and /v1/completions for completion models.',
  answers: true,
  read(body, pathModel) {
    const model = readModel(body, pathModel)
    checkMessages(body)
    const old = readOutputTokens(body, 'max_tokens')
    const current = readOutputTokens(body, 'max_completion_tokens')
    if (old !== null && current !== null && old !== current) {
      throw invalid('max_tokens', "Set either 'max_tokens' or 'max_completion_tokens', not both.")
    }
    return {
      model,
      ...readStream(body),
      choices: readCandidates(body),
      outputTokens: current ?? old,
      outputMember: current === null ? 'max_tokens' : 'max_completion_tokens',
      serviceTier: readServiceTier(body),
      predictedBytes: predictedBytes(body),
      attachments: countAttachments(body),
    }
  },
}

function checkMessages({ messages }: JsonObject): void {
  if (messages === undefined) throw apiError('missing_parameter', { param: 'messages' })
  if (!Array.isArray(messages)) throw wrongType('messages', 'an array of objects', messages)
  if (messages.length === 0) {
    throw invalid(
      'messages',
      "Invalid 'messages': empty array. Expected an array with minimum length 1.",
      'empty_array',
    )
  }
  for (const [index, message] of messages.entries()) {
    const param = `messages[${index}]`
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      throw wrongType(param, 'an object', message)
    }
    if (typeof message.role !== 'string') {
      if (message.role === undefined) throw apiError('missing_parameter', { param: `${param}.role` })
      throw wrongType(`${param}.role`, 'a string', message.role)
    }
  }
}

const predictedBytes = ({ prediction = null }: JsonObject): number =>
  prediction === null ? 0 : Buffer.byteLength(JSON.stringify(prediction))

/** Text is as long as its bytes, and sound too; an image or a file may be a link of a few. */
const asLongAsItsBytes: readonly unknown[] = ['text', 'refusal', 'input_audio']

function countAttachments({ messages }: JsonObject): number {
  let attachments = 0
  // Checked above to be a list of objects
  for (const { content, audio } of messages as readonly JsonObject[]) {
    // Names a sound of an earlier answer, which the provider has kept
    if (audio instanceof Object) attachments += 1
    if (!Array.isArray(content)) continue
    for (const part of content) if (!asLongAsItsBytes.includes(part?.type)) attachments += 1
  }
  return attachments
}
