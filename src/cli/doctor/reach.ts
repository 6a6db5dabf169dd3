/** Is a Keyhouse there, does it take calls, and does its clock agree with ours? Asked without a key. */
import { duration } from '../amounts.ts'
import { whyUnreachable } from '../failures.ts'
import type { FoundServer } from '../find-server.ts'
import { safeText } from '../terminal.ts'
import { type Check, ok, unknown, warning, wrong } from './check.ts'

export type Reached = { readonly isKeyhouse: boolean; readonly checks: readonly Check[] }

export async function reach(server: FoundServer, nowMs: number): Promise<Reached> {
  const live = await probe(server, '/health/live')
  if ('error' in live) return missed(wrong('server', live.error, 'Start it with `keyhouse start`, or add --url.'))
  const isKeyhouse = live.headers.has('x-request-id') && live.body?.status === 'ok'
  if (!isKeyhouse) return missed(otherProgram(server.url))
  const found = ok('server', `answers at ${server.url} (from ${server.urlFrom})`)
  return { isKeyhouse, checks: [found, await checkReady(server), checkClock(live.headers, nowMs)] }
}

const missed = (server: Check): Reached => ({ isKeyhouse: false, checks: [server, unknown('ready'), unknown('clock')] })

const otherProgram = (url: string): Check =>
  wrong(
    'server',
    `another program answers at ${url}`,
    'Stop that program, or start Keyhouse on another port, as in `keyhouse start --port 8485`.',
  )

const probeMsMax = 10_000

type Health = { status?: unknown; reasons?: unknown }
type Probed = { readonly headers: Headers; readonly body: Health | undefined }

async function probe(server: FoundServer, path: string): Promise<Probed | { error: string }> {
  try {
    const response = await fetch(server.url + path, { redirect: 'manual', signal: AbortSignal.timeout(probeMsMax) })
    const text = await response.text()
    return { headers: response.headers, body: readHealth(text) }
  } catch (error) {
    return { error: `nothing at ${server.url} (from ${server.urlFrom}): ${whyUnreachable(error)}` }
  }
}

/** Undefined for whatever another program may have sent. */
function readHealth(text: string): Health | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

async function checkReady(server: FoundServer): Promise<Check> {
  const ready = await probe(server, '/health/ready')
  if (!('error' in ready) && ready.body?.status === 'ok') return ok('ready', 'takes calls')
  const reasons = 'error' in ready ? ready.error : String(ready.body?.reasons ?? 'it does not say why')
  return wrong('ready', `takes no calls: ${safeText(reasons)}`, "Mend that; the server's log says more.")
}

const skewSecondsMax = 30

/** Keys expire and usage is counted by the server's clock. */
function checkClock(headers: Headers, nowMs: number): Check {
  const seconds = Math.abs(Date.parse(headers.get('date') ?? '') - nowMs) / 1000
  if (Number.isNaN(seconds)) return unknown('clock')
  if (seconds <= skewSecondsMax) return ok('clock', "agrees with the server's")
  const proof = `is ${duration(seconds)} away from the server's`
  return warning('clock', proof, 'Set both clocks by NTP: keys expire and usage is counted by the clock.')
}
