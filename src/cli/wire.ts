/**
 * What the API answers, in the types of its contract. Types only: zod would double the time that a command takes to start,
 * and the server, whose own tests hold it to these shapes, has no reason to be doubted again here.
 */
import type { z } from 'zod'
import type { adminApiKey } from '#contract/admin-api-keys.ts'
import type { creditBalance, creditGrant } from '#contract/credits.ts'
import type { model } from '#contract/models.ts'
import type { ServerStatus } from '#contract/operations.ts'
import type { projectApiKey } from '#contract/project-api-keys.ts'
import type { project } from '#contract/projects.ts'
import type { provider } from '#contract/providers.ts'
import type { completionsUsage, costs, embeddingsUsage } from '#contract/usage.ts'

export type Project = z.output<typeof project>
export type AdminKey = z.output<typeof adminApiKey>
export type ProjectKey = z.output<typeof projectApiKey>
export type NewKey<Key> = Key & { value: string }
export type PlatformModel = z.output<typeof model>
export type Price = NonNullable<PlatformModel['price']>
export type Provider = z.output<typeof provider>
export type CompletionsUsage = z.output<typeof completionsUsage>
export type EmbeddingsUsage = z.output<typeof embeddingsUsage>
export type Costs = z.output<typeof costs>
export type CreditBalance = z.output<typeof creditBalance>
export type CreditGrant = z.output<typeof creditGrant>
export type Status = ServerStatus

export type Page<Item> = { data: Item[]; has_more: boolean; last_id: string | null }

export type UsagePage<Result> = {
  data: { start_time: number; end_time: number; results: Result[] }[]
  has_more: boolean
  next_page: string | null
}

/** The lines of POST /v1/platform/models/{name}/pull. */
export type PullLine =
  | { status: 'downloading'; part: string; bytes_done: number; bytes_total: number | null; percent: number }
  | { status: 'ready' }
  | { status: 'failed'; reason: string }
