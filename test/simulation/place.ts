/** Where the money is: an organization with two projects and three keys, of which key 1 has replaced key 0. */
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'
import { type Queryable, sql } from '#storage/database.ts'
import type { Spender } from './oracle.ts'
import { keyCount, type LimitPlace, projectCount } from './steps.ts'

export class Place {
  readonly name: string
  readonly organization: OrganizationId

  private constructor(name: string) {
    this.name = name
    this.organization = `org_${name}` as OrganizationId
  }

  /** One that this database has not seen: no world knows of another. */
  static async open(database: Queryable): Promise<Place> {
    const text = 'select count(*) as number from organizations'
    const [row] = await database.query<{ number: bigint }>(sql(text))
    const name = `w${(row?.number ?? 0n).toString(16)}`
    for (const insert of inserts) await database.query(sql(insert), [name])
    return new Place(name)
  }

  /** The organization first. */
  get scopes(): [string, ...string[]] {
    return [this.organization, this.project(0), this.project(1), ...this.budgetKeys]
  }

  get budgetKeys(): string[] {
    return [this.key(0), this.key(2)]
  }

  project(index: number): ProjectId {
    return `proj_${this.name}_${index}` as ProjectId
  }

  key(index: number): ApiKeyId {
    return `key_${this.name}_${index}` as ApiKeyId
  }

  firstKey(index: number): ApiKeyId {
    return this.key(index === 1 ? 0 : index)
  }

  spender(key: number): Spender {
    return { organization: this.organization, project: this.project(key === 2 ? 1 : 0), budgetKey: this.firstKey(key) }
  }

  scopeOf(place: LimitPlace): OrganizationId | ProjectId {
    return place.startsWith('project') ? this.project(Number(place.at(-1))) : this.organization
  }

  /** A UUID, as calls have. */
  callId(number: number): string {
    return `${this.name.slice(1).padStart(8, '0')}-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
  }
}

const inserts = [
  `with o as (insert into organizations (id, name) values ('org_' || $1, $1)),
    p as (insert into projects (id, organization_id, name)
      select 'proj_' || $1 || '_' || n, 'org_' || $1, 'project' from generate_series(0, ${projectCount - 1}) n)
    insert into ledger_accounts (id, organization_id, kind)
      values ('org_' || $1 || '/credit', 'org_' || $1, 'credit'), ('org_' || $1 || '/leased', 'org_' || $1, 'leased')`,
  `insert into api_keys (id, kind, organization_id, project_id, name, secret_hash, pepper_id, redacted, budget_key_id)
    select 'key_' || $1 || '_' || n, 'project', 'org_' || $1, 'proj_' || $1 || '_' || (n / 2), 'key',
      sha256(convert_to($1 || ' ' || n, 'UTF8')), 'none', 'sk-...', case n when 1 then 'key_' || $1 || '_0' end
    from generate_series(0, ${keyCount - 1}) n`,
]
