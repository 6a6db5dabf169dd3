/**
 * What this node knows of the others: how many run, and what they need handed back. It says every two seconds that it runs
 * itself, and listens: for nodes that come and go, since the shares of rate limits depend on how many there are, and for recalls.
 * With others, it polls for recalls that listening missed.
 */
import type { Trouble } from '#contract/troubles.ts'
import { within } from '#core/within.ts'
import type { Database } from '#storage/database.ts'
import { newestRecall, recallsAfter } from '#storage/leases.ts'
import { announceChange, type Cluster, clusterChannel, heartbeat, leaveCluster } from '#storage/nodes.ts'
import { inRounds } from './in-rounds.ts'

export type ClusterLink = {
  /** As last heard. */
  current(): Cluster
  /** Says that this node stops, and that nothing of it is left behind. It says no more that it runs. */
  leave(): Promise<void>
  stop(): Promise<void>
}

type Listeners = {
  /** Another node needs what this one can spare of this scope's account. */
  recalled(scope: string): void
  /** This node was given up for lost: its leases are gone. */
  lost(): void
}

const beatEveryMs = 2_000
const pollEveryMs = 250
const beatMsMax = 2_000

export async function joinCluster(
  database: Database,
  node: { readonly id: string; readonly version: string },
  listeners: Listeners,
  unheard: Trouble,
): Promise<ClusterLink> {
  let cluster = alone
  let lastRecall = await newestRecall(database)
  let listening: { end(): Promise<void> } | undefined
  let stopped = false
  let timer: NodeJS.Timeout | undefined

  const readRecalls = async (): Promise<void> => {
    for (const { id, scope_id } of await within(beatMsMax, recallsAfter(database, lastRecall))) {
      lastRecall = id
      listeners.recalled(scope_id)
    }
  }
  const listen = async (): Promise<void> => {
    // It has a deadline of its own; with a shorter one, connections that come late would be nobody's to end
    const client = await database.connect()
    if (stopped || listening) return client.end()
    listening = client
    client.on('notification', ({ payload = '' }) => {
      if (payload === '') void beat().catch(ignoreUntilNextBeat)
      else listeners.recalled(payload)
    })
    client.on('end', () => {
      if (listening === client) listening = undefined
    })
    await within(beatMsMax, client.query(`listen ${clusterChannel}`)).catch(async error => {
      listening = undefined
      await within(beatMsMax, client.end())
      throw error
    })
  }
  const beatOnce = async (): Promise<void> => {
    if (stopped) return
    cluster = await within(beatMsMax, heartbeat(database, node.id, node.version))
    if (cluster.lost) listeners.lost()
    if (!listening && !stopped) await listen()
    unheard.over()
  }
  const beat = inRounds(beatOnce)
  const report = (error: unknown): void => {
    if (!stopped) unheard.began(error)
  }

  // It listens before it says that it runs, and announces itself even where it saw nobody: two that start at once do not see each other
  await listen().catch(report)
  cluster = await heartbeat(database, node.id, node.version)
  await announceChange(database)
  let beatAtMs = performance.now()
  const tick = async (): Promise<void> => {
    try {
      if (performance.now() - beatAtMs >= beatEveryMs) {
        beatAtMs = performance.now()
        await beat()
      }
      await readRecalls()
    } catch (error) {
      report(error)
    }
    if (!stopped) timer = setTimeout(tick, cluster.count > 1 ? pollEveryMs : beatEveryMs)
  }
  timer = setTimeout(tick, pollEveryMs)
  const stopBeats = (): void => {
    stopped = true
    clearTimeout(timer)
  }

  return {
    current: () => cluster,
    async leave() {
      // This node hears its own leaving too: a beat after it would bring the node back. The one under way is waited for
      stopBeats()
      await beat().catch(ignoreUntilNextBeat)
      await leaveCluster(database, node.id)
    },
    async stop() {
      stopBeats()
      await listening?.end()
    },
  }
}

const alone: Cluster = { count: 1, rank: 0, lost: false }

/** The regular beat reports a database that is away. */
const ignoreUntilNextBeat = (): void => undefined
