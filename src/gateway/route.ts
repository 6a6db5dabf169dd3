/** Verb four. Which provider and credential, in which order of fallback. Refuses with 503. */
import { apiError } from '#contract/errors.ts'
import type { Target } from '#core/catalogue.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'

/** Targets whose circuit is open come last rather than never: a call that nothing else can serve may find one mended. */
export function route(gateway: Gateway, call: Call): readonly Target[] {
  const { targets, name } = call.model
  if (targets.length === 0) {
    throw apiError('model_unavailable', {
      model: name,
      reason: 'no provider serves it. The operator adds one with `keyhouse providers add`.',
    })
  }
  if (targets.length === 1) return targets
  const isOpen = (target: Target): boolean => gateway.circuits.isOpen(target)
  return [...targets.filter(target => !isOpen(target)), ...targets.filter(isOpen)]
}
