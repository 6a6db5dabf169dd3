/**
 * How long a provider's answer is still read when its client has left. The provider charges for what it does, read or not, and it
 * alone knows how much that is: where its numbers must be near, they are waited for. What would be long is cut, and estimated.
 */
import type { SseRelay } from './sse-relay.ts'

/** A stream goes on for this long before it is cut: whoever leaves with the last word is no different from one who stayed for the numbers. */
const lastWordMs = 100
/** Where the answer has ended, they are waited for. */
const numbersMs = 2_000
const unreadBytesMax = 256 * 1024

export class LeftUnread {
  readonly #cut: () => void
  #timer: NodeJS.Timeout | undefined
  #bytes = 0
  #answerEnded = false

  constructor(cut: () => void) {
    this.#cut = cut
  }

  cutAfter(ms: number): void {
    clearTimeout(this.#timer)
    if (ms === 0) this.#cut()
    else this.#timer = setTimeout(this.#cut, ms)
  }

  /** So much of the stream has come since. */
  came(relay: SseRelay, bytes: number): void {
    this.#bytes += bytes
    if (relay.usage !== undefined || relay.finished || this.#bytes > unreadBytesMax) {
      this.cutAfter(0)
    } else if (relay.isEnding && !this.#answerEnded) {
      this.#answerEnded = true
      this.cutAfter(numbersMs)
    } else if (!this.#timer) {
      this.cutAfter(lastWordMs)
    }
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}
