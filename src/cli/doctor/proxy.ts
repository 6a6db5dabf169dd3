/**
 * Is there a proxy in the environment that stands between clients and the server? Python's SDK, curl and most others obey these
 * variables, also for this very machine; Node does only when told to. So a call may fail where the doctor gets through.
 */
import { type Check, ok, warning } from './check.ts'

export function checkProxy(url: URL, env: NodeJS.ProcessEnv): Check {
  const name = proxyVariable(url, env)
  if (name === undefined) return ok('proxy', 'no variable of the environment names one for this address')
  const spared = ['no_proxy', 'NO_PROXY'].find(variable => takesOut(env[variable] ?? '', url))
  if (spared) return ok('proxy', `${name} is set, and ${spared} takes ${url.hostname} out of it`)
  const who = nodeObeys(env) ? 'clients and this doctor' : "clients such as Python's SDK and curl, unlike this doctor,"
  return warning(
    'proxy',
    `${name} is set: ${who} go to ${url.host} through ${withoutPassword(env[name] ?? '')}`,
    `Where they are not to: add ${url.hostname} to NO_PROXY.`,
  )
}

/** As curl and Python look for it: the small spelling first. */
function proxyVariable({ protocol }: URL, env: NodeJS.ProcessEnv): string | undefined {
  const own = protocol === 'https:' ? 'https_proxy' : 'http_proxy'
  return [own, 'all_proxy'].flatMap(name => [name, name.toUpperCase()]).find(name => env[name])
}

/** `example.com` and `.example.com` are that host and all below it; `*` is every host; a port narrows an entry to it. */
function takesOut(list: string, { hostname, port, protocol }: URL): boolean {
  const own = bare(hostname)
  const ownPort = port || (protocol === 'https:' ? '443' : '80')
  return list.split(/[\s,]+/).some(entry => {
    const [, host = '', entryPort = ownPort] = isAddressV6(entry)
      ? [entry, entry]
      : (/^(.*?)(?::(\d+))?$/.exec(entry) ?? [])
    const wanted = bare(host).replace(/^\*?\./, '')
    if (wanted === '' || entryPort !== ownPort) return false
    return wanted === '*' || wanted === own || own.endsWith(`.${wanted}`)
  })
}

const isAddressV6 = (entry: string): boolean => /^[^[]*:.*:/.test(entry)
const bare = (host: string): string => host.toLowerCase().replace(/^\[|\]$/g, '')

const nodeObeys = ({ NODE_USE_ENV_PROXY, NODE_OPTIONS = '' }: NodeJS.ProcessEnv): boolean =>
  NODE_USE_ENV_PROXY === '1' || NODE_OPTIONS.includes('--use-env-proxy')

function withoutPassword(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.host) return `${url.protocol}//${url.host}`
  return text.replace(/^.*@/, '').slice(0, 200)
}
