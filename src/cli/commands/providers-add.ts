/**
 * `keyhouse providers add`: the credential comes from a prompt or from stdin; as a flag it works too, with a warning,
 * because flags stand in the process list and in the shell's history.
 */
import { type Command, InvalidArgumentError } from 'commander'
import { askSecret } from '../ask.ts'
import type { Client } from '../client.ts'
import { wrongUsage } from '../exit.ts'
import { type PriceBody, readPrice } from '../price-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { canAsk, note, print, printJson, safeText, type Terminal } from '../terminal.ts'
import type { Provider } from '../wire.ts'

type ModelOption = { name: string; upstream_model?: string }

type AddOptions = {
  baseUrl?: string
  /** false when --no-api-key says that the host needs none. */
  apiKey?: string | boolean
  apiKeyStdin?: true
  model?: ModelOption[]
  kind?: string
  priceInput?: string
  priceOutput?: string
  priceCachedInput?: string
  free?: true
}

export function defineAdd(command: Command, terminal: Terminal): void {
  command
    .argument('<name>', 'openai, or a name of your own')
    .option('--base-url <url>', "the host's OpenAI-compatible API, as in https://host.example/v1; openai has its own")
    .option(
      '--api-key-stdin',
      'read the credential from stdin: keyhouse providers add openai --api-key-stdin < key.txt',
    )
    .option(
      '--api-key <key>',
      'the credential; everybody on this machine can see flags, so better be asked or use stdin',
    )
    .option('--no-api-key', 'the host needs no credential')
    .option('--model <name[=upstream]>', 'offer this model, under this name; repeatable; all when not given', addModel)
    .option('--kind <kind>', 'what these models are: chat, completion or embedding')
    .option('--price-input <usd>', 'dollars per million input tokens of these models')
    .option('--price-output <usd>', 'dollars per million output tokens')
    .option('--price-cached-input <usd>', 'dollars per million cached input tokens')
    .option('--free', 'all of its models cost nothing')
  onServer<AddOptions>(command, terminal, addProvider)
}

function addModel(text: string, models: ModelOption[] = []): ModelOption[] {
  const [, name = '', upstream] = /^([^=]+)(?:=(.+))?$/.exec(text) ?? []
  if (name === '') throw new InvalidArgumentError('Write NAME or NAME=UPSTREAM.')
  return [...models, upstream === undefined ? { name } : { name, upstream_model: upstream }]
}

const addProvider: Run<AddOptions> = async ({ client, terminal, options, words: [name = ''] }) => {
  const models = modelsOf(options)
  const credential = await readCredential(name, options, terminal)
  const body = { name, base_url: options.baseUrl, api_key: credential, models, free: options.free }
  const provider = await client.post<Provider>('/v1/platform/providers', body)
  if (options.json) return void printJson(terminal, provider)
  tellWhatCame(provider, client, terminal)
}

function modelsOf({ model, kind, free, ...prices }: AddOptions): object[] | undefined {
  const price = readPrice({
    ...(prices.priceInput !== undefined && { input: prices.priceInput }),
    ...(prices.priceOutput !== undefined && { output: prices.priceOutput }),
    ...(prices.priceCachedInput !== undefined && { cachedInput: prices.priceCachedInput }),
  })
  if (price !== undefined && free) throw wrongUsage('Give either prices or --free.')
  if (model === undefined && (price !== undefined || kind !== undefined))
    throw wrongUsage('A price or a kind is for models that you name: add --model NAME for each.')
  return model?.map(each => ({ ...each, kind, ...(price satisfies PriceBody | undefined) }))
}

/** Undefined when the provider needs none, or keeps the one that it has. */
async function readCredential(
  name: string,
  { apiKey, apiKeyStdin }: AddOptions,
  terminal: Terminal,
): Promise<string | undefined> {
  if (apiKeyStdin) return readStdin(terminal)
  if (typeof apiKey === 'string') {
    note(
      terminal,
      'warning: a key on the command line stays in the shell history. Better: --api-key-stdin, or be asked.',
    )
    return apiKey
  }
  if (apiKey === false || !canAsk(terminal)) return undefined
  const answer = await askSecret(terminal, `API key of ${name} (empty if it needs none)`)
  return answer === '' ? undefined : answer
}

const stdinBytesMax = 10_000

async function readStdin({ stdin }: Terminal): Promise<string> {
  let text = ''
  for await (const piece of stdin) {
    text += piece
    if (text.length > stdinBytesMax) throw wrongUsage('What came on stdin is too long to be an API key.')
  }
  if (text.trim() === '') throw wrongUsage('Nothing came on stdin. Send the key: … --api-key-stdin < key.txt')
  return text.trim()
}

function tellWhatCame(provider: Provider, { server }: Client, terminal: Terminal): void {
  const { name, models, unpriced_models: unpriced, credential_hint: hint } = provider
  const [first] = unpriced
  print(terminal, `${name} is connected${hint === null ? ', without a credential' : ` with the credential ${hint}`}.`)
  if (models.length === 0)
    return void print(terminal, `It has no models yet. Name them: keyhouse providers add ${name} --model NAME`)
  print(terminal, `Models (${models.length}): ${safeText(models.join(', '))}`)
  if (first !== undefined) {
    print(terminal, `\nWithout a price, so calls are refused (${unpriced.length}): ${safeText(unpriced.join(', '))}`)
    print(terminal, `Set one: keyhouse prices set ${first} --input USD --output USD`)
  }
  print(terminal, `\nThey are at ${server.url}/v1 for every key: keyhouse keys create prints a ready first call.`)
}
