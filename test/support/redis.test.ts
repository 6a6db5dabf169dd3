import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { startRedis } from './redis.ts'
import { has } from './system.ts'

async function ask<Answer>(url: string, question: (redis: Redis) => Promise<Answer>): Promise<Answer> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 2_000 })
  // Said by the promises too.
  redis.on('error', () => undefined)
  try {
    await redis.connect()
    return await question(redis)
  } finally {
    redis.disconnect()
  }
}

describe.runIf(has('redis'))('the Redis of the tests', () => {
  test.for([
    { persistent: false, left: null },
    { persistent: true, left: 'kept' },
  ])('comes back on its port after SIGKILL, persistent: $persistent', async ({ persistent, left }) => {
    const redis = await startRedis({ persistent })
    try {
      await ask(redis.url, client => client.set('name', 'kept'))
      await redis.kill()
      await expect(ask(redis.url, client => client.ping())).rejects.toThrow()
      await redis.start()
      expect(await ask(redis.url, client => client.get('name'))).toBe(left)
    } finally {
      await redis.stop()
    }
  })
})
