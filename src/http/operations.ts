/** What operators and their tools ask: alive, ready, metrics. */
import { timingSafeEqual } from 'node:crypto'
import { apiError } from '#contract/errors.ts'
import type { HttpExchange } from './exchange.ts'
import type { FastRoute } from './server.ts'

export type Operations = {
  /** Why this node should get no new requests; empty when it should. */
  unready(): Promise<readonly string[]>
  metrics(): Promise<{ text: string; contentType: string }>
  /** Empty: only clients on this machine may read the metrics. */
  readonly metricsToken: string
}

/** Live says that the process answers; ready says that it can serve. A database that is away makes it unready, not dead. */
export const operationRoutes = (operations: Operations): FastRoute[] => [
  { method: 'GET', path: '/health/live', run: async exchange => replyJson(exchange, 200, { status: 'ok' }) },
  {
    method: 'GET',
    path: '/health/ready',
    async run(exchange) {
      const reasons = await operations.unready()
      if (reasons.length === 0) replyJson(exchange, 200, { status: 'ok' })
      else replyJson(exchange, 503, { status: 'unavailable', reasons })
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    async run(exchange) {
      checkMetricsReader(exchange, operations.metricsToken)
      const { text, contentType } = await operations.metrics()
      exchange.start(200, { 'content-type': contentType })
      exchange.end(text)
    },
  },
]

function checkMetricsReader(exchange: HttpExchange, token: string): void {
  const isHere = /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/.test(exchange.clientAddress)
  if (token === '' ? isHere : sameText(exchange.request.headers.authorization ?? '', `Bearer ${token}`)) return
  throw apiError('metrics_closed')
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

function replyJson(exchange: HttpExchange, status: number, body: object): void {
  exchange.start(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  exchange.end(JSON.stringify(body))
}
