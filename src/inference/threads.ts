/** How many threads the embedded model gets: the one thing to get right about it. */
import { availableParallelism } from 'node:os'

const threadsMax = 8

/** All of two cores, else half: the gateway and the database need the others, and waiting threads are worse than none. */
export const threadsDefault = (cores: number = availableParallelism()): number =>
  Math.max(1, Math.min(cores, Math.max(2, Math.floor(cores / 2)), threadsMax))
