/** Remembers which targets fail, so that a broken one is left alone for a while instead of slowing every call. */
import type { Trouble } from '#contract/troubles.ts'
import type { Target } from '#core/catalogue.ts'

type Circuit = { failures: number; openUntilMs: number }

/** Failures in a row that open a circuit. */
const failuresMax = 5
const openMs = 10_000

export class Circuits {
  readonly #circuits = new Map<string, Circuit>()
  readonly #now: () => number
  readonly #trouble: (about: string) => Trouble

  /** @param trouble of a target whose circuit has opened, until it serves again */
  constructor(now: () => number, trouble: (about: string) => Trouble) {
    this.#now = now
    this.#trouble = trouble
  }

  isOpen(target: Target): boolean {
    const circuit = this.#circuits.get(targetId(target))
    return circuit !== undefined && circuit.openUntilMs > this.#now()
  }

  succeeded(target: Target): void {
    if (this.#circuits.size > 0 && this.#circuits.delete(targetId(target))) this.#troubleOf(target).over()
  }

  failed(target: Target, error: unknown): void {
    const circuit = this.#circuits.get(targetId(target)) ?? { failures: 0, openUntilMs: 0 }
    this.#circuits.set(targetId(target), circuit)
    circuit.failures += 1
    if (circuit.failures < failuresMax) return
    circuit.openUntilMs = this.#now() + openMs
    this.#troubleOf(target).began(error)
  }

  #troubleOf({ providerName, upstreamModel }: Target): Trouble {
    return this.#trouble(`${providerName} ${upstreamModel}`)
  }
}

/** What circuits and paces are kept by. */
export const targetId = ({ providerId, upstreamModel }: Target): string => `${providerId} ${upstreamModel}`
