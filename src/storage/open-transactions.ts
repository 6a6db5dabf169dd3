/** What is open in the database for so long that it holds back whoever waits for all before it to have ended. */
import { prepared, type Queryable } from './database.ts'

export type OpenTransaction = { readonly pid: number; readonly application: string; readonly seconds: number }

const longest = prepared(
  'longest_transaction',
  `select pid, application_name as application, extract(epoch from now() - xact_start)::int as seconds
     from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and xact_start < now() - make_interval(secs => $1)
    order by xact_start limit 1`,
)

/** The longest of those that are open for more than so many seconds; of other users only what PostgreSQL lets this one see. */
export async function longTransaction(database: Queryable, seconds: number): Promise<OpenTransaction | undefined> {
  const [found] = await database.query<OpenTransaction>(longest, [seconds])
  return found
}
