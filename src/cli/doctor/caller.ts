/** The doctor for whoever calls models: from a key and a base URL, as OpenAI's SDKs take them, to the cause. */
import type { Terminal } from '../terminal.ts'
import { askForKey } from './ask-key.ts'
import { checkBaseUrl } from './base-url.ts'
import { type Check, unknown } from './check.ts'
import { checkGivenKey } from './given-key.ts'

export type CallerOptions = {
  readonly key?: string
  readonly baseUrl?: string
  readonly model?: string
  readonly origin?: string
}

export const asksForCaller = ({ key, baseUrl, model, origin }: CallerOptions): boolean =>
  [key, baseUrl, model, origin].some(option => option !== undefined)

export async function diagnoseCaller(options: CallerOptions, { env, now }: Terminal): Promise<Check[]> {
  const key = given(options.key, '--key', env, 'OPENAI_API_KEY')
  const baseUrl = given(options.baseUrl, '--base-url', env, 'OPENAI_BASE_URL')
  const shape = checkGivenKey(key.value, key.from)
  const base = await checkBaseUrl(baseUrl.value, baseUrl.from, env)
  const checks = [shape.check, ...base.checks]
  // A key is sent to a Keyhouse only, not to whatever else listens there
  if (shape.key === undefined || base.url === undefined) return [...checks, unknown('account'), unknown('call')]
  const asking = {
    url: base.url,
    key: shape.key,
    organization: env.OPENAI_ORG_ID,
    project: env.OPENAI_PROJECT_ID,
    origin: options.origin,
    model: options.model,
  }
  return [...checks, ...(await askForKey(asking, now()))]
}

const given = (option: string | undefined, flag: string, env: NodeJS.ProcessEnv, name: string) =>
  option === undefined ? { value: env[name] ?? '', from: name } : { value: option, from: flag }
