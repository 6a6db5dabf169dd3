/**
 * What an OpenAI-shaped stream looks like from the side of one who passes it on. Events are let through as the bytes
 * that came; only those that carry usage, or end the stream, are looked into.
 *
 * Three things are kept from going through at once: half an event (its rest comes with the next chunk), the usage chunk
 * that we asked for and the client did not, and `[DONE]`, which leaves when the usage is on disk.
 */
import type { StreamTally } from './answer.ts'

/** An event longer than this is no chunk of a chat. */
export const sseEventBytesMax = 8 * 1024 * 1024

const lf = 0x0a
const cr = 0x0d
const colon = 0x3a
const nothing = Buffer.alloc(0)
const doneMark = '[DONE]'
/** One that is not null. A quote inside a JSON string is escaped, so text cannot pretend. */
const finishReason = /"finish_reason"\s*:\s*"/
/** One with something other than null in it; as above. */
const lookedFor = /"(?:usage|error)"[ :]*\{/
const special = new RegExp(`\\[DONE\\]|${lookedFor.source}`)

export class SseRelay {
  readonly #passUsage: boolean
  #half: Buffer = nothing
  /** Where the last whole event stands. */
  #latest: Buffer = nothing
  #usage: unknown
  #serviceTier: unknown
  #done: Buffer = nothing
  #failure: string | undefined
  #events = 0
  #bytes = 0
  #smallest = Number.POSITIVE_INFINITY

  /** @param passUsage whether the client asked for the usage chunk */
  constructor(passUsage: boolean) {
    this.#passUsage = passUsage
  }

  get usage(): unknown {
    return this.#usage
  }

  /** As what the provider says that it served the call. */
  get serviceTier(): unknown {
    return this.#serviceTier
  }

  get finished(): boolean {
    return this.#done.length > 0
  }

  /** What the provider said in the stream when it could not go on; some say `[DONE]` after that all the same. */
  get failure(): string | undefined {
    return this.#failure
  }

  /** The last that came ends an answer, or one of several: the usage is all that is missing. */
  get isEnding(): boolean {
    return finishReason.test(this.#latest.toString('latin1'))
  }

  /** Those with something of the answer in them. */
  get events(): number {
    return this.#events
  }

  /** What is held back at the end of the stream: `[DONE]`, or an event without its blank line. */
  get tail(): Buffer {
    return this.#half.length > 0 ? Buffer.concat([this.#half, this.#done]) : this.#done
  }

  get tally(): StreamTally {
    const smallestEventBytes = Number.isFinite(this.#smallest) ? this.#smallest : 0
    return { events: this.#events, bytes: this.#bytes, smallestEventBytes }
  }

  /**
   * @returns the bytes that may go to the client now, often the very chunk that was given
   * @throws RangeError when an event is longer than `sseEventBytesMax`
   */
  push(chunk: Buffer): Buffer {
    const bytes = this.#half.length > 0 ? Buffer.concat([this.#half, chunk]) : chunk
    this.#half = nothing
    // In latin1, a character for each byte: what is looked for is ASCII, and in one pass it is found in half the time
    const isSpecial = special.test(bytes.toString('latin1'))
    const passed: Buffer[] = []
    let start = 0
    for (let end = eventEnd(bytes, 0); end > 0; end = eventEnd(bytes, end)) {
      const kind = isSpecial ? this.#lookInto(bytes.subarray(start, end)) : 'answer'
      if (kind === 'answer') this.#count(bytes, start, end)
      if (isSpecial && (kind === 'answer' || kind === 'error' || (kind === 'usage' && this.#passUsage)))
        passed.push(bytes.subarray(start, end))
      start = end
    }
    if (start > 0) this.#latest = bytes
    if (start < bytes.length) this.#keepHalf(bytes.subarray(start))
    if (isSpecial) return passed.length === 1 ? (passed[0] ?? nothing) : Buffer.concat(passed)
    return start === bytes.length ? bytes : bytes.subarray(0, start)
  }

  #keepHalf(rest: Buffer): void {
    if (rest.length > sseEventBytesMax) throw new RangeError(`an event is longer than ${sseEventBytesMax} bytes`)
    this.#half = rest
  }

  #count(bytes: Buffer, start: number, end: number): void {
    // A line that begins with a colon is a comment, sent to keep connections alive
    if (bytes[start] === colon) return
    this.#events += 1
    this.#bytes += end - start
    if (end - start < this.#smallest) this.#smallest = end - start
  }

  #lookInto(event: Buffer): 'answer' | 'usage' | 'error' | 'done' {
    const data = dataOf(event)
    if (data === doneMark) {
      this.#done = event
      return 'done'
    }
    if (!lookedFor.test(data)) return 'answer'
    const chunk = parse(data)
    if (isObject(chunk?.usage)) {
      this.#usage = chunk.usage
      this.#serviceTier = chunk.service_tier
    }
    if (isObject(chunk?.error)) {
      this.#failure = data
      return 'error'
    }
    return isObject(chunk?.usage) && Array.isArray(chunk.choices) && chunk.choices.length === 0 ? 'usage' : 'answer'
  }
}

/** Where the event that begins at or after `from` ends, its blank line included; 0 when it has not ended. */
function eventEnd(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(lf, from); at >= 0; at = bytes.indexOf(lf, at + 1)) {
    if (bytes[at + 1] === lf) return at + 2
    if (bytes[at + 1] === cr && bytes[at + 2] === lf) return at + 3
  }
  return 0
}

/** The data of an event, its lines joined, as the standard says. */
function dataOf(event: Buffer): string {
  const lines: string[] = []
  for (const line of event.toString('utf8').split(/\r?\n/)) {
    if (line.startsWith('data:')) lines.push(line.slice(line[5] === ' ' ? 6 : 5))
  }
  return lines.join('\n')
}

type Chunk = { readonly [Member in 'usage' | 'error' | 'service_tier' | 'choices']?: unknown }

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

function parse(data: string): Chunk | undefined {
  try {
    const parsed: unknown = JSON.parse(data)
    // An object is all that is assumed; its members are checked where they are used.
    return isObject(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}
