/** The running server itself: how it is, how it is set, its backup, and this document. */
import { z } from 'zod'
import { usdText } from './amounts.ts'
import type { Endpoints } from './endpoint.ts'
import { troubleKinds } from './troubles.ts'

const snapshot = { contentType: 'application/gzip', about: 'One consistent snapshot of the database.' } as const

export const serverStatus = z
  .object({
    object: z.literal('platform.status'),
    version: z.string(),
    node_version: z.string(),
    uptime_seconds: z.number(),
    data_dir: z.string(),
    database: z.object({
      kind: z.string().describe('embedded or external'),
      version: z.string().nullable(),
      ok: z.boolean(),
      latency_ms: z.number(),
      size_bytes: z.number().nullable(),
    }),
    journal: z.object({
      waiting: z.number(),
      bytes: z.number(),
      refusal: z.string().nullable(),
      last_error: z.string().nullable(),
      rejected: z.number().optional(),
    }),
    cluster: z.object({
      nodes: z.int().describe('Nodes that run on this database, this one included.'),
      rate_limits: z
        .enum(['memory', 'redis', 'alone'])
        .describe('Counted in memory, in Redis, or, with Redis away, by each node for its share.'),
    }),
    auth_staleness_ms: z.number(),
    troubles: z
      .array(
        z.object({
          kind: z.enum(troubleKinds),
          about: z.string().describe('Which provider or job; empty where there is but one.'),
          since: z.int().describe('Unix seconds.'),
          reason: z.string().describe('What was met last.'),
        }),
      )
      .describe('What is wrong with this node now, the oldest first.'),
    calls_active: z.number(),
    models: z.record(z.string(), z.object({ status: z.string(), percent: z.number().optional() })),
    credit: z.object({ available_usd: usdText, reserved_usd: usdText }),
    ledger: z.object({ findings: z.int().describe('What of the money does not add up.') }),
    mail: z.object({
      set_up: z.boolean(),
      failed: z.int().describe('Given up within the last day.'),
      organizations_unreached: z.int().describe('None of whose owners has an e-mail address.'),
    }),
  })
  .meta({ id: 'ServerStatus' })
export type ServerStatus = z.output<typeof serverStatus>

const shownSetting = z.object({
  name: z.string(),
  value: z.string().describe('Secrets are shown as ****.'),
  source: z.enum(['flag', 'environment', 'file', 'default']),
  description: z.string(),
  env: z.string(),
  flag: z.string(),
})

export const operations = {
  status: {
    method: 'GET',
    path: '/v1/platform/status',
    summary: 'How this node is.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: serverStatus,
  },
  config: {
    method: 'GET',
    path: '/v1/platform/config',
    summary: 'The effective settings and where each one comes from.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: z.object({ object: z.literal('list'), data: z.array(shownSetting) }),
  },
  backup: {
    method: 'GET',
    path: '/v1/platform/backup',
    summary: 'A snapshot of everything, taken while the server runs.',
    // It holds every hash and every sealed credential: reading it is no small thing
    scope: 'api.platform.backup',
    operatorOnly: true,
    answer: snapshot,
  },
  restore: {
    method: 'POST',
    path: '/v1/platform/restore',
    summary: 'Replace everything by a snapshot, in one transaction.',
    // Whoever restores chooses the keys and the people: more than any other permission gives
    scope: 'api.platform.restore',
    operatorOnly: true,
    body: snapshot,
    answer: z.object({
      object: z.literal('platform.restore'),
      tables: z.number(),
      rows: z.number(),
      schema: z.number(),
    }),
  },
  openapi: {
    method: 'GET',
    path: '/v1/openapi.json',
    summary: 'This document.',
    scope: null,
    answer: z.looseObject({ openapi: z.string() }),
  },
} as const satisfies Endpoints
