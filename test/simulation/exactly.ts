/** Calls that all cost the same, and money for some of them: how many are admitted, on so many nodes, when all come at once. */
import type { SimulatedDatabase } from './database.ts'
import { randomOf } from './random.ts'
import type { Step } from './steps.ts'
import { World } from './world.ts'

export type Bound = 'credit' | 'project spend limit' | 'key budget'

const cent = 1_000
const oversubscribed = 3

const boundSteps: Readonly<Record<Bound, (covered: number) => Step[]>> = {
  credit: covered => [{ kind: 'grant', amount: covered * cent, lastsMs: null, priority: 0 }],
  'project spend limit': covered => [
    { kind: 'grant', amount: 1_000 * cent, lastsMs: null, priority: 0 },
    { kind: 'limit', place: 'project 0', cents: covered, heard: true },
  ],
  'key budget': covered => [
    { kind: 'grant', amount: 1_000 * cent, lastsMs: null, priority: 0 },
    { kind: 'budget', key: 0, amount: covered * cent, period: 'month', heard: true },
  ],
}

/** @returns how many calls were admitted of three times as many as are covered; nothing of them ends meanwhile */
export async function admittedOf(
  simulated: SimulatedDatabase,
  { seed, nodes, covered, bound }: { seed: number; nodes: number; covered: number; bound: Bound },
): Promise<number> {
  const random = randomOf(seed, covered)
  const world = await World.open(simulated, seed, 0, nodes)
  for (const step of boundSteps[bound](covered)) await world.run(step)
  for (let left = covered * oversubscribed; left > 0; ) {
    const size = Math.min(left, 1 + random.below(30))
    left -= size
    const call = () => ({
      kind: 'call' as const,
      node: random.below(nodes),
      key: random.below(2),
      most: cent,
      least: cent,
    })
    await world.run({ kind: 'together', steps: Array.from({ length: size }, call) })
    // Longer than a node goes without asking others again
    if (random.chance(0.3)) await world.run({ kind: 'wait', ms: 2_000 })
  }
  const admitted = world.oracle.held.size
  await world.end()
  return admitted
}
