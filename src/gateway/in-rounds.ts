/** Work of which one round at a time is enough, and which must begin after whoever asks for it has come. */

/** @returns asks for a round; all who ask while one is under way share the next one */
export function inRounds(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined
  const round = async (): Promise<void> => {
    await running.catch(() => undefined)
    next = undefined
    running = work()
    return running
  }
  return () => {
    next ??= round()
    return next
  }
}
