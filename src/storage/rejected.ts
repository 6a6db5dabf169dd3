/** Where a usage record goes that the database will never take: a file that a person must look at. Nothing is dropped. */
import { appendFile } from 'node:fs/promises'

export const keepRejected =
  (file: string, onError: (message: string, error: unknown) => void) =>
  async (record: string, cause: unknown): Promise<void> => {
    const reason = cause instanceof Error ? cause.message : String(cause)
    await appendFile(file, `${JSON.stringify({ reason, record: JSON.parse(record) })}\n`, { mode: 0o600, flush: true })
    onError(`the database refused a usage record; it is kept in ${file}`, cause)
  }
