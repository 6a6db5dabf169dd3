/** What a scan has found so far: each thing once, without what the baseline knows, up to a bound. */
import { keyhouseKeyId, keyhouseTestKeyId } from './detectors.ts'
import { type Finding, findingsIn, type Source } from './finding.ts'

/** More is no list for people any more: what comes after is not kept, and the report says so. */
const findingsMax = 10_000

export class Collector {
  readonly findings: Finding[] = []
  /** By the hash of their finding: the only secrets that outlive their file, for --check-live. */
  readonly keyhouseKeys = new Map<string, string>()
  readonly #known: ReadonlySet<string>
  readonly #seen = new Set<string>()

  /** @param known hashes of the findings that a baseline silences */
  constructor(known: ReadonlySet<string>) {
    this.#known = known
  }

  get isFull(): boolean {
    return this.findings.length >= findingsMax
  }

  /** Looks for secrets in `source`. */
  search(source: Source): void {
    if (this.isFull) return
    for (const { hit, finding } of findingsIn(source)) {
      const isKeyhouseKey = hit.detector.id === keyhouseKeyId || hit.detector.id === keyhouseTestKeyId
      if (this.add(finding) && isKeyhouseKey) this.keyhouseKeys.set(finding.hash, hit.secret)
    }
  }

  /** @returns whether it was kept */
  add(finding: Finding): boolean {
    const identity = `${finding.hash} ${placeOf(finding)}`
    if (this.isFull || this.#known.has(finding.hash) || this.#seen.has(identity)) return false
    this.#seen.add(identity)
    this.findings.push(finding)
    return true
  }
}

/** In history the first commit that brought a secret into a file counts; lines move from one to the next. */
const placeOf = ({ path, line, column, commit }: Finding): string => (commit ? path : `${path}:${line}:${column}`)
