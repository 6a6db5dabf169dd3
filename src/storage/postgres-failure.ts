/** Turns what PostgreSQL or the system says when it will not start into one line that says what to do. */

const explanations: readonly [sign: RegExp, whatToDo: (found: string) => string][] = [
  [
    /No space left on device|ENOSPC|wrote only \d+ of \d+ bytes/,
    () => 'The disk is full: free some space there and start again.',
  ],
  [/Disk quota exceeded|EDQUOT/, () => 'The disk quota is used up: free some space there and start again.'],
  [/error while loading shared libraries: ([^:\s]+)/, found => `The system library ${found} is missing: install it.`],
  [
    /spawn \S+ ENOENT/,
    () => 'Its program cannot run here; it needs glibc. Set DATABASE_URL to a PostgreSQL of your own.',
  ],
  [
    /EACCES|failed to execute .+: Permission denied/,
    () => 'Its program may not be run: is it on a file system mounted "noexec", or closed to this user?',
  ],
  [/Read-only file system|EROFS/, () => 'That file system is read-only: choose another with --data-dir.'],
  [/Cannot allocate memory|ENOMEM/, () => 'The machine has too little free memory.'],
  [/could not (?:create|map) (?:anonymous )?shared memory/, () => 'The system refuses shared memory: raise its limit.'],
  [
    /Operation not permitted|Permission denied/,
    () => 'Its files belong to another user: start Keyhouse as the one who made them.',
  ],
  [
    /could not look up effective user ID (\d+)/,
    found => `The user id ${found} has no name on this system: add a line for it to /etc/passwd.`,
  ],
]

/** @param happened the beginning of a sentence, without a stop: "PostgreSQL stopped while starting". */
export function explainFailure(happened: string, directory: string, cause: unknown): Error {
  const said = textOf(cause)
  const known = explanations.map(([sign, whatToDo]) => explainBy(sign, whatToDo, said)).find(Boolean)
  return new Error(`${happened} in ${directory}. ${known ?? `It said: ${lastComplaint(said)}`}`, { cause })
}

function explainBy(sign: RegExp, whatToDo: (found: string) => string, said: string): string | undefined {
  const match = sign.exec(said)
  return match ? whatToDo(match[1] ?? '') : undefined
}

function textOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  return 'stderr' in cause ? `${cause.message}\n${cause.stderr}` : cause.message
}

function lastComplaint(said: string): string {
  const lines = said.trim().split('\n')
  return (lines.findLast(line => /FATAL|PANIC|error:/.test(line)) ?? lines.at(-1) ?? '').trim()
}
