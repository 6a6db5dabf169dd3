/** Troubles for parts that are tested alone. */
import type { Trouble } from '../../src/contract/troubles.ts'

export const noTrouble: Trouble = { began: () => undefined, over: () => undefined }

/** Puts what was met into the list, once until it is over. */
export function troubleInto(reasons: string[]): Trouble {
  let isOpen = false
  return {
    began(error) {
      if (!isOpen) reasons.push(error instanceof Error ? error.message : String(error))
      isOpen = true
    },
    over() {
      isOpen = false
    },
  }
}
