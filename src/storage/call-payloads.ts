/** What was said in calls, for projects that capture it: kept apart from usage, by day, and not for long. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { type Database, only, type Queryable, sql } from './database.ts'

export type CaptureSettings = {
  readonly enabled: boolean
  readonly retention_days: number
  /** Of a request, and of an answer. */
  readonly bytes_max: number
}

export async function readCapture(database: Queryable, project: ProjectId): Promise<CaptureSettings | undefined> {
  const text = 'select enabled, retention_days, bytes_max from payload_capture where project_id = $1'
  const [row] = await database.query<CaptureSettings>(sql(text), [project])
  return row
}

/** What is left out stays, or is the usual. */
export async function setCapture(
  tx: Queryable,
  project: ProjectId,
  given: Partial<CaptureSettings>,
  usual: CaptureSettings,
): Promise<CaptureSettings> {
  const text = `insert into payload_capture (project_id, enabled, retention_days, bytes_max)
      values ($1, coalesce($2::boolean, $5), coalesce($3::integer, $6), coalesce($4::integer, $7))
    on conflict (project_id) do update set enabled = coalesce($2::boolean, payload_capture.enabled),
      retention_days = coalesce($3::integer, payload_capture.retention_days),
      bytes_max = coalesce($4::integer, payload_capture.bytes_max),
      updated_at = now()
    returning enabled, retention_days, bytes_max`
  const { enabled = null, retention_days: days = null, bytes_max: bytes = null } = given
  const values = [project, enabled, days, bytes, usual.enabled, usual.retention_days, usual.bytes_max]
  return only(await tx.query<CaptureSettings>(sql(text), values))
}

/** From here on nobody sees what was captured; retention deletes it. */
export async function removeCapture(tx: Queryable, project: ProjectId): Promise<boolean> {
  const text = 'delete from payload_capture where project_id = $1 returning project_id'
  return (await tx.query(sql(text), [project])).length > 0
}

/** One call, its bytes as text already. `…Bytes` is how long it was, and `…Truncated` whether it was cut. */
export type CallPayload = {
  readonly requestId: string
  /** Milliseconds since 1970. */
  readonly capturedAtMs: number
  readonly projectId: string
  readonly request: string
  readonly requestBytes: number
  readonly requestTruncated: boolean
  readonly answer: string
  readonly answerBytes: number
  readonly answerTruncated: boolean
}

const columns = `request_id, captured_at, project_id, request, request_bytes, request_truncated, answer, answer_bytes,
  answer_truncated`
const insert = sql(`insert into call_payloads (${columns})
  select request_id, to_timestamp(captured_at), project_id, request, request_bytes, request_truncated, answer, answer_bytes,
    answer_truncated
  from unnest($1::text[], $2::float8[], $3::text[], $4::text[], $5::bigint[], $6::boolean[], $7::text[], $8::bigint[],
    $9::boolean[]) as p (${columns})
  on conflict do nothing`)

const dayMs = 86_400_000
const daysMade = new WeakMap<Database, Set<number>>()

export async function insertPayloads(database: Database, payloads: readonly CallPayload[]): Promise<void> {
  for (const day of new Set(payloads.map(({ capturedAtMs }) => Math.floor(capturedAtMs / dayMs)))) {
    await ensureDay(database, day)
  }
  await database.query(insert, [
    payloads.map(({ requestId }) => requestId),
    payloads.map(({ capturedAtMs }) => capturedAtMs / 1000),
    payloads.map(({ projectId }) => projectId),
    payloads.map(({ request }) => request),
    payloads.map(({ requestBytes }) => requestBytes),
    payloads.map(({ requestTruncated }) => requestTruncated),
    payloads.map(({ answer }) => answer),
    payloads.map(({ answerBytes }) => answerBytes),
    payloads.map(({ answerTruncated }) => answerTruncated),
  ])
}

async function ensureDay(database: Database, day: number): Promise<void> {
  const made = daysMade.get(database) ?? new Set()
  daysMade.set(database, made)
  if (made.has(day)) return
  const date = new Date(day * dayMs).toISOString().slice(0, 10)
  await database.query(sql('select ensure_payload_partition($1::date)'), [date])
  // One day a day: those of before are not asked for again
  made.clear()
  made.add(day)
}

export type PayloadRow = {
  readonly request_id: string
  readonly project_id: string
  readonly captured_at: Date
  readonly request: string
  readonly request_bytes: bigint
  readonly request_truncated: boolean
  readonly answer: string
  readonly answer_bytes: bigint
  readonly answer_truncated: boolean
}

/** Undefined too where its time is over, or its project captures nothing any more: whether or not it is deleted already. */
export async function findPayload(
  database: Queryable,
  organization: OrganizationId,
  requestId: string,
  now: Date,
): Promise<PayloadRow | undefined> {
  const text = `select p.request_id, p.project_id, p.captured_at, p.request, p.request_bytes,
      p.request_truncated, p.answer, p.answer_bytes, p.answer_truncated
    from call_payloads p join projects j on j.id = p.project_id join payload_capture c on c.project_id = p.project_id
    where p.request_id = $1 and j.organization_id = $2
      and p.captured_at >= $3::timestamptz - make_interval(days => c.retention_days)
    order by p.captured_at desc limit 1`
  const [row] = await database.query<PayloadRow>(sql(text), [requestId, organization, now])
  return row
}

/** Whether the project or its organization has chosen, by name, that nothing is kept. */
export async function keepsNothing(
  tx: Queryable,
  { project, organization }: { readonly project: ProjectId; readonly organization: OrganizationId },
): Promise<boolean> {
  const text = `select exists (select from data_retention where scope_id in ($1, $2)
    and retention_type in ('zero_data_retention', 'enhanced_zero_data_retention')) as nothing`
  return only(await tx.query<{ nothing: boolean }>(sql(text), [project, organization])).nothing
}
