/** What the server says of a key, and of the cheapest call of a model where one is named. */
import type { z } from 'zod'
import type { me } from '#contract/me.ts'
import { dateTime, duration } from '../amounts.ts'
import { safeText } from '../terminal.ts'
import { type Answered, askAt, memberOf, textOf } from './answer.ts'
import { type Check, ok, unknown, warning, wrong } from './check.ts'

export type Asking = {
  /** Ends in /v1. */
  readonly url: string
  readonly key: string
  /** Sent along as OpenAI's SDKs do, from OPENAI_ORG_ID and OPENAI_PROJECT_ID. */
  readonly organization: string | undefined
  readonly project: string | undefined
  readonly origin: string | undefined
  readonly model: string | undefined
}

export type Me = z.output<typeof me.retrieve.answer>

export async function askForKey(asking: Asking, nowMs: number): Promise<Check[]> {
  const answer = await askAt(`${asking.url}/me`, { headers: headersOf(asking) })
  if ('failure' in answer) return [wrong('server', answer.failure.reason, "See the server's log."), unknown('call')]
  if (answer.status !== 200) return [refusal('account', answer), unknown('call')]
  // The shape of its contract, from a server that has just shown to be a Keyhouse
  const key = answer.body as Me
  const about = [checkAccount(key), checkExpiry(key, nowMs), checkScopes(key), checkModels(key)]
  const checks = [...about, checkCredit(key), ...checkLimits(key)]
  const found = checks.filter(check => check !== undefined)
  if (asking.model === undefined) return found
  return [...found, await checkModel({ ...asking, model: asking.model })]
}

const headersOf = ({ key, organization, project, origin }: Asking): Record<string, string> => ({
  authorization: `Bearer ${key}`,
  ...(organization && { 'openai-organization': organization }),
  ...(project && { 'openai-project': project }),
  ...(origin && { origin }),
})

function checkAccount({ kind, redacted_value: redacted, project, organization, client_address: address }: Me): Check {
  if (kind === 'admin') {
    const mend = 'Use a project key: `keyhouse keys create`.'
    return wrong('account', `${redacted} is an admin key, which calls no models`, mend)
  }
  const where = `project ${project?.name} (${project?.id}) of ${organization.name} (${organization.id})`
  return ok('account', `${redacted}, a ${kind.replace('_', ' ')} key of ${where}, called from ${address}`)
}

const soonSeconds = 7 * 86_400

function checkExpiry({ expires_at: at, id }: Me, nowMs: number): Check | undefined {
  const left = at === null ? Number.POSITIVE_INFINITY : at - nowMs / 1000
  if (at === null || left > soonSeconds) return undefined
  return warning('expiry', `it expires in ${duration(left)}, at ${dateTime(at)} UTC`, `keyhouse keys rotate ${id}`)
}

function checkScopes({ effective_scopes: scopes, scopes: own, kind, owner }: Me): Check | undefined {
  if (kind === 'admin') return undefined
  const calls = scopes.filter(scope => scope === 'model.request' || scope.startsWith('model.request.'))
  if (calls.length > 0)
    return ok('scopes', calls.includes('model.request') ? 'may call models' : `may call ${calls.join(', ')}`)
  if (own.length === 0) {
    const who = owner?.name ?? 'its owner'
    return wrong(
      'scopes',
      `the roles of ${who} do not allow model.request`,
      'An owner gives them the role of a member.',
    )
  }
  return wrong(
    'scopes',
    `it has ${own.join(', ')}, and calls need model.request`,
    'An owner adds model.request to the key.',
  )
}

const modelsShownMax = 10

/** Not by itself wrong: only a call shows whether the caller wants another one. */
function checkModels({ allowed_models: own, model_permissions: ofProject }: Me): Check | undefined {
  const lists = [
    ...(own.length > 0 ? [`the key may call ${named(own)} and no others`] : []),
    ...(ofProject?.mode === 'allow_list' ? [`the project ${named(ofProject.model_ids)} and no others`] : []),
    ...(ofProject?.mode === 'deny_list' ? [`the project all but ${named(ofProject.model_ids)}`] : []),
  ]
  return lists.length === 0 ? undefined : ok('models', lists.join('; '))
}

function named(models: readonly string[]): string {
  const shown = models.slice(0, modelsShownMax).map(safeText)
  const rest = models.length - shown.length
  return shown.length === 0 ? 'none' : shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}

function checkCredit({ billing_active: active, credit_available: credit, organization, kind }: Me): Check | undefined {
  if (kind === 'admin') return undefined
  if (!active && kind !== 'test') {
    const add = `keyhouse credits add 10 --organization ${organization.id}`
    return wrong(
      'credit',
      `billing is not active: ${organization.name} never had any credit`,
      `The operator adds some: \`${add}\`.`,
    )
  }
  if (credit) return ok('credit', kind === 'test' ? 'test keys need none' : 'there is some')
  return wrong('credit', `${organization.name} has none left`, 'An owner adds some: `keyhouse credits add`.')
}

