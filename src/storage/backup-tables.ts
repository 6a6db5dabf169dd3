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
  'key_policies',
  'rate_limits',
  'model_permissions',
  'hosted_tool_permissions',
  'data_retention',
  'spend_limits',
  'spend_alerts',
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
  'leases',
  'usage_events',
  'audit_logs',
]

/** Tables that belong to a database and not to what is kept in it, and why. */
export const tablesLeftOut: Readonly<Record<string, string>> = {
  schema_migrations: 'says how this database was made; the header names the schema that a backup needs',
  auth_events: 'running nodes remember the newest id they have read: ids must never go back, whatever is restored',
}

export type BackupTable = { readonly name: string; readonly columns: readonly string[] }

const columnsOfTables = sql(
  `select c.relname::text as name, array_agg(a.attname::text order by a.attnum) as columns
   from pg_class c join pg_attribute a on a.attrelid = c.oid
   where c.oid = any($1::regclass[]) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
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
