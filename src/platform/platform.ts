/** What the control plane works with. Built once, in compose.ts. */
import type { X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import type { ServerStatus } from '#contract/operations.ts'
import type { ScopeLimits } from '#core/limit-dimensions.ts'
import type { Log, Warn } from '#observe/log.ts'
import type { Counters } from '#storage/counters.ts'
import type { Database, Queryable } from '#storage/database.ts'
import type { Secrets } from '#storage/secrets.ts'
import type { LeakKeys } from './leak-keys.ts'
import type { LocalModels } from './local-models.ts'

export type PlatformParts = {
  readonly database: Database
  readonly secrets: Secrets
  readonly log: Log
  /** For what may come with every call. */
  readonly warn: Warn
  readonly version: string
  /** What organizations and projects have that were given no limits of their own. */
  readonly limitsDefault: ScopeLimits
  /** What one address may do a minute. */
  readonly counters: Counters
  readonly unknownKeysPerMinuteMax: number
  /** Whose signature on a leak report is GitHub's; undefined: such reports are not taken. */
  readonly leakKeys: LeakKeys | undefined
  readonly localModels: LocalModels
  readonly backup: Backup
  /** Left out: no mail server is set, and nobody waits for a mail. */
  readonly mail?: { readonly publicUrl: string } | undefined
  /** Where a request really comes from, behind the proxies that the operator trusts. */
  clientAddress(request: IncomingMessage): string
  /** What the client proved to be by mutual TLS, here or at such a proxy. @throws ApiError when unreadable */
  clientCertificates(request: IncomingMessage): readonly X509Certificate[]
  /** Milliseconds since 1970. */
  wallClock(): number
  /** Resolves when this node's calls go by what was changed by now, or cannot go by anything older. */
  learnChanges(): Promise<void>
  /** Hears of every refusal, by its code, for the metrics. */
  refused(code: string): void
  /** Secrets are masked already. */
  shownConfig(): readonly ShownSetting[]
  status(): Promise<Omit<ServerStatus, 'object' | 'credit' | 'ledger' | 'mail'>>
}

export type Backup = {
  write(sink: Writable): Promise<void>
  /**
   * All or nothing; also records that everything changed.
   * @param record writes the audit entry, in the transaction that replaces everything, into the books that were restored
   */
  restore(
    source: Readable,
    record: (tx: Queryable) => Promise<void>,
  ): Promise<{ tables: number; rows: number; schema: number }>
}

export type ShownSetting = {
  readonly name: string
  readonly value: string
  readonly source: 'flag' | 'environment' | 'file' | 'default'
  readonly flag: string
  readonly env: string
  readonly about: string
}
