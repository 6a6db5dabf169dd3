/** Finds a short history that still fails: leaves out half of the steps, then quarters, and so on, as long as it goes on failing. */
import type { Step } from './steps.ts'

/** @param fails runs a history in a fresh world @param triesMax after so many the shortest one so far is good enough */
export async function shrink(
  steps: readonly Step[],
  fails: (steps: readonly Step[]) => Promise<boolean>,
  triesMax: number,
): Promise<readonly Step[]> {
  let shortest = steps
  let tries = 0
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < shortest.length && tries < triesMax; ) {
      const without = [...shortest.slice(0, start), ...shortest.slice(start + size)]
      tries += 1
      if (await fails(without)) shortest = without
      else start += size
    }
  }
  return shortest
}
