/** Adds up one bucket of usage after the other, in numbers and in place: an object for each sum would be most of the work. */

export type Tallied = {
  readonly place: number
  /** In the order of the measures; the same array each time. */
  readonly counts: readonly number[]
}

export class UsageTally {
  /** How many measures there are. */
  readonly width: number
  /** So many for each place, one place after the other. Whoever adds to a place touches it first. */
  readonly values: Float64Array
  readonly #isTouched: Uint8Array
  #touched: number[] = []

  /** @param places how many groups there are */
  constructor(places: number, width: number) {
    this.width = width
    this.values = new Float64Array(places * width)
    this.#isTouched = new Uint8Array(places)
  }

  touch(place: number): void {
    if (this.#isTouched[place] !== 0) return
    this.#isTouched[place] = 1
    this.#touched.push(place)
  }

  /** What was added since the last time, in the order of places; then it is empty again. */
  *take(): Generator<Tallied> {
    const { values, width } = this
    const counts = new Array<number>(width).fill(0)
    const tallied = { place: 0, counts }
    for (const place of Int32Array.from(this.#touched).sort()) {
      for (let index = 0; index < width; index += 1) counts[index] = values[place * width + index] ?? 0
      tallied.place = place
      yield tallied
    }
    this.clear()
  }

  clear(): void {
    for (const place of this.#touched) {
      this.#isTouched[place] = 0
      for (let index = 0; index < this.width; index += 1) this.values[place * this.width + index] = 0
    }
    this.#touched = []
  }
}
