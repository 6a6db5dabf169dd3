/** How a command ends: scripts read the code, people read the sentence. */

export const exitCodes = { ok: 0, failed: 1, wrongUsage: 2, unreachable: 3, notAuthorized: 4, notFound: 5 } as const
export type ExitReason = keyof typeof exitCodes

/** A failure that the user can mend. The message is one or two sentences and says what to do next. */
export class CliError extends Error {
  readonly reason: ExitReason
  /** Of the server's answer, for its operator to look up in the log. */
  readonly requestId: string | undefined

  constructor(reason: ExitReason, message: string, extras: { requestId?: string | undefined; cause?: unknown } = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause })
    this.name = 'CliError'
    this.reason = reason
    this.requestId = extras.requestId
  }
}

export const wrongUsage = (message: string): CliError => new CliError('wrongUsage', message)

/** What went wrong, in the words of the part that threw it. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
