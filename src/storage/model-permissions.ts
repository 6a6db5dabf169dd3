/** Which models the keys of a project may call. No row: all. What the gateway reads of it is in grants.ts. */
import type { ProjectId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

export type ModelPermissionsRow = { mode: 'allow_list' | 'deny_list'; model_ids: string[] }

export async function readModelPermissions(
  database: Queryable,
  project: ProjectId,
): Promise<ModelPermissionsRow | undefined> {
  const text = 'select mode, model_ids from model_permissions where project_id = $1'
  const [row] = await database.query<ModelPermissionsRow>(sql(text), [project])
  return row
}

export async function setModelPermissions(
  tx: Queryable,
  project: ProjectId,
  { mode, model_ids }: ModelPermissionsRow,
): Promise<ModelPermissionsRow> {
  const text = `insert into model_permissions (project_id, mode, model_ids) values ($1, $2, $3)
    on conflict (project_id) do update set mode = excluded.mode, model_ids = excluded.model_ids, updated_at = now()
    returning mode, model_ids`
  return only(await tx.query<ModelPermissionsRow>(sql(text), [project, mode, model_ids]))
}

/** False when there were none. */
export async function deleteModelPermissions(tx: Queryable, project: ProjectId): Promise<boolean> {
  const text = 'delete from model_permissions where project_id = $1 returning project_id'
  return (await tx.query(sql(text), [project])).length > 0
}
