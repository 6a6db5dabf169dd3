import { closeLease, leasesOfLostNodes, markLostNodes } from '#storage/lost-nodes.ts'
import type { Job } from './job.ts'

export const takeBackLeases: Job = {
  about: 'Takes back what nodes have leased that were not heard of for lost-node-minutes.',
  cron: '* * * * *',
  async run({ database, lostNodeMinutes, log }) {
    const leases = await leasesOfLostNodes(database, lostNodeMinutes)
    // First: a node that wakes just now must not go on with what is being taken from it
    const nodes = await markLostNodes(database, lostNodeMinutes)
    for (const { id } of leases) await closeLease(database, id)
    if (leases.length === 0 && nodes.length === 0) return null
    const owners = [...new Set([...leases.map(({ node }) => node), ...nodes])]
    log.warn(
      { nodes: owners, leases: leases.length },
      'nodes were given up for lost: what they had leased was taken back',
    )
    return `${leases.length} leases of the nodes ${owners.join(', ')}`
  },
}
