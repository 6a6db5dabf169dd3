/** What a running process takes, as Linux tells it. */
import { readdirSync, readFileSync } from 'node:fs'

export type ProcessSize = { readonly residentBytes: number; readonly descriptors: number }

const metricsMsMax = 10_000

export function sizeOf(pid: number): ProcessSize {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
  return { residentBytes: resident, descriptors: readdirSync(`/proc/${pid}/fd`).length }
}

/** What the server's heap holds by its own metrics: next to a collection, what is really kept. */
export async function heapOf(url: string): Promise<number> {
  const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(metricsMsMax) })
  const used = /^nodejs_heap_size_used_bytes (\S+)$/m.exec(await response.text())?.[1]
  if (used === undefined) throw new Error(`${url}/metrics does not tell the size of the heap: ${response.status}`)
  return Number(used)
}
