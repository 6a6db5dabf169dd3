import { defineConfig } from 'vitest/config'
import { SlowestFirst } from './test/support/slowest-first.ts'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // two cores: more workers than that only make the clocks of the tests lie
    maxWorkers: 2,
    pool: 'forks',
    sequence: { sequencer: SlowestFirst },
  },
})
