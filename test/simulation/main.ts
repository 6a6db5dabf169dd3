/**
 * `npm run simulate -- <seed>`: fifty thousand steps, or as many as `--steps` says; `--world n` runs history n alone. Ends with
 * 1 where one failed.
 */
import { parseArgs } from 'node:util'
import { simulatedDatabase } from './database.ts'
import { describeFailure, simulate, stepsPerWorld } from './simulate.ts'

const stepsDefault = 50_000
const reportEvery = 100

const { values, positionals } = readArguments()
const seed = Number(positionals[0] ?? Date.now() % 2 ** 31)
const steps = Number(values.steps ?? stepsDefault)
if (!Number.isSafeInteger(seed) || !(steps > 0)) usage()
const from = Number(values.world ?? 0)
const until = values.world === undefined ? Math.ceil(steps / stepsPerWorld) : from + 1

const simulated = await simulatedDatabase()
const began = performance.now()
const seconds = (): string => ((performance.now() - began) / 1_000).toFixed(1)
try {
  const failure = await simulate(simulated, {
    seed,
    from,
    until,
    onWorld(world) {
      if ((world + 1) % reportEvery === 0) console.log(`${(world + 1) * stepsPerWorld} steps, ${seconds()} s`)
    },
  })
  const ran = (until - from) * stepsPerWorld
  console.log(failure ? describeFailure(seed, failure) : `Seed ${seed}: ${ran} steps in ${seconds()} s, nothing wrong.`)
  if (failure) process.exitCode = 1
} finally {
  await simulated.stop()
}

function readArguments() {
  try {
    return parseArgs({ allowPositionals: true, options: { steps: { type: 'string' }, world: { type: 'string' } } })
  } catch {
    return usage()
  }
}

function usage(): never {
  console.error('usage: npm run simulate -- [SEED] [--steps 50000] [--world 0], all whole numbers')
  process.exit(2)
}
