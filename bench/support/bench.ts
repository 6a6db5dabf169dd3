/** What a bench is: one question, asked with real processes, answered with tables and with the aims it has to meet. */
import type { Tools } from './tools.ts'

export type Bench = {
  readonly name: string
  readonly question: string
  run(context: BenchContext): Promise<Findings>
}

export type BenchContext = {
  /** A smoke run: does everything once and briefly, and its numbers mean nothing. */
  readonly quick: boolean
  /** How many usage events there are to be; undefined: as many as the bench usually makes. */
  readonly events: number | undefined
  readonly tools: Tools
  progress(line: string): void
}

export type Findings = {
  readonly tables: readonly Table[]
  readonly aims: readonly Aim[]
  /** How it was measured, and what one must know to read the numbers. */
  readonly notes: readonly string[]
}

export type Table = { readonly title: string; readonly columns: readonly string[]; readonly rows: readonly string[][] }

export type Aim = { readonly what: string; readonly atMost: number; readonly measured: number; readonly unit: string }
