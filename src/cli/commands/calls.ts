/** `keyhouse calls`: every call, newest first; one of them; and whether what is said in them is captured. */
import { type Command, InvalidArgumentError } from 'commander'
import type { z } from 'zod'
import type { call, callPayload } from '#contract/calls.ts'
import type { payloadCapture } from '#contract/payload-capture.ts'
import { count, dateTime, parseDuration, readUsd, usd } from '../amounts.ts'
import { wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { ofProject, type ProjectOption, projectPlace } from '../settings-place.ts'
import { details, path, show } from '../show.ts'
import { type Column, table } from '../table.ts'
import { note, print, printJson, safeText, type Terminal } from '../terminal.ts'
import type { Page } from '../wire.ts'

type Call = z.output<typeof call>
type Payload = z.output<typeof callPayload>
type Capture = z.output<typeof payloadCapture.retrieve.answer>

type ListOptions = {
  project?: string
  key?: string
  user?: string
  model?: string
  provider?: string
  endpoint?: string
  outcome?: string
  estimated?: true
  minCost?: string
  minMs?: string
  request?: string
  since?: string
  limit: number
  after?: string
}

const limitDefault = 50
const limitMax = 1_000
const pageMax = 100

export function define(command: Command, terminal: Terminal): void {
  const list = command
    .command('list')
    .description('calls, newest first')
    .option('--project <a,b>', 'only of these projects')
    .option('--key <a,b>', 'only with these keys, by id')
    .option('--user <a,b>', 'only of these people')
    .option('--model <a,b>', 'only of these models')
    .option('--provider <a,b>', 'only answered by these providers')
    .option('--endpoint <a,b>', 'as in chat.completions')
    .option('--outcome <a,b>', 'complete, client_left, upstream_cut, revoked, shutdown')
    .option('--estimated', 'only those whose tokens were estimated')
    .option('--min-cost <usd>', 'only those that cost so much or more')
    .option('--min-ms <ms>', 'only those that took so long or longer')
    .option('--request <id>', 'the one with this x-request-id')
    .option('--since <duration>', 'only those of that time, as in 24h or 7d')
    .option('--limit <n>', `at most so many, up to ${limitMax}`, readLimit, limitDefault)
    .option('--after <place>', 'older than this place: the next page')
  onServer(list, terminal, listCalls)
  const one = command.command('show').description('one call').argument('<request-id>', 'the x-request-id of its answer')
  onServer(one.option('--payload', 'what was said in it, where that is captured'), terminal, showCall)
  const capture = command.command('capture').description('whether what is said in calls of a project is kept')
  capture.argument('[state]', 'on, off, or delete: off, and gone what was kept; left out: how it is')
  ofProject(capture)
    .option('--days <n>', 'delete it after so many days, 1 to 90')
    .option('--max-bytes <n>', 'bytes kept of each request and of each answer')
  onServer(capture, terminal, setCapture)
}

function readLimit(text: string): number {
  const limit = /^\d+$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > limitMax) throw new InvalidArgumentError(`Give a number from 1 to ${limitMax}.`)
  return limit
}

const columns: readonly Column<Call>[] = [
  { title: 'when (UTC)', cell: ({ created_at }) => dateTime(created_at) },
  { title: 'request', cell: ({ request_id }) => request_id },
  { title: 'model', cell: ({ model }) => model },
  { title: 'key', cell: ({ api_key_id }) => api_key_id },
  { title: 'outcome', cell: ({ outcome, estimated }) => (estimated ? `${outcome}, estimated` : outcome) },
  { title: 'in', align: 'right', cell: ({ input_tokens }) => count(input_tokens) },
  { title: 'out', align: 'right', cell: ({ output_tokens }) => count(output_tokens) },
  { title: 'ms', align: 'right', cell: ({ duration_ms }) => count(duration_ms) },
  { title: 'cost', align: 'right', cell: ({ cost_usd }) => usd(readUsd(cost_usd)) },
]

const listCalls: Run<ListOptions> = async ({ client, terminal, options }) => {
  const query = queryOf(options, terminal.now())
  const data: Call[] = []
  let next: string | null = options.after ?? null
  do {
    const limit = Math.min(pageMax, options.limit - data.length)
    const page: Page<Call> = await client.get('/v1/organization/calls', { ...query, limit, after: next ?? undefined })
    data.push(...page.data)
    next = page.has_more ? (page.next ?? null) : null
    // A page may be short, or empty, and not be the last: the server looks no longer than a second for each
  } while (next !== null && data.length < options.limit)
  if (options.json) return void printJson(terminal, { object: 'list', data, has_more: next !== null, next })
  print(terminal, data.length === 0 ? 'No calls.' : table(terminal, columns, data))
  if (next !== null) note(terminal, `There are older ones: add --after ${next}`)
}

const queryOf = ({ since, minCost, minMs, request, ...options }: ListOptions, nowMs: number) => ({
  project_ids: options.project,
  api_key_ids: options.key,
  user_ids: options.user,
  models: options.model,
  providers: options.provider,
  endpoints: options.endpoint,
  outcomes: options.outcome,
  estimated: options.estimated === undefined ? undefined : 'true',
  min_cost_usd: minCost,
  min_duration_ms: minMs,
  request_id: request,
  start_time: since === undefined ? undefined : Math.floor(nowMs / 1000) - parseDuration(since),
})

const showCall: Run<{ payload?: true }> = async context => {
  const { client, options, words } = context
  const place = path`/v1/organization/calls/${words[0] ?? ''}`
  if (!options.payload) {
    const found = await client.get<Call>(place)
    return show(context, found, details(found))
  }
  const payload = await client.get<Payload>(`${place}/payload`)
  show(context, payload, `${said('request', payload.request)}\n\n${said('answer', payload.answer)}`)
}

const said = (title: string, { text, bytes, truncated }: Payload['request']): string =>
  `${title} (${count(bytes)} bytes${truncated ? ', cut' : ''})\n${text.split('\n').map(safeText).join('\n')}`

type CaptureOptions = ProjectOption & { days?: string; maxBytes?: string }

const setCapture: Run<CaptureOptions> = async context => {
  const { client, options, words } = context
  const [state] = words
  if (state !== undefined && !['on', 'off', 'delete'].includes(state)) throw wrongUsage('Write on, off or delete.')
  const { path: project, name } = await projectPlace(client, options.project)
  const place = `${project}/payload_capture`
  if (state === 'delete') {
    const deleted = await client.delete(place)
    return show(context, deleted, `Nothing is captured in ${name}, and what was captured is gone.`)
  }
  const body = {
    ...(state !== undefined && { enabled: state === 'on' }),
    ...(options.days !== undefined && { retention_days: whole(options.days, '--days') }),
    ...(options.maxBytes !== undefined && { max_bytes: whole(options.maxBytes, '--max-bytes') }),
  }
  const isAsked = Object.keys(body).length === 0
  const setting = isAsked ? await client.get<Capture>(place) : await client.post<Capture>(place, body)
  show(context, setting, sentence(setting, name))
}

function whole(text: string, option: string): number {
  if (!/^\d{1,9}$/.test(text)) throw wrongUsage(`${option} takes a whole number, got '${text}'.`)
  return Number(text)
}

const sentence = ({ enabled, retention_days, max_bytes }: Capture, name: string): string =>
  enabled
    ? `Calls of ${name} are captured: ${count(max_bytes)} bytes of each request and answer, for ${retention_days} days.`
    : `Nothing is captured in ${name}.`
