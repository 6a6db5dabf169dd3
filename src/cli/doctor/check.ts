/** One thing that can be wrong, what was seen of it, and the one step that mends it. */
export type Check = {
  readonly name: string
  /** `unknown` when an earlier finding kept us from looking. */
  readonly outcome: 'ok' | 'warning' | 'wrong' | 'unknown'
  readonly proof: string
  readonly mend: string | null
}

export const ok = (name: string, proof: string): Check => ({ name, outcome: 'ok', proof, mend: null })
export const warning = (name: string, proof: string, mend: string): Check => ({ name, outcome: 'warning', proof, mend })
export const wrong = (name: string, proof: string, mend: string): Check => ({ name, outcome: 'wrong', proof, mend })
export const unknown = (name: string): Check => ({ name, outcome: 'unknown', proof: 'could not be seen', mend: null })
