/**
 * Brings one file from where the operator says it is: a path on this machine or an http(s) address. A download that was
 * cut goes on where it ended, if the server can. Nothing is trusted here: the caller checks the sha256 afterwards.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { PassThrough, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { EnvHttpProxyAgent, interceptors, request } from 'undici'
import { requireSpace } from './files.ts'

const answerMs = 60_000
/** The longest silence in the middle of a download. */
const silenceMs = 120_000
const redirectsMax = 5

export type Fetch = {
  /** An absolute or relative path, or an address that begins with http://, https:// or file://. */
  readonly from: string
  /** Grows from what an earlier, interrupted fetch left there. */
  readonly target: string
  readonly folder: string
  readonly signal: AbortSignal
  readonly onBytes: (bytesDone: number, bytesTotal: number | null) => void
}

const isAddress = (from: string): boolean => /^https?:\/\//i.test(from)

/** The address without user, password and query, which may carry credentials: fit for a log. */
export const showSource = (from: string): string => {
  if (!isAddress(from)) return from
  const { origin, pathname } = new URL(from)
  return origin + pathname
}

const store = async (source: Readable, options: Fetch, start: number, total: number | null): Promise<void> => {
  let done = start
  const counter = new PassThrough()
  counter.on('data', (chunk: Buffer) => {
    done += chunk.length
    options.onBytes(done, total)
  })
  const sink = createWriteStream(options.target, { flags: start > 0 ? 'a' : 'w' })
  await pipeline(source, counter, sink, { signal: options.signal })
}

const copyLocal = async (path: string, options: Fetch): Promise<void> => {
  const { size } = await stat(path).catch(cause => {
    throw new Error(`There is no file ${path} to take the weights from. Check the path.`, { cause })
  })
  await requireSpace(options.folder, size, 'the weights')
  await store(createReadStream(path, { highWaterMark: 1024 * 1024 }), options, 0, size)
}

const ask = (options: Fetch, agent: EnvHttpProxyAgent, start: number) =>
  request(options.from, {
    dispatcher: agent.compose(interceptors.redirect({ maxRedirections: redirectsMax })),
    headers: start > 0 ? { range: `bytes=${start}-` } : {},
    headersTimeout: answerMs,
    bodyTimeout: silenceMs,
    signal: options.signal,
  })

const totalOf = (length: string | string[] | undefined, start: number): number | null =>
  typeof length === 'string' ? start + Number(length) : null

const download = async (options: Fetch): Promise<void> => {
  const agent = new EnvHttpProxyAgent({ connect: { timeout: answerMs } })
  try {
    const start = await stat(options.target).then(
      found => found.size,
      () => 0,
    )
    const { statusCode, headers, body } = await ask(options, agent, start)
    // 416: the earlier fetch had it all
    if (statusCode === 416 && start > 0) return void (await body.dump())
    if (statusCode !== 200 && statusCode !== 206) throw new Error(`the server answered ${statusCode}`)
    const resumedAt = statusCode === 206 ? start : 0
    const total = totalOf(headers['content-length'], resumedAt)
    if (total !== null) await requireSpace(options.folder, total - resumedAt, 'the weights')
    await store(body, options, resumedAt, total)
  } catch (cause) {
    options.signal.throwIfAborted()
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${showSource(options.from)} could not be fetched: ${why}. Run the pull again to go on.`, { cause })
  } finally {
    await agent.destroy()
  }
}

export const fetchWeights = async (options: Fetch): Promise<void> => {
  if (isAddress(options.from)) return download(options)
  const path = options.from.startsWith('file://') ? fileURLToPath(options.from) : options.from
  return copyLocal(path, options)
}
