/**
 * What can be wrong with a node for a while, one row a kind. The log says it once when it begins and once when it is over;
 * `/metrics`, the status and `keyhouse doctor` tell of it meanwhile; docs/operations.md has a line for each.
 */

export type TroubleRow = {
  /** What is wrong, what it means for callers, and what to do: all that whoever is paged needs to read. */
  readonly message: string
  /** One that is noticed only by use is taken for over when it was not met for so long. */
  readonly quietMs?: number
}

export const troubles = {
  database_away: {
    message:
      'the database does not answer: calls get 503 (storage_unavailable) and nothing is charged. Start it, or see its own log; all goes on by itself',
  },
  embedded_database_down: {
    message:
      'the embedded database ended and is started again every second: calls get 503 meanwhile. If it does not come back, what it said stands under err',
  },
  usage_waiting: {
    message:
      'usage cannot reach the database: calls go on, and it waits in the journal until journal-bytes-max. Nothing is lost; keep the data directory',
  },
  journal_unwritable: {
    message:
      'the usage journal cannot be written: new calls get 503 (storage_full). Free the disk of the data directory, or make it writable; all goes on by itself',
  },
  disk_low: {
    message:
      'the disk of the data directory is nearly full: when it is, calls get 503 (storage_full). Free some space, or move the data directory',
  },
  descriptors_low: {
    message:
      'nearly all file descriptors that this process may have are open: new connections are dropped without an answer. Raise `ulimit -n` (LimitNOFILE) and restart, or find who keeps them open',
  },
  redis_away: {
    message:
      'Redis does not answer: this node gives out its share of the rate limits, less than all of them and never more. Is REDIS_URL right, and that server up?',
  },
  cluster_unheard: {
    message:
      'this node cannot say that it runs, nor hear of the others: after lost-node-minutes they take back the credit that it has reserved. Is the database up?',
  },
  models_unread: {
    message: 'the models could not be read: the last known ones stay in force. Is the database up?',
  },
  provider_failing: {
    message:
      'a provider failed five times in a row: its calls get another one where there is one, else 502 or 504. What it said stands under err; `keyhouse providers list`',
    quietMs: 10 * 60_000,
  },
  job_failing: {
    message: 'a job fails and is tried again: `keyhouse jobs list` has its last report, docs/jobs.md what waits for it',
    quietMs: 2 * 3_600_000,
  },
  clock_off: {
    message:
      "this machine's clock differs from the database's. Keys expire by the database's clock; set this one right, so that logs and certificates agree",
  },
  rate_limits_unkept: {
    message:
      'what was used of long rate limits cannot be written to rate-limits.json: they hold, but a restart begins them anew. Free the disk, or make it writable',
  },
  secrets_differ: {
    message:
      'the keys in the database were made with other secrets than this node has, so it answers them with 401 and takes itself for not ready. Put back the secrets.json, or the key-pepper and sealing-key, that belong to this database: a backup holds them',
  },
  certificate_ending: {
    message:
      'the certificate of tls-cert has ended or ends within 14 days: clients will refuse to connect. Replace the files of tls-cert and tls-key and restart',
  },
  transaction_open: {
    message:
      'a transaction has been open in the database for over ten minutes: it holds back roll-ups and vacuum, so that pages of usage get slower; no call waits for it. End it: `select pg_terminate_backend(pid)`',
  },
} as const satisfies Record<string, TroubleRow>

export type TroubleKind = keyof typeof troubles
export const troubleKinds = Object.keys(troubles) as TroubleKind[]

/** One of them, in the hands of the part that notices it. Both may be called as often as it is looked at. */
export type Trouble = {
  began(error: unknown): void
  over(): void
}
