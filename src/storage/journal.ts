/**
 * The usage journal: what was used is on this node's disk before the last byte of the answer leaves, and stays there
 * until the database has it.
 *
 * Records stand in numbered segment files (see journal-segment.ts). Appends are grouped: all that arrives while one write is
 * under way, and shortly after one that several shared, goes out with the next. Each write is durable when it returns. The
 * database takes records by event id, so replaying too much is harmless.
 *
 * It never drops a record, and it never grows past `bytesMax`: then `refusal` says why, and no new call is admitted.
 */
import { mkdir, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Trouble } from '#contract/troubles.ts'
import { encodeRecord, readSegment, Segment } from './journal-segment.ts'

export type JournalSettings = {
  readonly directory: string
  /** A segment that is longer than this is closed and a new one begun. */
  readonly segmentBytesMax: number
  /** All segments together. */
  readonly bytesMax: number
}

/** Takes records to where they are kept for good. May be given the same records again. */
export type JournalSink = (records: readonly string[]) => Promise<void>

export type JournalTroubles = {
  /** The disk refuses. */
  readonly unwritable: Trouble
  /** The database takes nothing. */
  readonly undelivered: Trouble
  onError(message: string, error: unknown): void
}

export type JournalReport = {
  /** Why no new call may be admitted, or undefined. */
  readonly refusal: string | undefined
  readonly waiting: number
  readonly bytes: number
  readonly lastSinkError: string | undefined
}

type Append = { readonly line: string; readonly json: string; done(): void; failed(error: unknown): void }
type Waiting = { readonly json: string; readonly segment: Segment }

/** How many records one delivery carries at most. */
const batchMax = 2000
/** Between deliveries, so that a quiet node sends small batches and a busy one large ones. */
const deliverEveryMs = 100
/** How long records are gathered after a write that several shared: a write costs much, and a longer one hardly more. */
const gatherMs = 2
/** A disk that refused is tried again this often. */
const probeEveryMs = 500
const retryMsMin = 200
const retryMsMax = 5_000

export class Journal {
  readonly #settings: JournalSettings
  readonly #sink: JournalSink
  readonly #troubles: JournalTroubles
  readonly #segments: Segment[] = []
  /** The one after the last, made ahead so that no call waits for it. */
  #nextSegment: Promise<Segment> | undefined
  #nextNumber = 1
  #appends: Append[] = []
  #writing: Promise<void> | undefined
  #waiting: Waiting[] = []
  #delivering: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #probe: NodeJS.Timeout | undefined
  #retryMs = retryMsMin
  #writeError: string | undefined
  #sinkError: string | undefined
  #closed = false

  private constructor(settings: JournalSettings, sink: JournalSink, troubles: JournalTroubles) {
    this.#settings = settings
    this.#sink = sink
    this.#troubles = troubles
  }

  /** Opens the directory and takes up what an earlier run left there, to be delivered first. */
  static async open(settings: JournalSettings, sink: JournalSink, troubles: JournalTroubles): Promise<Journal> {
    const journal = new Journal(settings, sink, troubles)
    await mkdir(settings.directory, { recursive: true, mode: 0o700 })
    await journal.#takeUp()
    await journal.#beginSegment()
    return journal
  }

  report(): JournalReport {
    return {
      refusal: this.#refusal(),
      waiting: this.#waiting.length,
      bytes: this.#bytes(),
      lastSinkError: this.#sinkError,
    }
  }

  /** Undefined while new calls may be admitted. */
  get refusal(): string | undefined {
    return this.#writeError ?? (this.#bytes() > this.#settings.bytesMax ? this.#refusal() : undefined)
  }

  /**
   * Resolves when the record is durable on this disk.
   * @throws Error when the disk refuses; the record is then not in the journal, and the caller keeps its hold.
   */
  append(record: object): Promise<void> {
    const json = JSON.stringify(record)
    return new Promise((resolve, reject) => {
      this.#appends.push({ line: encodeRecord(json), json, done: resolve, failed: reject })
      this.#writing ??= this.#writeAll()
    })
  }

