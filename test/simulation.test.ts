/** Money under everything that can happen, in simulation: see docs/reliability.md. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type SimulatedDatabase, simulatedDatabase } from './simulation/database.ts'
import { admittedOf, type Bound } from './simulation/exactly.ts'
import { mended } from './simulation/mended.ts'
import { describeFailure, simulate, stepsPerWorld } from './simulation/simulate.ts'
import { World } from './simulation/world.ts'

const seed = Number(process.env.KEYHOUSE_SEED ?? Date.now() % 2 ** 31)
const steps = Number(process.env.KEYHOUSE_SIMULATION_STEPS ?? 50_000)
/** Far more than it takes: fifty thousand steps are done in a minute and a half on two quiet cores. */
const timeoutMs = 600_000

let simulated: SimulatedDatabase

beforeAll(async () => {
  simulated = await simulatedDatabase()
})

afterAll(() => simulated.stop())

const bounds: readonly Bound[] = ['credit', 'project spend limit', 'key budget']
const cases = [1, 2, 4].flatMap(nodes => bounds.map(bound => ({ nodes, bound })))

test.each(cases)('on $nodes nodes, a $bound for k equal calls admits exactly k of them', async ({ nodes, bound }) => {
  for (const covered of [1, 7, 40]) {
    expect(await admittedOf(simulated, { seed, nodes, covered, bound }), `k = ${covered}, seed ${seed}`).toBe(covered)
  }
})

test.each(Object.entries(mended))('%s', async (_, { nodes, steps }) => {
  const world = await World.open(simulated, seed, 0, nodes)
  for (const step of steps) await world.run(step)
  await world.end()
})

test(
  `${steps} random steps break no rule of the money (seed ${seed})`,
  async () => {
    const failure = await simulate(simulated, { seed, from: 0, until: Math.ceil(steps / stepsPerWorld) })
    if (failure) expect.fail(describeFailure(seed, failure))
  },
  timeoutMs,
)
