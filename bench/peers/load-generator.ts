/**
 * Where there is no wrk: so many connections send one and the same POST, each as soon as it was answered, for so many
 * seconds. Says at the end what it saw, as the one line of JSON that post.lua makes wrk say.
 */
import { Pool } from 'undici'
import { percentile } from '../support/statistics.ts'

const [address = '', connections = '1', seconds = '1'] = process.argv.slice(2)
const { KEYHOUSE_BENCH_BODY: body = '', KEYHOUSE_BENCH_KEY: key = '' } = process.env
const url = new URL(address)
const pool = new Pool(url.origin, {
  connections: Number(connections),
  pipelining: 1,
  bodyTimeout: 0,
  headersTimeout: 0,
})
const request = {
  path: url.pathname,
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
  body,
} as const

const latencies: number[] = []
let failures = 0
const startedAt = performance.now()
const end = startedAt + Number(seconds) * 1000

async function connection(): Promise<void> {
  while (performance.now() < end) {
    const sentAt = performance.now()
    if (await answered()) latencies.push(performance.now() - sentAt)
    else failures += 1
  }
}

/** @returns whether the whole answer came, and it was a good one */
function answered(): Promise<boolean> {
  return new Promise(resolve => {
    let status = 0
    pool.dispatch(request, {
      onRequestStart: () => undefined,
      onResponseStart(_controller, code) {
        status = code
      },
      onResponseData: () => undefined,
      onResponseEnd: () => resolve(status === 200),
      onResponseError: () => resolve(false),
    })
  })
}

await Promise.all(Array.from({ length: Number(connections) }, connection))
const sorted = latencies.toSorted((a, b) => a - b)
console.log(
  JSON.stringify({
    requests: sorted.length,
    failures,
    seconds: (performance.now() - startedAt) / 1000,
    p50Ms: percentile(sorted, 50),
    p99Ms: percentile(sorted, 99),
  }),
)
process.exit(0)
