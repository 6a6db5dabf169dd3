/** What a scan did not look into, and why: a scan that is silent about that promises too much. */
import { maskSecrets } from './find-secrets.ts'

/** Generated things beyond this are no place where people paste keys, and would cost the memory several times. */
export const fileBytesMax = 50_000_000

const reasons = {
  binary: 'binary',
  too_large: `larger than ${fileBytesMax / 1_000_000} MB`,
  unreadable: 'unreadable',
  gone: 'known to git, but not there',
  no_file: 'no regular file (a link, a submodule, a device)',
  node_modules: 'in node_modules',
} as const

export type SkipReason = keyof typeof reasons

/** Of each reason; what goes beyond is counted only. */
const pathsMax = 5

export class Skipped {
  readonly #counts = new Map<SkipReason, { count: number; paths: string[] }>()

  add(reason: SkipReason, path: string): void {
    const { count, paths } = this.#counts.get(reason) ?? { count: 0, paths: [] }
    if (paths.length < pathsMax) paths.push(maskSecrets(path))
    this.#counts.set(reason, { count: count + 1, paths })
  }

  get rows(): { reason: SkipReason; why: string; count: number; paths: readonly string[] }[] {
    return [...this.#counts].map(([reason, counted]) => ({ reason, why: reasons[reason], ...counted }))
  }
}
