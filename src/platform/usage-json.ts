/** A page of usage as JSON, in pieces: most of what a large page costs is to write it. */
import type { UsageGroup, UsagePage } from '#storage/usage-pages.ts'
import { JsonBytes } from './json-bytes.ts'
import type { Bucket } from './usage-buckets.ts'
import type { ResultOf } from './usage-results.ts'

export type ShownPage = {
  readonly buckets: readonly Bucket[]
  readonly next: string | null
  readonly read: UsagePage
  readonly result: ResultOf
}

export function* pageJson({ buckets, next, read, result }: ShownPage): Generator<Buffer> {
  const out = new JsonBytes()
  const write = writerOf(result, read.groups)
  out.text('{"object":"page","data":[')
  for (const [index, { grid, start, end }] of buckets.entries()) {
    const about = `"object":"bucket","start_time":${start},"end_time":${end}`
    out.text(`${index === 0 ? '' : ','}{${about},"results":[`)
    let isFirst = true
    for (const { place, counts } of read.sumsOf(grid)) {
      if (!isFirst) out.raw(comma)
      isFirst = false
      write(out, place, result.numbers(counts))
      if (out.isFull) yield out.take()
    }
    out.text(']}')
  }
  out.text(`],"has_more":${next !== null},"next_page":${JSON.stringify(next)}}`)
  yield out.take()
}

const comma = Buffer.from(',')

type Write = (out: JsonBytes, place: number, numbers: Readonly<Record<string, number>>) => void

/** What stands before each number, and after the last one of a group, is the same in all buckets: it is encoded once. */
function writerOf({ object, around = {}, names }: ResultOf, groups: readonly UsageGroup[]): Write {
  const members: Buffer[] = []
  const ends: Buffer[] = []
  let after = `{"object":${JSON.stringify(object)}`
  const begin = (numbers: Readonly<Record<string, number>>): void => {
    for (const name of Object.keys(numbers)) {
      const [opening, closing] = around[name] ?? ['', '']
      members.push(Buffer.from(`${after},${JSON.stringify(name)}:${opening}`))
      after = closing
    }
  }
  return (out, place, numbers) => {
    if (members.length === 0) begin(numbers)
    let end = ends[place]
    if (end === undefined) {
      const group = groups[place]
      end = Buffer.from(group === undefined ? '}' : `${after},${JSON.stringify(names(group)).slice(1)}`)
      ends[place] = end
    }
    let index = 0
    // The fastest way through the members of an object that V8 knows
    for (const name in numbers) {
      out.raw(members[index] ?? comma)
      out.number(numbers[name] ?? 0)
      index += 1
    }
    out.raw(end)
  }
}
