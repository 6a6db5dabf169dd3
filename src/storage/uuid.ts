/** UUIDv7: sorted by time, so that an index of them grows at its end. Built into Node from 26 on; until then, this. */
import { randomFillSync } from 'node:crypto'

const uuidBytes = 16
/** Random bytes for the next ones, made for many at a time. */
const pool = Buffer.alloc(256 * uuidBytes)
let used = pool.length

/** @param timeMs whole milliseconds since 1970 */
export function uuidv7(timeMs: number): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const at = used
  used += uuidBytes
  // RFC 9562, section 5.7: the time, then version and variant among what is random
  pool.writeUIntBE(timeMs, at, 6)
  pool.writeUInt8(0x70 | (pool.readUInt8(at + 6) & 0x0f), at + 6)
  pool.writeUInt8(0x80 | (pool.readUInt8(at + 8) & 0x3f), at + 8)
  const hex = pool.toString('hex', at, used)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
