/** Nodes that are started at the same moment on an empty database find it as one installation: made once, by one of them. */
import { afterEach, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { type Cluster, startCluster } from './support/cluster.ts'

let cluster: Cluster | undefined

afterEach(async () => {
  await cluster?.stop()
  cluster = undefined
})

const rounds = 3
const firstCreditNanoUsd = 100_000_000_000n

test('nodes that start at once on an empty database make one installation, and one of them shows its keys', async () => {
  for (let round = 0; round < rounds; round += 1) {
    cluster = await startCluster({ nodes: 4 })
    expect(cluster.nodes.filter(({ keys }) => keys)).toHaveLength(1)
    await expectOneInstallation(cluster)
    await expectKeyWorksEverywhere(cluster)
    for (const node of cluster.nodes) expect(node.output()).not.toMatch(/"level":(50|60)/)
    await cluster.stop()
    cluster = undefined
  }
}, 120_000)

test('a node that is killed and started again finds its installation, and shows no keys a second time', async () => {
  cluster = await startCluster({ nodes: 2 })
  await cluster.node(1).kill()
  const again = await cluster.start(1)
  expect(again.keys).toBeUndefined()
  await expectOneInstallation(cluster)
  await expectKeyWorksEverywhere(cluster)
}, 60_000)

async function expectOneInstallation({ home }: Cluster): Promise<void> {
  const books = await Books.open(home)
  const [counts] = await books.query(
    `select (select count(*) from organizations) as organizations, (select count(*) from users) as users,
       (select count(*) from projects) as projects, (select count(*) from providers) as providers,
       (select count(*) from api_keys where kind in ('project', 'test')) as keys,
       (select count(*) - count(distinct model) from prices) as priced_twice,
       (select count(*) from schema_migrations) = (select max(number) from schema_migrations) as migrated`,
  )
  const { granted } = await books.totals()
  await books.close()
  expect(granted).toBe(firstCreditNanoUsd)
  expect(counts).toEqual({
    organizations: 1n,
    users: 1n,
    projects: 1n,
    providers: 2n,
    keys: 2n,
    priced_twice: 0n,
    migrated: true,
  })
}

async function expectKeyWorksEverywhere({ nodes, keys }: Cluster): Promise<void> {
  for (const { url } of nodes) {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.test}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'keyhouse-test-chat', messages: [{ role: 'user', content: 'hello' }] }),
      signal: AbortSignal.timeout(10_000),
    })
    expect(response.status, await response.text()).toBe(200)
  }
}
