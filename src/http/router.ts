/** From a method and a path to the route that answers. */
import { type ApiError, apiError } from '#contract/errors.ts'

export type RouteRow = { readonly method: string; readonly path: string }
export type Match<Route> = { readonly route: Route; readonly parameter: string }
export type Miss = { readonly allowed: readonly string[] }

type Pattern<Route> = { readonly expression: RegExp; readonly byMethod: Map<string, Route> }

export class Router<Route extends RouteRow> {
  readonly #exact = new Map<string, Map<string, Route>>()
  readonly #patterns: Pattern<Route>[] = []

  constructor(routes: readonly Route[]) {
    for (const route of routes) this.#methodsOf(route.path).set(route.method, route)
  }

  #methodsOf(path: string): Map<string, Route> {
    if (!path.includes('{')) {
      const known = this.#exact.get(path) ?? new Map()
      this.#exact.set(path, known)
      return known
    }
    const expression = new RegExp(`^${path.replace(/\{\w+\}$/, '(.+)').replace(/\{\w+\}/, '([^/]+)')}$`)
    const known = this.#patterns.find(pattern => pattern.expression.source === expression.source)
    if (known) return known.byMethod
    const byMethod = new Map<string, Route>()
    this.#patterns.push({ expression, byMethod })
    // The more a pattern says, the earlier it is tried
    this.#patterns.sort((a, b) => b.expression.source.length - a.expression.source.length)
    return byMethod
  }

  /** The route, or which methods the path would answer to: none when there is no such path. */
  find(method: string, path: string): Match<Route> | Miss {
    const exact = this.#exact.get(path)
    if (exact) return pick(exact, method, '')
    for (const { expression, byMethod } of this.#patterns) {
      const match = expression.exec(path)
      if (match) return pick(byMethod, method, decode(match[1] ?? ''))
    }
    return { allowed: [] }
  }
}

function pick<Route>(byMethod: Map<string, Route>, method: string, parameter: string): Match<Route> | Miss {
  const route = byMethod.get(method) ?? (method === 'HEAD' ? byMethod.get('GET') : undefined)
  return route ? { route, parameter } : { allowed: [...byMethod.keys()] }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** @param allowed what the path answers to; none when there is no such path */
export function routeError(method: string, path: string, allowed: readonly string[]): ApiError {
  const shown = path.slice(0, 200)
  if (allowed.length === 0) return apiError('unknown_url', { method, path: shown })
  const allow = allowed.join(', ')
  return apiError('method_not_allowed', { method, path: shown, allow }, { headers: { allow } })
}
