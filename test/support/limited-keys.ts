/** An organization in which every kind of account applies: credit, spend limits of both kinds, and budgets of keys. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from './cluster.ts'
import { admin } from './keyhouse.ts'

export type Installation = { readonly url: string; readonly adminKey: string; readonly projectKey: string }

const readyMsMax = 10_000
const readyLookEveryMs = 20

/** @returns keys of one project: without a budget, with one that lasts, and with one that is soon used up */
export async function prepareMoney(installation: Installation, upstreamUrl: string): Promise<string[]> {
  const ask = <Answer>(method: string, path: string, body?: unknown): Promise<Answer> =>
    admin<Answer>(installation, installation.adminKey, method, path, body)
  await ask('POST', '/v1/platform/providers', {
    name: 'upstream',
    base_url: `${upstreamUrl}/v1`,
    api_key: 'sk-upstream-secret',
    models: [{ name: 'm', kind: 'chat', input_usd_per_million: '3', output_usd_per_million: '15' }],
  })
  const { data } = await ask<{ data: { id: string }[] }>('GET', '/v1/organization/projects')
  const project = `/v1/organization/projects/${data[0]?.id}`
  const monthly = { currency: 'USD', interval: 'month' }
  await ask('POST', '/v1/organization/spend_limit', { threshold_amount: 9_000, ...monthly })
  await ask('POST', `${project}/spend_limit`, { threshold_amount: 8_000, ...monthly })
  const newKey = async (limit_usd: string, period: string): Promise<string> => {
    const body = { name: `${limit_usd} a ${period}`, budget: { limit_usd, period } }
    return (await ask<{ value: string }>('POST', `${project}/api_keys`, body)).value
  }
  const keys = [installation.projectKey, await newKey('50', 'day'), await newKey('0.5', 'total')]
  await modelIsThere(installation.url, installation.projectKey)
  return keys
}

/** A node hears of a new model at its next poll. */
export async function modelIsThere(url: string, key: string): Promise<void> {
  for (const deadline = performance.now() + readyMsMax; ; await sleep(readyLookEveryMs)) {
    const response = await fetch(`${url}/v1/models/m`, {
      headers: { authorization: `Bearer ${key}` },
      signal: AbortSignal.timeout(readyMsMax),
    })
    await response.arrayBuffer()
    if (response.ok) return
    if (performance.now() > deadline) throw new Error(`${url} does not know the model: ${response.status}`)
  }
}

/** As the Administration API takes them. */
export type KeyLimits = Readonly<Record<string, number>>
export type NewKey = { readonly value: string; readonly path: string }

/** A key of the default project, with rate limits of its own on the model `m`. @param through the node that is asked */
export async function newLimitedKey(cluster: Cluster, limits?: KeyLimits, through = 0): Promise<NewKey> {
  const { data } = await cluster.admin<{ data: { id: string }[] }>(
    'GET',
    '/v1/organization/projects',
    undefined,
    through,
  )
  const keys = `/v1/organization/projects/${data[0]?.id}/api_keys`
  const { id, value } = await cluster.admin<{ id: string; value: string }>('POST', keys, { name: 'limited' }, through)
  const path = `${keys}/${id}`
  if (limits) await cluster.admin('POST', `${path}/rate_limits/rl-m`, limits, through)
  return { value, path }
}
