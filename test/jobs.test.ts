// The table of jobs on a real PostgreSQL: who runs them, what each does once however many nodes there are, and what happens
// when the database goes away.
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LeaseId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { jobNames, jobOf } from '#platform/jobs/jobs.ts'
import { nextRunAt } from '#platform/jobs/schedule.ts'
import { openDatabase } from '#storage/database.ts'
import { startEmbeddedPostgres } from '#storage/embedded-postgres.ts'
import { askForJob } from '#storage/job-runs.ts'
import { growLease, type LeaseRequest } from '#storage/leases.ts'
import { migrate } from '#storage/migrate.ts'
import { startNode, testJobs, until } from './support/jobs.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform.stop())

const admin = (method: string, path: string, body?: unknown) =>
  platform.send(platform.first.adminKey, method, path, body)
const rows = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  platform.database.query<Row>({ text }, values)

describe('running', () => {
  test('without a node that runs them a job is not run, and the answer says what to do', async () => {
    const { status, json } = await admin('POST', '/v1/platform/jobs/clean-up/run', {})
    expect([status, json.error.message]).toEqual([409, expect.stringContaining('No node runs jobs')])
  })

  test('two nodes run the jobs that are asked for, each once, and the list shows how it went', async () => {
    const nodes = [await startNode(platform, 'node-a'), await startNode(platform, 'node-b')]
    try {
      for (const name of jobNames) {
        const { status, json } = await admin('POST', `/v1/platform/jobs/${name}/run`, {})
        expect([name, status, json.run?.outcome, json.run?.report]).toEqual([name, 200, 'done', expect.any(String)])
      }
      const asked = await rows<{ job: string; runs: bigint }>(
        'select job, count(*) as runs from job_runs where asked_id is not null group by 1',
      )
      expect(asked.map(({ job, runs }) => [job, runs]).sort()).toEqual(jobNames.map(name => [name, 1n]).sort())
      const { json } = await admin('GET', '/v1/platform/jobs')
      expect(json.data.map(({ name }: { name: string }) => name)).toEqual([...jobNames])
      for (const { last_run, next_run_at } of json.data) {
        expect(last_run).toMatchObject({ outcome: 'done', node_id: expect.stringMatching(/^node-[ab]$/) })
        expect(next_run_at).toBeGreaterThan(Date.now() / 1000)
      }
      expect(nodes.flatMap(({ ended }) => ended).length).toBeGreaterThanOrEqual(jobNames.length)
    } finally {
      for (const node of nodes) await node.stop()
    }
  })

  test('a job that fails is written down, counted, logged with what to do, and tried again', async () => {
    let tries = 0
    const node = await startNode(platform, 'node-f', {
      async applyRetention() {
        tries += 1
        if (tries === 1) throw new Error('the disk is on fire')
        return 'one day'
      },
    })
    try {
      await rows(`select graphile_worker.add_job('apply-retention', max_attempts => 3)`)
      await until(async () => node.ended.includes('apply-retention done'), 15_000)
      expect(node.ended.filter(end => end.startsWith('apply-retention'))).toEqual([
        'apply-retention failed',
        'apply-retention done',
      ])
      const runs = () =>
        rows<{ outcome: string; report: string }>(
          `select outcome, report from job_runs where job = 'apply-retention' and node_id = 'node-f' order by id desc`,
        )
      await until(async () => (await runs()).length === 2)
      expect(await runs()).toEqual([
        { outcome: 'done', report: 'one day' },
        { outcome: 'failed', report: 'the disk is on fire' },
      ])
      expect(await node.metrics()).toContain('keyhouse_job_runs_total{job="apply-retention",outcome="failed"} 1')
      expect(node.logged.find(line => line.includes('keyhouse jobs list'))).toContain('the disk is on fire')
    } finally {
      await node.stop()
    }
  })

  test('a job that always fails is given up until it is due again', async () => {
    const node = await startNode(platform, 'node-g', { applyRetention: () => Promise.reject(new Error('never')) })
    try {
      const { json } = await admin('POST', '/v1/platform/jobs/apply-retention/run', {})
      expect(json.run).toMatchObject({ outcome: 'failed', report: 'never' })
      await until(async () => {
        const [{ locked = 1n } = {}] = await rows<{ locked: bigint }>(
          'select count(*) as locked from graphile_worker._private_jobs where locked_at is not null',
        )
        return locked === 0n
      })
      expect(node.ended).toEqual(['apply-retention failed'])
    } finally {
      await node.stop()
    }
  })

  test('a job that runs every few seconds tells once that it fails, and once that it recovered', async () => {
    let tries = 0
    const node = await startNode(platform, 'node-q', {
      async rollUpUsage() {
        tries += 1
        if (tries < 4) throw new Error('not now')
        return 0
      },
    })
    try {
      await until(async () => tries >= 5, 30_000)
      const told = node.logged.filter(line => line.includes('job_failing') && line.includes('roll-up-usage'))
      const runs = await rows<{ outcome: string }>(
        `select outcome from job_runs where job = 'roll-up-usage' and node_id = 'node-q' and report <> 'nothing was due'`,
      )
      expect(told).toEqual([expect.stringContaining('not now'), expect.stringContaining('over: a job fails')])
      // The cron's own run each minute may come in between, and is written down as well
      expect(runs.length).toBeGreaterThanOrEqual(1)
      expect(runs.length).toBeLessThanOrEqual(2)
      expect(node.ended).toContain('roll-up-usage done')
    } finally {
      await node.stop()
    }
  }, 40_000)

  test('a job that nobody knows is not found', async () => {
    expect((await admin('POST', '/v1/platform/jobs/make-money/run', {})).status).toBe(404)
  })

  test('only the operator sees and runs jobs', async () => {
    const theirs = (method: string, path: string) =>
      platform.send(platform.other.adminKey, method, path, method === 'POST' ? {} : undefined)
    expect((await theirs('GET', '/v1/platform/jobs')).status).toBe(403)
    expect((await theirs('POST', '/v1/platform/jobs/clean-up/run')).status).toBe(403)
  })

  test('a worker whose connections were cut goes on by itself', async () => {
    const node = await startNode(platform, 'node-c')
    try {
      await rows(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'keyhouse-jobs'`)
      const { json } = await admin('POST', '/v1/platform/jobs/clean-up/run', {})
      expect(json.run).toMatchObject({ outcome: 'done', node_id: 'node-c' })
    } finally {
      await node.stop()
    }
  })

  test('a node that stops does not wait for ever for the job that it is in', async () => {
    let begun = false
    const node = await startNode(platform, 'node-s', {
      applyRetention() {
        begun = true
        return new Promise(() => undefined)
      },
    })
    await rows(`select graphile_worker.add_job('apply-retention', max_attempts => 1)`)
    await until(async () => begun)
    const startedAtMs = performance.now()
    await node.stop()
    expect(performance.now() - startedAtMs).toBeLessThan(20_000)
    await rows('delete from graphile_worker._private_jobs')
  })

  test('a database user that may make no schema stops the start with what to do', async () => {
    await rows(`create role lowly login`)
    await rows('drop schema graphile_worker cascade')
    const connection = { ...platform.connection, options: '-c role=lowly' }
    await expect(startNode({ connection }, 'node-l')).rejects.toThrow(/grant create on database/)
  })
})

test('every job says when it is due, and is due within a month', () => {
  const now = Date.UTC(2026, 10, 21, 4, 30, 10)
  for (const name of jobNames) {
    expect(nextRunAt(name, now).getTime()).toBeGreaterThan(now)
    expect(jobOf(name).about).toMatch(/^[A-Z].*\.$/)
  }
  expect(nextRunAt('expire-credit', now)).toEqual(new Date(Date.UTC(2026, 10, 21, 4, 31)))
  expect(nextRunAt('verify-ledger', now)).toEqual(new Date(Date.UTC(2026, 10, 21, 4, 40)))
  expect(nextRunAt('remind-of-rotations', now)).toEqual(new Date(Date.UTC(2026, 10, 21, 5, 7)))
})

/** Two nodes at the same moment, each with its own connections. */
async function onTwoNodes(name: (typeof jobNames)[number]): Promise<(string | null)[]> {
  const settings = {
    connection: platform.connection,
    connectionsMax: 2,
    connectTimeoutMs: 5_000,
    statementTimeoutMs: 5_000,
  }
  const databases = [1, 2].map(() => openDatabase(settings, () => undefined))
  try {
    const both = await Promise.all(databases.map(database => testJobs(database)))
    return await Promise.all(both.map(({ parts }) => jobOf(name).run({ ...parts, mailer: undefined })))
  } finally {
    for (const database of databases) await database.close()
  }
}

const grant = (id: string, kind: string, amount: number, expires: string | null = null) =>
  rows(
    `with posted as (select post_ledger('grant', $1, array['platform/funding', $2 || '/credit'], array[-$4::bigint, $4::bigint]))
     insert into credit_grants (id, organization_id, kind, amount_nano_usd, remaining_nano_usd, priority, expires_at, reference)
     select $1, $2, $3, $4, $4, 10, $5, $1 from posted`,
    [id, platform.other.organizationId, kind, amount, expires],
  )

const leaseCredit = (lease: string, node: string, amount: bigint) =>
  growLease(platform.database, {
    // As a node makes one up
    lease: lease as LeaseId,
    account: { kind: 'credit', organization: platform.other.organizationId },
    node,
    need: nanoUsd(amount),
    want: nanoUsd(amount),
    least: nanoUsd(amount),
  })

const creditOf = async (kind: string): Promise<bigint> => {
  const [row] = await rows<{ balance: bigint }>(
    'select balance_nano_usd as balance from ledger_accounts where id = $1',
    [`${platform.other.organizationId}/${kind}`],
  )
  return row?.balance ?? -1n
}

test('a database that goes away and comes back is worked on again; a node that stops meanwhile stops in time', async () => {
  const home = await mkdtemp(join(tmpdir(), 'kh-'))
  const socketDirectory = await mkdtemp(join(home, 'run-'))
  const start = () =>
    startEmbeddedPostgres({ directory: join(home, 'postgres'), socketDirectory, log: () => undefined })
  const first = await start()
  const { connection } = first
  const settings = { connection, connectionsMax: 2, connectTimeoutMs: 2_000, statementTimeoutMs: 2_000 }
  const database = openDatabase(settings, () => undefined)
  await migrate(database)
  const node = await startNode({ connection }, 'node-d')
  await first.stop()
  await new Promise(resolve => setTimeout(resolve, 5_000))
  const second = await start()
  await until(async () => {
    await askForJob(database, 'clean-up', randomUUID()).catch(() => false)
    await new Promise(resolve => setTimeout(resolve, 1_000))
    return node.ended.includes('clean-up done')
  }, 60_000)
  await second.stop()
  const stoppingAtMs = performance.now()
  await node.stop()
  expect(performance.now() - stoppingAtMs).toBeLessThan(20_000)
  await database.close()
  await rm(home, { recursive: true, force: true, maxRetries: 5 })
}, 90_000)

describe('each job', () => {
  test('credit whose time has come goes once; what is leased of it is asked back, and goes when it returns', async () => {
    await grant('cg_soon', 'promotional', 1_000, '2020-01-01')
    const { organizationId } = platform.other
    const lease = '00000000-0000-4000-8000-000000000001'
    await rows(`update credit_grants set expires_at = now() + interval '1 hour' where id = 'cg_soon'`)
    await leaseCredit(lease, 'node-x', 600n)
    await rows(`update credit_grants set expires_at = now() - interval '1 second' where id = 'cg_soon'`)
    await rows('delete from lease_recalls')
    await onTwoNodes('expire-credit')
    expect([await creditOf('credit'), await creditOf('leased')]).toEqual([0n, 600n])
    expect((await rows<{ scope_id: string }>('select distinct scope_id from lease_recalls'))[0]?.scope_id).toBe(
      organizationId,
    )
    await rows('select close_lease($1)', [lease])
    await onTwoNodes('expire-credit')
    expect([await creditOf('credit'), await creditOf('leased')]).toEqual([0n, 0n])
    const [{ ended } = { ended: 0n }] = await rows<{ ended: bigint }>(
      `select sum(amount_nano_usd)::bigint as ended from ledger_entries where account_id = 'platform/breakage'`,
    )
    expect(ended).toBe(1_000n)
  })

  test('what a node had leased comes back when it was not heard of for long, and only then', async () => {
    await grant('cg_lost', 'purchased', 1_000)
    const lease = (id: number, node: string) => leaseCredit(`00000000-0000-4000-8000-0000000001${id}0`, node, 100n)
    await rows(`insert into nodes (id, version, seen_at, left_at) values
      ('lost', '1', now() - interval '61 minutes', null), ('alive', '1', now() - interval '59 minutes', null),
      ('left', '1', now() - interval '3 hours', now() - interval '2 hours')`)
    for (const [index, node] of ['lost', 'alive', 'left', 'unknown'].entries()) await lease(index, node)
    await rows(`update leases set opened_at = now() - interval '5 hours' where node_id = 'unknown'`)
    await onTwoNodes('take-back-leases')
    expect(await creditOf('leased')).toBe(100n)
    const open = await rows<{ node_id: string }>('select node_id from leases where closed_at is null')
    expect(open.map(({ node_id }) => node_id)).toEqual(['alive'])
    const left = await rows<{ id: string }>('select id from nodes where left_at is not null order by id')
    expect(left.map(({ id }) => id)).toEqual(['left', 'lost'])
    await rows(`update nodes set seen_at = now() - interval '2 hours' where id = 'alive'`)
    await onTwoNodes('take-back-leases')
    expect(await creditOf('leased')).toBe(0n)
  })

  test('leases that were closed a month ago go, and what comes for one of them later is charged all the same', async () => {
    const { organizationId: organization } = platform.other
    const ids = ['old', 'new', 'open'].map((_, index) => `00000000-0000-4000-8000-0000000002${index}0`)
    for (const id of ids) await leaseCredit(id, 'alive', 100n)
    for (const id of ids.slice(0, 2)) await rows('select close_lease($1)', [id])
    const [old = '', , open = ''] = ids
    await rows(
      `update leases set opened_at = now() - interval '40 days', closed_at = now() - interval '31 days' where id = $1`,
      [old],
    )
    await rows(`update leases set opened_at = now() - interval '40 days' where id = $1`, [open])
    await onTwoNodes('clean-up')
    const left = await rows<{ id: string }>('select id from leases where id = any ($1) order by id', [ids])
    expect(left.map(({ id }) => id)).toEqual(ids.slice(1))

    // Its node hears that it is over, and begins another one
    const request = {
      account: { kind: 'credit', organization },
      node: 'alive',
      need: 10n,
      want: 10n,
      least: 10n,
    } as const
    const grown = await growLease(platform.database, { ...request, lease: old, movement: 1 } as unknown as LeaseRequest)
    expect(grown).toMatchObject({ closed: true, granted: 0n })
    const before = await creditOf('credit')
    const record = {
      id: randomUUID(),
      occurred_at: new Date(),
      organization_id: organization,
      project_id: platform.projectId,
      api_key_id: 'key_late',
      endpoint: 'chat.completions',
      model: 'm',
      outcome: 'complete',
      estimated: false,
      input_tokens: 1,
      cached_input_tokens: 0,
      output_tokens: 1,
      reasoning_tokens: 0,
      lease_id: old,
      charged_nano_usd: 60,
      overrun_nano_usd: 0,
      duration_ms: 1,
      request_id: 'req_late',
      provider: 'p',
      upstream_model: 'm',
    }
    await rows('select settle_usage($1)', [JSON.stringify([record])])
    expect(await creditOf('credit')).toBe(before - 60n)
    await rows('select close_lease($1)', [open])
  })

  test('rows that nobody reads go; of changes to keys enough stay for a node that wakes after days', async () => {
    await rows(`insert into auth_events (subject_kind, subject_id, created_at)
      select 'api_key', 'k' || i, now() - interval '2 days' from generate_series(1, 5000) i`)
    await rows(`update nodes set left_at = now() - interval '2 days'`)
    await rows('delete from lease_recalls')
    await rows(
      `insert into lease_recalls (scope_id, created_at) values ('a', now() - interval '2 minutes'), ('b', now())`,
    )
    await onTwoNodes('clean-up')
    const [{ kept } = { kept: 0n }] = await rows<{ kept: bigint }>('select count(*) as kept from auth_events')
    expect(kept).toBeGreaterThan(1_001n)
    expect(kept).toBeLessThan(2_100n)
    expect(await rows('select from nodes')).toEqual([])
    expect(await rows<{ scope_id: string }>('select scope_id from lease_recalls')).toEqual([{ scope_id: 'b' }])
  })

  test('a tier is raised by what was paid, less what was taken back; once, with an entry, and never by hand’s back', async () => {
    const { organizationId } = platform.other
    const tier = async () =>
      (
        await rows<{ usage_tier: string; cap: bigint }>(
          'select usage_tier, usage_cap_nano_usd as cap from organizations where id = $1',
          [organizationId],
        )
      )[0]
    const usd = (amount: number): number => amount * 1e9
    await onTwoNodes('promote-usage-tiers')
    expect(await tier()).toEqual({ usage_tier: null, cap: null })
    await rows(`update organizations set usage_tier = 'free' where id = $1`, [organizationId])
    await grant('cg_back', 'purchased', usd(100))
    await rows(`select revoke_credit('cg_back')`)
    await grant('cg_gift', 'promotional', usd(5_000))
    await onTwoNodes('promote-usage-tiers')
    expect((await tier())?.usage_tier).toBe('free')
    await grant('cg_paid', 'purchased', usd(60))
    await onTwoNodes('promote-usage-tiers')
    expect(await tier()).toEqual({ usage_tier: '2', cap: 500_000_000_000n })
    const entries = await rows<{ entry: string; actor_kind: string }>(
      `select entry, actor_kind from audit_logs where organization_id = $1 and type = 'organization.updated'`,
      [organizationId],
    )
    expect(entries.map(({ actor_kind }) => actor_kind)).toEqual(['system'])
    expect(JSON.parse(entries[0]?.entry ?? '')).toMatchObject({
      actor: { type: 'system', system: { job: 'promote-usage-tiers' } },
      'organization.updated': { changes_requested: { usage_tier: { from: 'free', to: '2', paid_usd: '60.000001' } } },
    })
    const theirs = await platform.send(platform.other.adminKey, 'GET', '/v1/organization/audit_logs')
    expect(theirs.json.data[0].actor.type).toBe('system')
    await rows(`update organizations set usage_tier = '1', usage_tier_by_hand = true where id = $1`, [organizationId])
    await onTwoNodes('promote-usage-tiers')
    expect((await tier())?.usage_tier).toBe('1')
  })

  test('client secrets go a day after their end, but not while something counts on them', async () => {
    const { projectId, organizationId } = platform.other
    await rows(
      `insert into api_keys (id, kind, organization_id, project_id, name, secret_hash, pepper_id, redacted, expires_at, minted_by, last_used_at)
       select id, 'project', $1, $2, id, convert_to(id, 'UTF8'), 'p', 'sk-…', e, m, u from (values
         ('minter', null::timestamptz, null, null::timestamptz),
         ('fresh', now() - interval '23 hours', 'minter', null),
         ('old', now() - interval '25 hours', 'minter', null),
         ('used', now() - interval '25 hours', 'minter', now() - interval '26 hours'),
         ('leaked', now() - interval '25 hours', 'minter', null)) as k (id, e, m, u)`,
      [organizationId, projectId],
    )
    await rows(`insert into leak_reports (id, api_key_id, source, was_live) values ('leak_1', 'leaked', 'x', true)`)
    await onTwoNodes('delete-client-secrets')
    const left = await rows<{ id: string }>(
      `select id from api_keys where id in ('minter', 'fresh', 'old', 'used', 'leaked') order by id`,
    )
    expect(left.map(({ id }) => id)).toEqual(['fresh', 'leaked', 'minter', 'used'])
  })

  test('owners are reminded of a rotation at each step once', async () => {
    const { organizationId, projectId } = platform.other
    await rows(`update users set email = 'owner@example.com' where organization_id = $1`, [organizationId])
    const due = (time: string) =>
      rows(`update api_keys set rotate_next_at = now() + $1::interval where id = 'minter'`, [time])
    const subjects = async () =>
      (
        await rows<{ subject: string }>(`select subject from mails where kind = 'rotation_due' order by created_at, id`)
      ).map(({ subject }) => subject)
    expect(projectId).not.toBe('')
    await due('8 days')
    await onTwoNodes('remind-of-rotations')
    expect(await subjects()).toEqual([])
    await rows(`update api_keys set name = E'my\\nkey' where id = 'minter'`)
    const [{ at } = { at: new Date() }] = await rows<{ at: Date }>(`select now() + interval '6 days 23 hours' as at`)
    await rows(`update api_keys set rotate_next_at = $1 where id = 'minter'`, [at])
    await onTwoNodes('remind-of-rotations')
    await onTwoNodes('remind-of-rotations')
    expect(await subjects()).toEqual(['The API key my key is to be rotated within 7 days'])
    await due('-1 minute')
    await onTwoNodes('remind-of-rotations')
    await onTwoNodes('remind-of-rotations')
    expect((await subjects()).at(-1)).toBe('Rotate the API key my key now')
    expect(await subjects()).toHaveLength(2)
  })
})
