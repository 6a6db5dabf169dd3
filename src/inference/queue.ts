/** A line of bounded length in front of a model: one job at a time, first come first served; who leaves gives up the place. */
import { refuse } from './refusal.ts'

export type Queue = {
  /** Waits for its turn and runs. Rejects at once when the line is full, or when `signal` aborts while waiting. */
  readonly run: <Result>(signal: AbortSignal, job: () => Promise<Result>) => Promise<Result>
  readonly waiting: () => number
}

export const createQueue = (waitingMax: number): Queue => {
  const line: (() => void)[] = []
  let busy = false

  const turn = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const leave = (): void => {
        line.splice(line.indexOf(enter), 1)
        reject(signal.reason)
      }
      const enter = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      signal.addEventListener('abort', leave, { once: true })
      line.push(enter)
    })

  const handOver = (): void => {
    const next = line.shift()
    if (next === undefined) busy = false
    else next()
  }

  const run = async <Result>(signal: AbortSignal, job: () => Promise<Result>): Promise<Result> => {
    signal.throwIfAborted()
    if (busy) {
      if (line.length >= waitingMax) throw refuse.overloaded(line.length)
      await turn(signal)
    }
    busy = true
    try {
      return await job()
    } finally {
      handOver()
    }
  }

  return { run, waiting: () => line.length }
}
