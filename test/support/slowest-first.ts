/**
 * The order in which test files begin: those that take long first, so that none of them is alone at the end while the other
 * core has nothing to do. Of the rest vitest's own order.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** By what they took on two cores, longest first; a file that is not here takes less than twenty seconds. */
const slow = [
  'crash-cluster',
  'backup',
  'crash',
  'faults-redis',
  'faults-database',
  'faults-money',
  'simulation',
  'limits-proof',
]

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const usual = await super.sort(files)
    const isSlow = (file: TestSpecification): boolean => rankOf(file) < slow.length
    const first = usual.filter(isSlow).sort((a, b) => rankOf(a) - rankOf(b))
    return [...first, ...usual.filter(file => !isSlow(file))]
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = slow.findIndex(name => moduleId.endsWith(`/${name}.test.ts`))
  return rank === -1 ? slow.length : rank
}
