/**
 * The embedded model as the rest of Keyhouse sees it: a socket to talk to, the state of each model, and the pulls that
 * bring them. Nothing here blocks the start of the server, and nothing is fetched that was not asked for.
 */
import { mkdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { cardOf, catalog, findInCatalog, type ModelCard } from './catalog.ts'
import { hasEngine, listCards, lockFile, readCard } from './model-folder.ts'
import { createModelProcess, type Log, type ModelProcess } from './model-process.ts'
import { sweepLeftovers } from './pull.ts'
import { readPullLock } from './pull-lock.ts'
import { createPulls, type Pulls } from './pulls.ts'

type ModelState = {
  readonly status: 'absent' | 'downloading' | 'ready' | 'failed'
  /** Whole, 0 to 100, while downloading. */
  readonly percent?: number
  /** A sentence for the operator, when failed. */
  readonly reason?: string
}

export type InferenceOptions = {
  /** The data directory's `models/`. */
  readonly directory: string
  /** At most 103 bytes. */
  readonly socketPath: string
  /** Processor threads for one generation; see `threadsDefault`. */
  readonly threads: number
  /** How many calls may wait for one model before more are refused with 503. */
  readonly queueMax: number
  readonly log: Log
  /** The process that runs the models, where several nodes on one machine share one; else one of our own. */
  readonly process?: ModelProcess
}

type ListedModel = ModelCard & { readonly state: ModelState }

export type Inference = {
  readonly socketPath: string
  readonly state: (model: string) => ModelState
  readonly card: (model: string) => ModelCard | null
  readonly list: () => Promise<readonly ListedModel[]>
  /** Resolves when engine and weights are here. Several calls for one model share one pull. */
  readonly pull: Pulls['pull']
  /** Begins to fetch those of `models` that are missing, all of the catalog by default, in the background, and returns. */
  readonly start: (models?: readonly string[]) => Promise<void>
  readonly ensureRunning: () => Promise<void>
  readonly stop: (options: { deadlineMs: number }) => Promise<void>
  /** The child's, while there is one. */
  readonly pid: () => number | null
}

const otherPullLookMs = 500
/** Before each try of a pull that nobody waits for; after the last it is the operator's turn. */
const backgroundPausesMs = [0, 30_000, 2 * 60_000, 10 * 60_000]
/** How long an interrupted pull may wait to be taken up again. */
const leftoversKeptMs = 7 * 24 * 60 * 60 * 1000

export const createInference = (options: InferenceOptions): Inference => {
  const { directory: models, socketPath, log } = options
  const child = options.process ?? createModelProcess({ ...options, models })
  const ready = new Map<string, ModelCard>()
  const stopping = new AbortController()
  const pulls = createPulls(models, model => {
    ready.delete(model)
    log.info({ model }, 'a local model is ready')
  })
  const percentElsewhere = watchOtherProcesses(models)

  /** What is ready stays ready, so a call costs one map look-up. */
  const card = (model: string): ModelCard | null => {
    const known = ready.get(model)
    if (known !== undefined) return known
    const found = hasEngine(models) ? readCard(models, model) : null
    if (found !== null) ready.set(model, found)
    return found
  }

  const state = (model: string): ModelState => {
    const own = pulls.percent(model)
    if (own !== null) return { status: 'downloading', percent: own }
    if (card(model) !== null) return { status: 'ready' }
    const percent = percentElsewhere(model)
    if (percent !== null) return { status: 'downloading', percent }
    const reason = pulls.failure(model)
    return reason === null ? { status: 'absent' } : { status: 'failed', reason }
  }

  const pullInBackground = async (model: string): Promise<void> => {
    log.info({ model }, 'a local model is being fetched; calls to it answer 503 until it is here')
    for (const pauseMs of backgroundPausesMs) {
      try {
        await sleep(pauseMs, undefined, { signal: stopping.signal, ref: false })
        return await pulls.pull(model)
      } catch (error) {
        if (stopping.signal.aborted) return
        log.error({ model, error: String(error) }, 'a local model could not be fetched: see `keyhouse models pull`')
      }
    }
  }

  const start = async (wanted: readonly string[] = catalog.map(({ name }) => name)): Promise<void> => {
    await mkdir(models, { recursive: true })
    await sweepLeftovers(models, leftoversKeptMs)
    for (const model of wanted) if (card(model) === null) void pullInBackground(model)
  }

  const list = async (): Promise<readonly ListedModel[]> => {
    const cards = new Map<string, ModelCard>(catalog.map(row => [row.name, cardOf(row)]))
    for (const found of await listCards(models)) cards.set(found.name, found)
    return [...cards.values()].map(found => ({ ...found, state: state(found.name) }))
  }

  const stop = async ({ deadlineMs }: { deadlineMs: number }): Promise<void> => {
    stopping.abort()
    await Promise.all([child.stop(deadlineMs), pulls.stop()])
  }

  const { ensureRunning, pid } = child
  return { socketPath, state, card, list, pull: pulls.pull, start, ensureRunning, stop, pid }
}

/** How far another process's pull is, as it was half a second ago: looking must not delay the call that asks. */
const watchOtherProcesses = (models: string): ((model: string) => number | null) => {
  const seen = new Map<string, { percent: number | null; lookedAt: number }>()
  const look = async (model: string): Promise<void> => {
    const percent = await readPullLock(lockFile(models, model))
    seen.set(model, { percent, lookedAt: Date.now() })
  }
  return model => {
    const { percent, lookedAt } = seen.get(model) ?? { percent: null, lookedAt: 0 }
    // only names of the catalog, so that names which callers invent fill no memory
    if (findInCatalog(model) === undefined || Date.now() - lookedAt < otherPullLookMs) return percent
    seen.set(model, { percent, lookedAt: Date.now() })
    void look(model)
    return percent
  }
}
