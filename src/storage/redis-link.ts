/**
 * One connection to Redis, from its opening to its first trouble: it is never mended, another one is opened. Every question
 * has a deadline; one that is late counts as not answered, though Redis may have done what it said.
 */
import { Redis } from 'ioredis'
import { within } from '#core/within.ts'
import { type Script, stayScript, takeScript, tellScript } from './redis-scripts.ts'

/** A Redis that takes longer than this is as good as away: ioredis's own `commandTimeout` would count against it that this node was busy. */
export const deadlineMs = 100
const connectMs = 1_000
/** Of counters that are told in one step; a node knows as many as it has seen in their period. */
const toldAtOnceMax = 200
/** Redis Cluster keeps what has the same braces in one place. */
const prefix = '{keyhouse-limits}:'

export type Correction = {
  readonly counter: string
  readonly limit: number
  /** 0: `slot` goes back. */
  readonly periodMs: number
  readonly delta: number
  readonly slot: string
}

export type RedisCharge = {
  readonly counter: string
  readonly limit: number
  readonly periodMs: number
  readonly cost: number
}

/** What a node knows of a counter: how long until it is full again, by both. */
export type Told = {
  readonly counter: string
  readonly limit: number
  readonly periodMs: number
  readonly share: number
  readonly knownMs: number
  readonly givenMs: number
  readonly amount: number
}

export type HeldSlot = { readonly counter: string; readonly slot: string }

export type TakeReply = {
  /** Redis's clock. */
  readonly atMs: number
  /** 0: all was taken; -1: this node is not a member; else which charge refuses, from 1. */
  readonly refused: number
  /** -1: never. */
  readonly waitMs: number
  readonly levels: readonly number[]
}

export type Asker = { readonly node: string; readonly count: number }

export class RedisLink {
  readonly #redis: Redis
  readonly #keys: readonly [string, string]
  #trips = 0

  private constructor(redis: Redis, runId: string) {
    this.#redis = redis
    this.#keys = [`${prefix}nodes:${runId}`, `${prefix}state:${runId}`]
  }

  /** @throws Error when Redis cannot be reached in time, or is none */
  static async open(url: string, onClose: (error: Error) => void): Promise<RedisLink> {
    const redis = new Redis(url, {
      lazyConnect: true,
      connectTimeout: connectMs,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      // Sent again, a charge would be charged twice
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
    })
    let failure = new Error('Redis closed the connection')
    redis.on('error', error => {
      failure = error
    })
    try {
      await inTime(redis.connect(), connectMs)
      const runId = /^run_id:(\w+)/m.exec(await inTime(redis.info('server')))?.[1]
      if (runId === undefined) throw new Error('what REDIS_URL names does not say its run_id: it is no Redis 7')
      const link = new RedisLink(redis, runId)
      redis.once('close', () => onClose(failure))
      if (redis.status !== 'ready') throw failure
      return link
    } catch (error) {
      redis.disconnect()
      throw error
    }
  }

  /** Questions that were asked, each of which is a round trip. */
  get trips(): number {
    return this.#trips
  }

  close(): void {
    this.#redis.removeAllListeners('close')
    this.#redis.disconnect()
  }

  /** Redis's clock in milliseconds since 2026: how far it is, at the least. */
  async time(): Promise<number> {
    const [seconds = '0', microseconds = '0'] = (await inTime(this.#redis.time())).map(String)
    return (Number(seconds) - 1_767_225_600) * 1_000 + Number(microseconds) / 1_000
  }

  async take(
    { node, count }: Asker,
    charges: readonly RedisCharge[],
    corrections: readonly Correction[],
    { slot, slotMs }: { readonly slot: string; readonly slotMs: number },
  ): Promise<TakeReply> {
    const args: (string | number)[] = [node, count, slot, slotMs, charges.length]
    for (const { limit, periodMs, cost } of charges) args.push(limit, periodMs, cost)
    for (const { limit, periodMs, delta, slot: freed } of corrections) args.push(limit, periodMs, delta, freed)
    const keys = [...charges, ...corrections].map(({ counter }) => counter)
    const [at = 0, refused = 0, wait = 0, ...levels] = await this.#run(takeScript, keys, args)
    return {
      atMs: at / 1_000,
      refused,
      waitMs: wait < 0 ? -1 : wait / 1_000,
      levels: levels.map((level, index) => (charges[index]?.periodMs === 0 ? level : level / 1_000)),
    }
  }

  async tell({ node, count }: Asker, all: readonly Told[]): Promise<void> {
    for (let from = 0; from < all.length; from += toldAtOnceMax) {
      const some = all.slice(from, from + toldAtOnceMax)
      const args = some.flatMap(({ limit, periodMs, share, knownMs, givenMs, amount }) => [
        limit,
        periodMs,
        share,
        knownMs,
        givenMs,
        amount,
      ])
      await this.#run(
        tellScript,
        some.map(({ counter }) => counter),
        [node, count, ...args],
      )
    }
  }

  /** @param till by Redis's clock. @returns whether this node is a member until then, and what that clock shows */
  async stay(
    { node, count }: Asker,
    { till, joins, slotMs }: { readonly till: number; readonly joins: boolean; readonly slotMs: number },
    slots: readonly HeldSlot[],
  ): Promise<{ readonly atMs: number; readonly member: boolean }> {
    const counters = [...new Set(slots.map(({ counter }) => counter))]
    // From 1, behind the two keys that every script has
    const held = slots.flatMap(({ counter, slot }) => [counters.indexOf(counter) + 3, slot])
    const [at = 0, member = 0] = await this.#run(stayScript, counters, [
      node,
      count,
      till,
      joins ? 1 : 0,
      slotMs,
      ...held,
    ])
    return { atMs: at / 1_000, member: member === 1 }
  }

  /** In good order: from now on the others leave this node its share, until they hear that there is one node less. */
  async leave(node: string): Promise<void> {
    await inTime(this.#redis.zrem(this.#keys[0], node))
  }

  async #run(script: Script, counters: readonly string[], args: readonly (string | number)[]): Promise<number[]> {
    const keys = [...this.#keys, ...counters.map(counter => prefix + counter)]
    this.#trips += 1
    try {
      // Each script answers whole numbers only
      return (await inTime(this.#redis.evalsha(script.sha, keys.length, ...keys, ...args))) as number[]
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      // A script that Redis does not have has done nothing
      return (await inTime(this.#redis.eval(script.text, keys.length, ...keys, ...args))) as number[]
    }
  }
}

const inTime = <Answer>(question: Promise<Answer>, ms: number = deadlineMs): Promise<Answer> => within(ms, question)
