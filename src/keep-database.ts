/** The database of this node: the user's own, or the embedded one, which is started again when it dies. */
import type pg from 'pg'
import type { Log } from '#observe/log.ts'
import type { DataDirectory } from '#storage/data-directory.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '#storage/embedded-postgres.ts'
import type { Closers } from './closers.ts'

const restartMs = 1000

export async function keepDatabase(
  databaseUrl: string,
  directory: DataDirectory,
  log: Log,
  closing: Closers,
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
  const restart = (description: string): void => {
    log.error({ description }, 'the embedded database died; starting it again')
    startEmbeddedPostgres(options).then(
      running => {
        embedded = running
        watch(running)
        if (stopping) void running.stop()
      },
      error => {
        log.error({ err: error }, 'the embedded database could not be started')
        if (!stopping) setTimeout(restart, restartMs, 'it could not be started')
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
