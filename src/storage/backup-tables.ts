/** Which tables make up an installation. A new table is a new row here; a test compares this with the schema. */
import pg from 'pg'
import { only, type Queryable, sql } from './database.ts'

/** Parents before the tables that refer to them: restored in this order. */
export const backupTables: readonly string[] = [
  'organizations',
  'users',
  'projects',
  'project_users',
  'groups',
  'group_users',
  'project_groups',
  'invites',
  'roles',
  'role_assignments',
  'service_accounts',
  'api_keys',
  'leak_reports',
  'rotation_reminders',
  'key_policies',
  'rate_limits',
  'model_permissions',
  'hosted_tool_permissions',
  'data_retention',
  'spend_limits',
  'spend_alerts',
  'spend_alert_firings',
  'certificates',
  'certificate_activations',
  'providers',
  'models',
  'model_routes',
  'model_aliases',
  'prices',
  'ledger_accounts',
  'ledger_transactions',
  'ledger_entries',
  'ledger_checkpoints',
  'credit_grants',
  'key_budgets',
  'spend_windows',
  'leases',
  'usage_events',
  'usage_organizations',
  'usage_groups',
  'usage_days',
  'usage_hours',
  'usage_dropped',
  'payload_capture',
  'audit_logs',
  'audit_heads',
]

/** Tables that belong to a database and not to what is kept in it, and why. */
export const tablesLeftOut: Readonly<Record<string, string>> = {
  schema_migrations: 'says how this database was made; the header names the schema that a backup needs',
  job_runs: 'what this installation did',
  mails: 'a mail of the time of the backup would be sent again',
  key_budget_notices: 'whom a mail was sent: after a restore one may be sent again',
  ledger_findings: 'of this database: the next verification looks at what was restored',
  spend_window_checks: 'when this database was looked at',
  nodes: 'who runs on this database now',
  list_places: 'where a page goes on whose last row was deleted, within a day',
  lease_recalls: 'requests of a moment',
  usage_minutes: 'made anew from the events',
  usage_sealed: 'made anew from hours and days',
  usage_sealed_groups: 'made anew with usage_sealed',
  usage_sealed_members: 'made anew with usage_sealed',
  usage_unsealed: 'all hours and days of a backup are to be sealed anew',
  usage_rolled_up: 'counts transactions of this cluster',
  call_payloads: 'what people wrote: kept for some days, and never in a file',
  auth_events: 'running nodes remember the newest id they have read: ids must never go back, whatever is restored',
}

export type BackupTable = { readonly name: string; readonly columns: readonly string[] }

/** Without the transactions that brought usage: their numbers mean something in their own cluster alone. */
const columnsOfTables = sql(
  `select c.relname::text as name, array_agg(a.attname::text order by a.attnum) as columns
   from pg_class c join pg_attribute a on a.attrelid = c.oid
   where c.oid = any($1::regclass[]) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
     and (c.relname, a.attname) <> ('usage_events', 'settled_in')
   group by 1`,
)

export async function readTables(database: Queryable): Promise<BackupTable[]> {
  const found = await database.query<BackupTable>(columnsOfTables, [backupTables])
  const byName = new Map(found.map(table => [table.name, table]))
  return backupTables.map(name => only([byName.get(name)].filter(table => table !== undefined)))
}

export async function readSchemaNumber(database: Queryable): Promise<number> {
  const rows = await database.query<{ number: number }>(sql('select max(number) as number from schema_migrations'))
  return only(rows).number
}

export const quoted = (names: readonly string[]): string => names.map(pg.escapeIdentifier).join(', ')
