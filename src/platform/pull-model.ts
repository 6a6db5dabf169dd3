/** Fetches the weights of a local model and tells how far it is. The pull belongs to the server, not to who asked for it. */
import { PassThrough, type Readable } from 'node:stream'
import { apiError } from '#contract/errors.ts'
import type { models } from '#contract/models.ts'
import { addRoute, upsertModel } from '#storage/models.ts'
import { findProvider } from '#storage/providers.ts'
import { changeCatalogue } from './catalogue-change.ts'
import { noSuchModel } from './existing-model.ts'
import type { Call } from './handler.ts'
import { kindOf, localProvider, type PullProgress } from './local-models.ts'
import type { PlatformParts } from './platform.ts'

type PullCall = Call<typeof models.pull>
type PullBody = NonNullable<PullCall['body']>
type Source = { readonly from?: string; readonly sha256?: string }

/** Lines come at most this often, but for the first of a part and the last. */
const lineEveryMs = 250

export async function pullModel(parts: PlatformParts, call: PullCall): Promise<Readable> {
  const { name } = call.params
  const source = sourceOf(call.body ?? {})
  const known = (await parts.localModels.list()).some(model => model.name === name)
  if (!known && source.from === undefined) throw noSuchModel(name)
  const lines = new PassThrough()
  // Whoever listened may leave; writing on into a closed stream is no error of the pull
  lines.on('error', () => lines.destroy())
  const say = (line: object): void => {
    if (!lines.destroyed && !lines.writableNeedDrain) lines.write(`${JSON.stringify(line)}\n`)
  }
  runPull(parts, call, { ...source, onProgress: progressLines(say) }).then(
    () => finish(lines, { status: 'ready' }),
    error => {
      parts.log.warn({ model: name, err: error }, 'a local model could not be pulled')
      finish(lines, { status: 'failed', reason: error instanceof Error ? error.message : String(error) })
    },
  )
  return lines
}

function finish(lines: PassThrough, line: object): void {
  if (!lines.destroyed) lines.end(`${JSON.stringify(line)}\n`)
}

function sourceOf({ from_url: url, from_file: file, sha256 }: PullBody): Source {
  if (url !== undefined && file !== undefined) {
    throw apiError('invalid_parameter', { param: 'from_file', message: "Send 'from_url' or 'from_file', not both." })
  }
  const from = url ?? file
  if (from === undefined) return {}
  // Weights from anywhere but the catalog's own places are pinned by whoever brings them
  if (sha256 === undefined) throw apiError('missing_parameter', { param: 'sha256' })
  return { from, sha256 }
}

async function runPull(
  parts: PlatformParts,
  call: PullCall,
  request: Source & { onProgress: (progress: PullProgress) => void },
): Promise<void> {
  await parts.localModels.pull(call.params.name, request)
  await offerModel(parts, call)
}

/** A model that is here can be called: it gets its row and its route, but no price that nobody has set. */
async function offerModel(parts: PlatformParts, call: PullCall): Promise<void> {
  const { name } = call.params
  const card = (await parts.localModels.list()).find(model => model.name === name)
  if (!card) throw new Error(`the model ${name} was pulled, but is not there`)
  await changeCatalogue(parts, call, async tx => {
    const provider = await findProvider(tx, localProvider)
    if (!provider) throw new Error('the built-in provider of local models is missing')
    await upsertModel(tx, {
      name,
      kind: kindOf(card),
      ownedBy: 'keyhouse',
      contextTokensMax: card.contextTokensMax,
      outputTokensMax: card.outputTokensMax || undefined,
    })
    await addRoute(tx, name, { providerId: provider.id, upstreamModel: name })
    return { answer: undefined, requested: { local_model: { name, pulled: true } } }
  })
}

function progressLines(say: (line: object) => void): (progress: PullProgress) => void {
  let part = ''
  let saidAtMs = 0
  return progress => {
    const nowMs = performance.now()
    if (progress.part === part && nowMs - saidAtMs < lineEveryMs) return
    part = progress.part
    saidAtMs = nowMs
    const { bytesDone, bytesTotal } = progress
    const percent = bytesTotal ? Math.min(100, Math.floor((100 * bytesDone) / bytesTotal)) : 0
    say({ status: 'downloading', part, bytes_done: bytesDone, bytes_total: bytesTotal, percent })
  }
}
