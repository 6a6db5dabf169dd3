/** Tells a database that is away, or too slow, from one that has answered with an error. */

/** SQLSTATE classes 08 (connection exception), 53 (insufficient resources), and 57 (operator intervention, time-outs). */
const sqlStates = /^(08|53|57)/
const systemErrors = /^(ECONN|EPIPE|ENOENT|EACCES|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)/
/** pg and its pool say these without a code. */
const messages =
  /^(timeout exceeded when trying to connect|Connection terminated|Query read timeout|Client has encountered)/

export function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, syscall } = error as NodeJS.ErrnoException
  if (code === undefined) return messages.test(error.message)
  return syscall === undefined ? sqlStates.test(code) : systemErrors.test(code)
}
