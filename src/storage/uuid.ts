/** UUIDv7: sorted by time, so that an index of them grows at its end. Built into Node from 26 on; until then, this. */
import { randomFillSync } from 'node:crypto'

const poolBytes = 4096
const pool = Buffer.allocUnsafe(poolBytes)
let used = poolBytes

/** @param timeMs milliseconds since 1970 */
export function uuidv7(timeMs: number): string {
  if (used + 10 > poolBytes) {
    randomFillSync(pool)
    used = 0
  }
  const random = pool.toString('hex', used, used + 10)
  used += 10
  const time = timeMs.toString(16).padStart(12, '0')
  // The variant's two bits: one of 8, 9, a, b
  const variant = '89ab'[Number.parseInt(random[3] ?? '0', 16) & 3]
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(7, 19)}`
}
