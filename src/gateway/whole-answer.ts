/** What a provider's whole answer is, by its bytes: it may say 200 and mean it of the connection alone. */
import { findServiceTier } from './service-tier.ts'
import { findUsage } from './usage-in-body.ts'

export type WholeAnswer =
  | { readonly usage: ReturnType<typeof findUsage>; readonly serviceTier: ReturnType<typeof findServiceTier> }
  /** With the status that it should have had. */
  | { readonly failedWith: number }
  /** Neither usage nor a JSON object. */
  | 'unreadable'

export function readWhole(bytes: Buffer): WholeAnswer {
  const usage = findUsage(bytes)
  // Whoever counted has answered: nobody else's answer is parsed
  if (usage !== undefined) return { usage, serviceTier: findServiceTier(bytes) }
  const body = jsonObject(bytes)
  if (body === undefined) return 'unreadable'
  return isFailure(body) ? { failedWith: failureStatus(body.error) } : { usage, serviceTier: findServiceTier(bytes) }
}

/** @param bytes of which it is known that the provider says in them that it failed */
export const statusOfFailure = (bytes: Buffer): number => failureStatus(jsonObject(bytes)?.error)

type JsonObject = { readonly [member: string]: unknown }

function jsonObject(bytes: Buffer): JsonObject | undefined {
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'))
    // An object has members of unknown types, which is what this says
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? (parsed as JsonObject) : undefined
  } catch {
    return undefined
  }
}

/** Some say 200 and mean it of the connection alone: OpenRouter does, with the status of its own provider inside. */
const isFailure = ({ error, choices, data }: JsonObject): boolean =>
  typeof error === 'object' && error !== null && choices === undefined && data === undefined

function failureStatus(error: unknown): number {
  // Any JSON value has members of unknown types, or none
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'number' && code >= 400 && code <= 599 ? Math.trunc(code) : 502
}
