/** What a running process takes, as Linux tells it. */
import { readdirSync, readFileSync } from 'node:fs'

export type ProcessSize = { readonly residentBytes: number; readonly descriptors: number }

export function sizeOf(pid: number): ProcessSize {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
  return { residentBytes: resident, descriptors: readdirSync(`/proc/${pid}/fd`).length }
}
