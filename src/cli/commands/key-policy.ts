/** `keyhouse key-policy`: what holds for every key of the organization, or of one project. */
import type { Command } from 'commander'
import { duration, parseDuration } from '../amounts.ts'
import { wrongUsage } from '../exit.ts'
import { addListOptions, type KeyOptions, listBody } from '../key-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show } from '../show.ts'
import type { Terminal } from '../terminal.ts'
import type { KeyPolicy } from '../wire.ts'

type OfProject = { project?: string }
type Wanted = OfProject & Pick<KeyOptions, 'cidr' | 'origin'> & { lifetimeMax?: string; serviceAccountsOnly?: string }

export function define(command: Command, terminal: Terminal): void {
  const verb = (name: string, about: string): Command =>
    command
      .command(name)
      .description(about)
      .option('--project <id>', 'of this project; of the organization when not given')
  onServer(verb('show', 'the policy in force'), terminal, showPolicy)
  const set = addListOptions(verb('set', 'change the policy: what is not given stays'))
    .option('--lifetime-max <duration>', 'the longest that a new key may live, as in 90d; "forever" for no bound')
    .option('--service-accounts-only <on|off>', 'whether only service accounts get new keys')
  onServer(set, terminal, setPolicy)
}

const policyOf = ({ project }: OfProject): string =>
  project === undefined ? '/v1/organization/key_policy' : path`/v1/organization/projects/${project}/key_policy`

const showPolicy: Run<OfProject> = async context => {
  const policy = await context.client.get<KeyPolicy>(policyOf(context.options))
  show(context, policy, sentences(policy))
}

const setPolicy: Run<Wanted> = async context => {
  const { client, options } = context
  const { lifetimeMax, serviceAccountsOnly } = options
  const body = {
    ...listBody(options),
    key_lifetime_seconds_max: lifetimeMax === undefined ? undefined : lifetimeIn(lifetimeMax),
    service_accounts_only: serviceAccountsOnly === undefined ? undefined : isOn(serviceAccountsOnly),
  }
  if (Object.values(body).every(member => member === undefined))
    throw wrongUsage('Nothing to change was given. `keyhouse key-policy set --help` lists what can be.')
  const policy = await client.post<KeyPolicy>(policyOf(options), body)
  show(context, policy, sentences(policy))
}

const lifetimeIn = (text: string): number | null => (text === 'forever' ? null : parseDuration(text))

function isOn(text: string): boolean {
  if (text === 'on' || text === 'off') return text === 'on'
  throw wrongUsage(`--service-accounts-only takes on or off, got '${text}'.`)
}

const sentences = ({ allowed_cidrs: cidrs, allowed_origins: origins, ...policy }: KeyPolicy): string =>
  [
    `Keys may be used from ${cidrs.length === 0 ? 'everywhere' : cidrs.join(', ')}.`,
    `Web pages that may use them: ${origins.length === 0 ? 'all' : origins.join(', ')}.`,
    `New keys may live ${policy.key_lifetime_seconds_max === null ? 'for ever' : `for ${duration(policy.key_lifetime_seconds_max)}`}.`,
    `New keys are for ${policy.service_accounts_only ? 'service accounts only' : 'people and service accounts'}.`,
  ].join('\n')
