/**
 * Preloaded into a node (`NODE_OPTIONS=--import=…`), this turns the machine's clock as that process sees it by
 * CLOCK_SKEW_MS. The monotonic clock goes on as it does, as on a machine whose clock was set wrong.
 */
const skewMs = Number(process.env.CLOCK_SKEW_MS)
const RealDate = Date

class SkewedDate extends RealDate {
  constructor(...given: unknown[]) {
    // Date takes a number, a text or a list of numbers: whatever it was given is passed on as it came
    super(...((given.length === 0 ? [SkewedDate.now()] : given) as [number]))
  }

  static override now(): number {
    return RealDate.now() + skewMs
  }
}

// Callers see the same interface; only `Date()` without `new`, which nobody writes, is gone.
globalThis.Date = SkewedDate as DateConstructor

export {}
