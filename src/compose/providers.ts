/** Who answers calls: providers on the network, the embedded model in its child process, the fake one for tests. */
import { apiError } from '#contract/errors.ts'
import { createInference, type Inference } from '#inference/inference.ts'
import type { Provider } from '#providers/contract.ts'
import { startFakeUpstream } from '#providers/fake/upstream.ts'
import { onSocket } from '#providers/on-socket.ts'
import { openAiCompatible } from '#providers/openai-compatible.ts'
import type { DataDirectory } from '#storage/data-directory.ts'
import type { Base } from './base.ts'
import type { Storage } from './storage.ts'

const modelStopMs = 3_000

export function createEmbeddedModel({ config, log, closing, seat }: Base, directory: DataDirectory): Inference {
  const inference = createInference({
    directory: directory.paths.models,
    socketPath: directory.paths.modelSocket,
    threads: config.values['local-model-threads'],
    queueMax: config.values['local-model-queue-max'],
    log,
    ...(seat && { process: seat.modelProcess }),
  })
  closing.add('embedded model', () => inference.stop({ deadlineMs: modelStopMs }))
  return inference
}

export async function openProviders(
  { closing }: Base,
  { directory }: Storage,
  inference: Inference,
): Promise<Provider[]> {
  const { fakeSocket } = directory.paths
  const fake = await startFakeUpstream({ socketPath: fakeSocket, recordsMax: 0 })
  closing.add('fake provider', () => fake.stop())
  return [
    openAiCompatible,
    onSocket({ adapter: 'fake', socketPath: fakeSocket }),
    onSocket({
      adapter: 'local',
      socketPath: inference.socketPath,
      prepare: ({ upstreamModel }) => prepareLocalModel(inference, upstreamModel),
    }),
  ]
}

const loadingRetryMs = 5_000

async function prepareLocalModel(inference: Inference, model: string): Promise<void> {
  const { status, percent = 0, reason = '' } = inference.state(model)
  if (status === 'downloading') throw apiError('model_loading', { model, percent }, { retryAfterMs: loadingRetryMs })
  if (status === 'absent') {
    throw apiError('model_unavailable', {
      model,
      reason: `it has not been fetched. Run \`keyhouse models pull ${model}\`.`,
    })
  }
  if (status === 'failed') throw apiError('model_unavailable', { model, reason })
  await inference.ensureRunning().catch(cause => {
    const reason = 'its process does not start. The log says why; `keyhouse doctor` checks it.'
    throw apiError('model_unavailable', { model, reason }, { cause })
  })
}
