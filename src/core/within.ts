/**
 * A deadline for one wait. What was waited for may still happen; nobody listens any more. A node that was busy for longer than that looks
 * once more for what has arrived meanwhile: timers may run before the loop reads, and nobody else was slow.
 */
export function within<Value>(ms: number, work: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => setImmediate(() => reject(new Error(`no answer within ${ms} ms`))), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
