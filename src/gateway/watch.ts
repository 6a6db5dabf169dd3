/** Keeps the grants fresh: polls on a timer, and sooner when the database notifies. Losing notifications costs nothing but time. */
import type { Trouble } from '#contract/troubles.ts'
import { authChannel } from '#storage/auth-events.ts'
import type { Database } from '#storage/database.ts'
import type { Grants } from './grants.ts'

export type Watch = { stop(): Promise<void> }

const reconnectMs = 1000

export async function watchGrants(database: Database, grants: Grants, pollMs: number, away: Trouble): Promise<Watch> {
  let stopped = false
  let listener: { end(): Promise<void> } | undefined
  let timer: NodeJS.Timeout | undefined
  let reconnect: NodeJS.Timeout | undefined

  const poll = async (): Promise<void> => {
    try {
      await grants.poll()
      away.over()
    } catch (error) {
      if (!stopped) away.began(error)
    }
  }
  const tick = async (): Promise<void> => {
    await poll()
    if (!stopped) timer = setTimeout(tick, pollMs)
  }
  const listen = async (): Promise<void> => {
    try {
      const client = await database.connect()
      listener = client
      client.on('notification', () => void poll())
      client.on('end', again)
      await client.query(`listen ${authChannel}`)
    } catch {
      // The poll reports a database that is away; here there is only to try again.
      again()
    }
  }
  const again = (): void => {
    if (stopped || reconnect) return
    reconnect = setTimeout(() => {
      reconnect = undefined
      void listen()
    }, reconnectMs)
  }

  await grants.poll()
  void tick()
  await listen()
  return {
    async stop() {
      stopped = true
      clearTimeout(timer)
      clearTimeout(reconnect)
      await listener?.end()
    },
  }
}
