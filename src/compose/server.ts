/** The port that both planes share: who answers what, and how it winds down. */
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { addressList, clientAddress } from '#core/address.ts'
import type { Gateway } from '#gateway/gateway.ts'
import { gatewayRoutes } from '#gateway/routes.ts'
import { operationRoutes } from '#http/operations.ts'
import { type FastRoute, type Listening, listen } from '#http/server.ts'
import type { Metrics } from '#observe/metrics.ts'
import type { Platform } from '#platform/server.ts'
import { certificateReader, readTlsFiles } from '#src/client-certificates.ts'
import { type Config, splitList } from '#src/config.ts'
import { unready } from '#src/status.ts'
import type { Base } from './base.ts'
import type { Storage } from './storage.ts'

/** A stopping server gives the calls that it cut this long to settle. */
const settleMs = 5_000

export async function openServer(
  { config, log, closing, seat, troubles, warn }: Base,
  { database }: Storage,
  { gateway, platform, metrics }: { gateway: Gateway; platform: Platform; metrics: Metrics },
): Promise<Listening> {
  const { values } = config
  let draining = false
  const calls = gatewayRoutes.map(
    ({ method, path, run }): FastRoute => ({
      method,
      path,
      run: (exchange, parameter) => run(gateway, exchange, parameter),
    }),
  )
  const operations = operationRoutes({
    unready: () => unready({ gateway, database, troubles }, draining),
    metrics: async () => ({
      text: await (seat ? seat.metricsOfAll() : metrics.text()),
      contentType: metrics.contentType,
    }),
    metricsToken: values['metrics-token'],
  })
  metrics.watch({
    callsActive: () => gateway.active.count,
    journalWaiting: () => gateway.journal.report().waiting,
    journalBytes: () => gateway.journal.report().bytes,
    grantsRemembered: () => gateway.grants.size,
    stalenessSeconds: () => gateway.grants.stalenessMs / 1000,
    troubles: () => troubles.counts(),
  })
  seat?.onMetricsAsked(() => metrics.snapshot())
  const server = await listen(
    {
      host: values.host,
      port: values.port,
      bodyBytesMax: values['body-bytes-max'],
      bodyTimeoutMs: values['body-timeout-ms'],
      clientAddress: addressReader(config),
      clientCertificates: certificateReader(config),
      tls: readTlsFiles(config),
      headerBytesMax: values['header-bytes-max'],
      headersTimeoutMs: values['headers-timeout-ms'],
      keepAliveTimeoutMs: values['keep-alive-timeout-ms'],
    },
    [...calls, ...operations],
    (request, response, exchange) => platform.handle(request, response, exchange.requestId),
    { log, warn, refused: metrics.refused },
  )
  closing.add('server', () => server.close())
  closing.add('calls in flight', () => gateway.active.drain(values['drain-ms'], settleMs))
  closing.add('accepting', () => server.stopAccepting())
  closing.add('notice', async () => {
    draining = true
    server.windDown()
    await sleep(values['drain-notice-ms'])
  })
  return server
}

export function addressReader({ values }: Config): (request: IncomingMessage) => string {
  const proxies = addressList(splitList(values['trusted-proxies']))
  return ({ socket, headers }) => {
    const forwardedFor = headers['x-forwarded-for']
    return clientAddress(
      socket.remoteAddress ?? '',
      Array.isArray(forwardedFor) ? forwardedFor.join() : forwardedFor,
      proxies,
    )
  }
}