const limitNames = {
  key: "the key's budget",
  project: "the project's spend limit",
  organization: 'the spend limit, or the cap of the usage tier, of the organization',
}

const raises = {
  key: (key: Me) => `keyhouse keys budget set ${key.id} USD`,
  project: ({ project }: Me) => `keyhouse spend-limit set USD --project ${project?.id}`,
  organization: () => 'keyhouse spend-limit set USD',
}

/** Those that nothing is left of. */
function checkLimits(key: Me): Check[] {
  return key.spend_limits
    .filter(({ reached }) => reached)
    .map(({ where, period, limit_usd: limit, spent_usd: spent, resets_at: at }) => {
      const starts = at === null ? 'it does not start anew' : `it starts anew at ${dateTime(at)} UTC`
      const each = period === 'total' ? 'in all' : `a ${period}`
      const proof = `${limitNames[where]}, $${limit} ${each}, is reached: $${spent} is spent; ${starts}`
      return wrong('spending', proof, `An owner raises it: \`${raises[where](key)}\`.`)
    })
}

/** By code: the one step that mends it, where the server's own sentence does not name it. */
const mends: Readonly<Record<string, string>> = {
  invalid_api_key: 'Use a key that lives: `keyhouse keys create` makes one.',
  key_disabled: 'An owner enables it: `keyhouse keys enable`. Was it reported as leaked? Then create another.',
  key_asleep: 'Use the key that it backs up.',
  owner_inactive: 'An owner adds the person to the project again, or makes a key for a service account.',
  ip_not_authorized: 'Call from an allowed address, or have an owner add this one.',
  origin_not_authorized: 'Have an owner add this origin, or leave the Origin header out.',
  client_certificate_required: 'Configure the client with a certificate that an owner has issued.',
  client_certificate_invalid: 'Configure the client with a certificate that an owner has issued.',
  project_archived: 'Use a key of an active project.',
  mismatched_organization: 'Unset OPENAI_ORG_ID, or remove the OpenAI-Organization header.',
  mismatched_project: 'Unset OPENAI_PROJECT_ID, or remove the OpenAI-Project header.',
  missing_scope: 'An owner adds the scope that is named to the key.',
  model_not_found:
    'GET /v1/models lists what this key can call; an owner changes what the key or its project may call.',
  unsupported_model: 'Use the endpoint that is named.',
  model_price_missing: 'The operator sets a price: `keyhouse prices set`.',
  organization_spend_limit_exceeded: 'Lower max_tokens, or have an owner raise the limit: `keyhouse spend-limit set`.',
  organization_usage_limit_exceeded: 'Lower max_tokens, or have the operator move the organization to a higher tier.',
  project_spend_limit_exceeded:
    "Lower max_tokens, or have an owner raise the project's limit: `keyhouse spend-limit set`.",
  insufficient_quota: "Lower max_tokens, or have an owner raise the key's budget: `keyhouse keys budget set`.",
  credit_balance_exhausted: 'Lower max_tokens, or have an owner add credit: `keyhouse credits add`.',
  rate_limit_exceeded: 'Wait so long, or have an owner raise the limit that is named.',
  storage_unavailable: "Bring the server's database back; then send it again.",
}

function refusal(name: string, { status, headers, body }: Answered): Check {
  const error = memberOf(body, 'error')
  const code = textOf(error, 'code')
  const message = textOf(error, 'message') || `status ${status}`
  const waitMs = Number(headers.get('retry-after-ms') ?? Number.NaN)
  const wait = status === 429 && waitMs > 0 ? ` (free again in ${duration(Math.ceil(waitMs / 1000))})` : ''
  const proof = `${status}${code === '' ? '' : ` ${code}`}: ${message}${wait}`
  return wrong(name, proof, mends[code] ?? 'Do what that says; the log of the server says more.')
}

/** Costs one token of output, so it is made only for a model that was named. */
async function checkModel(asking: Asking & { model: string }): Promise<Check> {
  const chat = await call(asking, '/chat/completions', {
    messages: [{ role: 'user', content: 'hi' }],
    max_tokens: 1,
  })
  if (!('failure' in chat) && textOf(memberOf(chat.body, 'error'), 'code') === 'unsupported_model') {
    return told(asking.model, await call(asking, '/embeddings', { input: 'hi' }))
  }
  return told(asking.model, chat)
}

function call(asking: Asking, path: string, body: object): ReturnType<typeof askAt> {
  const headers = { ...headersOf(asking), 'content-type': 'application/json' }
  return askAt(asking.url + path, { method: 'POST', headers, body: JSON.stringify({ model: asking.model, ...body }) })
}

function told(model: string, answer: Awaited<ReturnType<typeof askAt>>): Check {
  if ('failure' in answer) return wrong('call', `${model}: ${answer.failure.reason}`, 'Try again; is its provider up?')
  return answer.status === 200 ? ok('call', `${model} answers`) : refusal('call', answer)
}
