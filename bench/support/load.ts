/** The load: wrk, or our own generator where there is none; the same for everybody in a run. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { endChild, startChild } from './child.ts'
import type { Tools } from './tools.ts'

export type LoadPlan = {
  readonly url: string
  readonly key: string
  readonly body: string
  readonly connections: number
  readonly seconds: number
}

export type LoadResult = {
  readonly requests: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const script = fileURLToPath(new URL('./post.lua', import.meta.url))
const generator = fileURLToPath(new URL('../peers/load-generator.ts', import.meta.url))
const answerTimeoutSeconds = 600

/** @throws Error when a single request failed: then the numbers would tell about something else */
export async function load(tools: Tools, plan: LoadPlan): Promise<LoadResult> {
  const child = spawnLoad(tools, plan)
  if (!child.stdout) throw new Error('the load generator has no standard output')
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')])
  // The last line of both, as post.lua writes it
  const last = JSON.parse(output.trimEnd().split('\n').at(-1) ?? '') as LoadResult & { readonly failures: number }
  if (last.failures > 0 || last.requests === 0) {
    throw new Error(`${last.failures} of ${last.requests} requests to ${plan.url} failed`)
  }
  return last
}

/** Load that goes on until it is disposed of: for answers that never end. */
export function startLoad(tools: Tools, plan: Omit<LoadPlan, 'seconds'>): AsyncDisposable {
  const child = spawnLoad(tools, { ...plan, seconds: answerTimeoutSeconds })
  child.stdout?.resume()
  return { [Symbol.asyncDispose]: () => endChild(child, 'SIGKILL') }
}

function spawnLoad(tools: Tools, { url, key, body, connections, seconds }: LoadPlan): ChildProcess {
  const own = [generator, url, connections, seconds]
  const wrk = [
    '-t',
    1,
    '-c',
    connections,
    '-d',
    `${seconds}s`,
    '--timeout',
    `${answerTimeoutSeconds}s`,
    '-s',
    script,
    url,
  ]
  const [command, args] = tools.wrk === undefined ? [process.execPath, own] : ['wrk', wrk]
  return startChild(command, args.map(String), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, KEYHOUSE_BENCH_BODY: body, KEYHOUSE_BENCH_KEY: key },
  })
}
