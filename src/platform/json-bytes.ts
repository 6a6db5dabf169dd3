/**
 * Writes JSON straight into bytes: for answers of tens of thousands of objects, where making each object, its text and the
 * bytes of that would take four times as long.
 */

/** A piece of an answer is taken away when it is about so long. */
const pieceBytes = 256 * 1024
/** So few bytes a loop copies faster than a call does. */
const loopBytesMax = 64
/** No number is longer. */
const numberBytesMax = 25
const wholeDigitsMax = 9

export class JsonBytes {
  #bytes = Buffer.allocUnsafe(pieceBytes)
  #at = 0

  get isFull(): boolean {
    return this.#at > pieceBytes - pieceBytes / 8
  }

  /** What stands between the numbers; encoded once, written many times. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    const [into, from] = [this.#bytes, this.#at]
    if (bytes.length > loopBytesMax) into.set(bytes, from)
    else for (let index = 0; index < bytes.length; index += 1) into[from + index] = bytes[index] ?? 0
    this.#at = from + bytes.length
  }

  text(text: string): void {
    this.raw(Buffer.from(text))
  }

  number(value: number): void {
    this.#reserve(numberBytesMax)
    const digits = digitsOf(value)
    if (digits === undefined) {
      this.#at += this.#bytes.write(String(value), this.#at, 'latin1')
      return
    }
    const [into, from] = [this.#bytes, this.#at]
    let rest = value
    for (let place = digits - 1; place >= 0; place -= 1) {
      const next = (rest / 10) | 0
      into[from + place] = 48 + rest - next * 10
      rest = next
    }
    this.#at = from + digits
  }

  /** What was written since the last time. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#at)
    this.#bytes = Buffer.allocUnsafe(pieceBytes)
    this.#at = 0
    return taken
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + bytes))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}

/** Undefined where it is not a whole number of few digits. */
function digitsOf(value: number): number | undefined {
  if (!Number.isInteger(value) || value < 0) return undefined
  let digits = 1
  for (let bound = 10; value >= bound; bound *= 10) digits += 1
  return digits <= wholeDigitsMax ? digits : undefined
}
