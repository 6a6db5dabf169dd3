/** Runs histories, each in a world of its own, until one fails; then finds the shortest that fails, and says how. */
import type { SimulatedDatabase } from './database.ts'
import { shrink } from './shrink.ts'
import { history, read, type Step } from './steps.ts'
import { World } from './world.ts'

export type Failure = { readonly world: number; readonly steps: readonly Step[]; readonly reason: string }

export const stepsPerWorld = 500
const triesMax = 300

/** What was wrong; undefined where everything was as it must be. */
export async function runHistory(
  simulated: SimulatedDatabase,
  seed: number,
  world: number,
  steps: readonly Step[],
): Promise<{ after: number; reason: string } | undefined> {
  let after = 0
  try {
    const place = await World.open(simulated, seed, world)
    for (const step of steps) {
      after += 1
      await place.run(step)
    }
    await place.end()
    return undefined
  } catch (error) {
    return { after, reason: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

/** @param from the first world, and @param until the first that is not run any more */
export async function simulate(
  simulated: SimulatedDatabase,
  { seed, from, until, onWorld }: { seed: number; from: number; until: number; onWorld?: (world: number) => void },
): Promise<Failure | undefined> {
  for (let world = from; world < until; world += 1) {
    const steps = history(seed, world, stepsPerWorld)
    const failed = await runHistory(simulated, seed, world, steps)
    if (failed) return shortest(simulated, seed, world, steps.slice(0, failed.after), failed.reason)
    onWorld?.(world)
  }
  return undefined
}

async function shortest(
  simulated: SimulatedDatabase,
  seed: number,
  world: number,
  steps: readonly Step[],
  first: string,
): Promise<Failure> {
  let reason = first
  const shorter = await shrink(
    steps,
    async tried => {
      const failed = await runHistory(simulated, seed, world, tried)
      if (failed) reason = failed.reason
      return failed !== undefined
    },
    triesMax,
  )
  return { world, steps: shorter, reason }
}

export const describeFailure = (seed: number, { world, steps, reason }: Failure): string =>
  [
    `Seed ${seed}, world ${world}: the shortest history that fails has ${steps.length} steps.`,
    ...steps.map((step, index) => `  ${index + 1}. ${read(step)}`),
    `Then: ${reason}`,
    `Again: npm run simulate -- ${seed} --world ${world}`,
  ].join('\n')