  /**
   * Delivers all that is waiting; resolves when the database has it. Fails when the deadline passes first, or when nothing
   * arrives for `silenceMs`.
   */
  async flush(deadlineMs: number, silenceMs: number = deadlineMs): Promise<void> {
    const deadline = performance.now() + deadlineMs
    let [waiting, silentAfter] = [this.#waiting.length, performance.now() + silenceMs]
    while (this.#appends.length > 0 || this.#writing || this.#waiting.length > 0) {
      if (this.#waiting.length < waiting) silentAfter = performance.now() + silenceMs
      waiting = this.#waiting.length
      const leftMs = Math.min(deadline, silentAfter) - performance.now()
      if (leftMs <= 0)
        throw new Error(`${waiting} usage records still wait in the journal: ${this.#sinkError ?? 'too slow'}`)
      await this.#deliverWithin(leftMs)
    }
  }

  async #deliverWithin(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => {
      timer = setTimeout(resolve, ms)
    })
    await Promise.race([this.#deliverAll(), late])
    clearTimeout(timer)
  }

  async #deliverAll(): Promise<void> {
    await this.#writing
    await this.#deliver()
    if (this.#sinkError) await new Promise(resolve => setTimeout(resolve, retryMsMin))
  }

  /** Closes the file. What was not delivered stays on the disk for the next start. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#probe)
    await this.#writing
    await this.#delivering
    await this.#segments.at(-1)?.close()
    await this.#dropDelivered(true)
    const unused = await this.#nextSegment?.catch(() => undefined)
    await unused?.close()
    await unused?.delete()
  }

  #refusal(): string | undefined {
    if (this.#writeError) return this.#writeError
    const bytes = this.#bytes()
    if (bytes <= this.#settings.bytesMax) return undefined
    return `${bytes} bytes of usage wait for the database: ${this.#sinkError ?? 'it is slower than the calls'}`
  }

  #bytes(): number {
    let bytes = 0
    for (const segment of this.#segments) bytes += segment.bytes
    return bytes
  }

  async #takeUp(): Promise<void> {
    const names = (await readdir(this.#settings.directory)).filter(name => /^\d{10}\.log$/.test(name)).sort()
    for (const name of names) {
      const path = join(this.#settings.directory, name)
      this.#nextNumber = Number.parseInt(name, 10) + 1
      const { records, damaged, bytes } = await readSegment(path)
      if (damaged > 0) await this.#keepDamaged(path, damaged)
      const segment = new Segment(path, damaged > 0 ? 0 : bytes)
      segment.waiting = records.length
      this.#segments.push(segment)
      for (const json of records) this.#waiting.push({ json, segment })
    }
    this.#scheduleDelivery(0)
  }

  /** A line that does not match its checksum, with more after it, is damage: kept aside for a person, never deleted. */
  async #keepDamaged(path: string, lines: number): Promise<void> {
    const aside = `${path}.damaged`
    await rename(path, aside)
    this.#troubles.onError(
      `${lines} lines of the usage journal are damaged: those calls are not charged, all others are. Was the disk at fault? The file is kept as ${aside}`,
      undefined,
    )
  }

  async #beginSegment(): Promise<void> {
    const making = this.#nextSegment ?? this.#makeSegment()
    this.#nextSegment = undefined
    const segment = await making
    await this.#segments.at(-1)?.close()
    this.#segments.push(segment)
  }

  #makeSegment(): Promise<Segment> {
    const path = join(this.#settings.directory, `${String(this.#nextNumber).padStart(10, '0')}.log`)
    this.#nextNumber += 1
    return Segment.make(path, this.#settings.segmentBytesMax)
  }

  async #writeAll(): Promise<void> {
    while (this.#appends.length > 0) {
      const group = this.#appends
      this.#appends = []
      await this.#writeGroup(group)
      // Here, not after the loop: under load that comes to no end
      this.#scheduleDelivery(deliverEveryMs)
      // One alone never keeps the next waiting; where several came together, more are likely to follow
      if (group.length > 1 && !this.#closed) await new Promise(resolve => setTimeout(resolve, gatherMs))
    }
    this.#writing = undefined
    if (this.#writeError) this.#scheduleProbe()
  }

  async #writeGroup(group: readonly Append[]): Promise<void> {
    try {
      const segment = await this.#write(group)
      for (const { json, done } of group) {
        segment.waiting += 1
        this.#waiting.push({ json, segment })
        done()
      }
      this.#takesWrites()
    } catch (error) {
      this.#writeError = `the journal cannot be written: ${error instanceof Error ? error.message : error}`
      this.#troubles.unwritable.began(error)
      for (const { failed } of group) failed(error)
    }
  }

  /** While the disk refuses, no call is admitted whose record could find out that it has room again. */
  #scheduleProbe(): void {
    if (this.#probe || this.#closed) return
    this.#probe = setTimeout(() => {
      this.#probe = undefined
      this.#writing ??= this.#probeDisk().then(() => this.#writeAll())
    }, probeEveryMs)
  }

  async #probeDisk(): Promise<void> {
    if (await this.#segments.at(-1)?.takesWrites()) this.#takesWrites()
  }

  #takesWrites(): void {
    this.#writeError = undefined
    this.#troubles.unwritable.over()
  }

  async #write(group: readonly Append[]): Promise<Segment> {
    const { segmentBytesMax } = this.#settings
    if ((this.#segments.at(-1)?.bytes ?? 0) > segmentBytesMax) await this.#beginSegment()
    const segment = this.#segments.at(-1)
    if (!segment) throw new Error('the journal is closed')
    await segment.write(group.length === 1 ? (group[0]?.line ?? '') : group.map(({ line }) => line).join(''))
    if (segment.bytes > segmentBytesMax / 2 && !this.#nextSegment) {
      this.#nextSegment = this.#makeSegment()
      // Whoever needs it hears of it
      this.#nextSegment.catch(() => undefined)
    }
    return segment
  }

  #scheduleDelivery(afterMs: number): void {
    if (this.#timer || this.#delivering || this.#closed || this.#waiting.length === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      void this.#deliver()
    }, afterMs)
  }

  #deliver(): Promise<void> {
    this.#delivering ??= this.#deliverBatch().finally(() => {
      this.#delivering = undefined
      this.#scheduleDelivery(this.#sinkError ? this.#retryMs : this.#waiting.length >= batchMax ? 0 : deliverEveryMs)
    })
    return this.#delivering
  }

  async #deliverBatch(): Promise<void> {
    const batch = this.#waiting.slice(0, batchMax)
    if (batch.length === 0) return
    try {
      await this.#sink(batch.map(waiting => waiting.json))
    } catch (error) {
      this.#retryMs = this.#sinkError ? Math.min(this.#retryMs * 2, retryMsMax) : retryMsMin
      this.#troubles.undelivered.began(error)
      this.#sinkError = error instanceof Error ? error.message : String(error)
      return
    }
    this.#sinkError = undefined
    this.#troubles.undelivered.over()
    this.#waiting = this.#waiting.slice(batch.length)
    for (const { segment } of batch) segment.waiting -= 1
    await this.#dropDelivered(false)
  }

  /** Deletes the segments that the database has whole; the one being written stays, unless we are closing. */
  async #dropDelivered(closing: boolean): Promise<void> {
    while (this.#segments.length > (closing ? 0 : 1) && this.#segments[0]?.waiting === 0) {
      const segment = this.#segments.shift()
      await segment?.delete()
    }
  }
}
