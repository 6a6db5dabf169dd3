/** Remembers which targets fail, so that a broken one is left alone for a while instead of slowing every call. */

type Circuit = { failures: number; openUntilMs: number }

/** Failures in a row that open a circuit. */
const failuresMax = 5
const openMs = 10_000

export class Circuits {
  readonly #circuits = new Map<string, Circuit>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  isOpen(target: string): boolean {
    const circuit = this.#circuits.get(target)
    return circuit !== undefined && circuit.openUntilMs > this.#now()
  }

  succeeded(target: string): void {
    if (this.#circuits.size > 0) this.#circuits.delete(target)
  }

  failed(target: string): void {
    const circuit = this.#circuits.get(target) ?? { failures: 0, openUntilMs: 0 }
    circuit.failures += 1
    if (circuit.failures >= failuresMax) circuit.openUntilMs = this.#now() + openMs
    this.#circuits.set(target, circuit)
  }
}
