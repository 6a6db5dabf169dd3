/** The database of this node: the user's own, or the embedded one, which is started again when it dies. */
import type pg from 'pg'
import type { Trouble } from '#contract/troubles.ts'
import type { Log } from '#observe/log.ts'
import type { DataDirectory } from '#storage/data-directory.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '#storage/embedded-postgres.ts'
import type { Closers } from './closers.ts'

const restartMs = 1000

export async function keepDatabase(
  databaseUrl: string,
  directory: DataDirectory,
  { log, closing, down }: { log: Log; closing: Closers; down: Trouble },
): Promise<pg.PoolConfig> {
  if (databaseUrl !== '') return { connectionString: databaseUrl }
  const options = {
    directory: directory.paths.postgres,
    socketDirectory: directory.paths.run,
    log: (line: string) => log.debug({ postgres: line }),
  }
  let embedded = await startEmbeddedPostgres(options)
  let stopping = false
  const watch = (running: EmbeddedPostgres): void => {
    void running.exited.then(({ expected, description }) => {
      if (!expected && !stopping) restart(description)
    })
  }
  const restart = (description: unknown): void => {
    down.began(description)
    startEmbeddedPostgres(options).then(
      running => {
        embedded = running
        watch(running)
        down.over()
        if (stopping) void running.stop()
      },
      error => {
        if (!stopping) setTimeout(restart, restartMs, error)
      },
    )
  }
  watch(embedded)
  closing.add('embedded database', () => {
    stopping = true
    return embedded.stop()
  })
  return embedded.connection
}
