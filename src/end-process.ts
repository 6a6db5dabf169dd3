/** Ends a process that has closed what it could: what still waits for somebody else keeps it no longer than this. */

const lingerMs = 500

export const endProcess = (): void => void setTimeout(() => process.exit(), lingerMs).unref()
