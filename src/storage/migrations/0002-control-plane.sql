-- People, roles, service accounts, what restricts a key, and the audit log.

-- People ---------------------------------------------------------------------------------------------------------

alter table users
  add column picture text,
  add column technical_level text,
  add column developer_persona text,
  add column removed_at timestamptz;
alter table users alter column email drop not null;
-- a person is in an organization once; whoever was removed may come back
create unique index users_by_email on users (organization_id, lower(email)) where removed_at is null and email is not null;

create table project_users (
  project_id text not null references projects on delete cascade,
  user_id text not null references users on delete cascade,
  -- none: only what the roles that are assigned besides give
  role text not null check (role in ('owner', 'member', 'viewer', 'none')),
  added_at timestamptz not null default now(),
  primary key (project_id, user_id)
);
create index project_users_by_time on project_users (project_id, added_at, user_id);
create index project_users_by_user on project_users (user_id);
-- whoever owns a key of a project is a member of it
insert into project_users (project_id, user_id, role)
  select distinct project_id, owner_user_id, 'owner' from api_keys
  where project_id is not null and owner_user_id is not null;

create table groups (
  id text primary key,
  organization_id text not null references organizations,
  name text not null,
  created_at timestamptz not null default now()
);
create index groups_by_organization on groups (organization_id, created_at, id);

create table group_users (
  group_id text not null references groups on delete cascade,
  user_id text not null references users on delete cascade,
  added_at timestamptz not null default now(),
  primary key (group_id, user_id)
);
create index group_users_by_user on group_users (user_id);
create index group_users_by_time on group_users (group_id, added_at, user_id);

create table project_groups (
  project_id text not null references projects on delete cascade,
  group_id text not null references groups on delete cascade,
  role text not null check (role in ('owner', 'member', 'viewer', 'none')),
  created_at timestamptz not null default now(),
  primary key (project_id, group_id)
);
create index project_groups_by_group on project_groups (group_id);
create index project_groups_by_time on project_groups (project_id, created_at, group_id);

create table invites (
  id text primary key,
  organization_id text not null references organizations,
  email text not null,
  role text not null check (role in ('owner', 'reader')),
  -- [{"id": "proj_…", "role": "member"}]
  projects jsonb not null default '[]',
  -- SHA-256 of what the invitation's link carries; the link itself is stored nowhere
  token_hash bytea not null unique,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  accepted_at timestamptz,
  deleted_at timestamptz
);
create index invites_by_organization on invites (organization_id, created_at, id) where deleted_at is null;
create index invites_by_email on invites (organization_id, lower(email)) where deleted_at is null and accepted_at is null;

-- Roles ----------------------------------------------------------------------------------------------------------

-- Those that people made; the predefined ones are a table in the code (core/roles.ts)
create table roles (
  id text primary key,
  organization_id text not null references organizations,
  -- null: a role of the organization
  project_id text references projects on delete cascade,
  name text not null,
  description text,
  permissions text[] not null,
  created_by text references users,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index roles_by_name on roles (organization_id, coalesce(project_id, ''), lower(name));
create index roles_by_time on roles (organization_id, coalesce(project_id, ''), created_at, id);

create table role_assignments (
  -- of `roles`, or the id of a predefined role
  role_id text not null,
  organization_id text not null references organizations,
  -- null: in the whole organization
  project_id text references projects on delete cascade,
  principal_kind text not null check (principal_kind in ('user', 'group', 'service_account')),
  principal_id text not null,
  created_at timestamptz not null default now()
);
create unique index role_assignments_once on role_assignments (principal_id, coalesce(project_id, ''), role_id);
create index role_assignments_by_role on role_assignments (role_id);

-- Service accounts and keys --------------------------------------------------------------------------------------

create table service_accounts (
  id text primary key,
  organization_id text not null references organizations,
  project_id text not null references projects on delete cascade,
  name text not null,
  role text not null check (role in ('owner', 'member', 'none')),
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index service_accounts_by_project on service_accounts (project_id, created_at, id) where deleted_at is null;

alter table api_keys
  add column service_account_id text references service_accounts,
  add column disabled_at timestamptz,
  add column revoke_reason text,
  add column updated_at timestamptz,
  -- the key that this one replaces; during its grace both work
  add column rotated_from text references api_keys,
  -- the key behind which this one sleeps until that one is revoked
  add column backup_of text references api_keys,
  -- keys that replaced one another share one budget: the id of the first of them
  add column budget_key_id text,
  -- a short-lived key that this one minted for a browser
  add column minted_by text references api_keys,
  add column rotate_every_days integer check (rotate_every_days between 1 and 3650),
  add column rotate_next_at timestamptz,
  add column allowed_cidrs cidr[] not null default '{}',
  add column allowed_origins text[] not null default '{}',
  add constraint api_keys_cidrs_max check (cardinality(allowed_cidrs) <= 50),
  add constraint api_keys_origins_max check (cardinality(allowed_origins) <= 50);
create index api_keys_by_organization on api_keys (organization_id, id) where revoked_at is null and minted_by is null;
create index api_keys_by_service_account on api_keys (service_account_id) where service_account_id is not null;
create index api_keys_by_owner on api_keys (owner_user_id, project_id, created_at, id) where owner_user_id is not null;
create index api_keys_by_backup on api_keys (backup_of) where backup_of is not null;
create unique index api_keys_by_rotation on api_keys (rotated_from) where rotated_from is not null;
create index api_keys_by_minter on api_keys (minted_by, expires_at) where minted_by is not null;
-- client secrets come by the thousand and are in no list
drop index api_keys_by_project;
create index api_keys_by_project on api_keys (project_id, created_at, id) where revoked_at is null and minted_by is null;

-- What restricts organizations and projects ------------------------------------------------------------------------

-- of an organization or a project, by its id; a missing row restricts nothing
create table key_policies (
  scope_id text primary key,
  allowed_cidrs cidr[] not null default '{}' check (cardinality(allowed_cidrs) <= 50),
  allowed_origins text[] not null default '{}' check (cardinality(allowed_origins) <= 50),
  -- the longest that a new key may live; null: for ever
  key_lifetime_seconds_max bigint check (key_lifetime_seconds_max > 0),
  -- only service accounts get new keys
  service_accounts_only boolean not null default false,
  -- mutual TLS: calls need one of the active certificates
  updated_at timestamptz not null default now()
);

create table model_permissions (
  project_id text primary key references projects on delete cascade,
  mode text not null check (mode in ('allow_list', 'deny_list')),
  model_ids text[] not null,
  updated_at timestamptz not null default now()
);

create table hosted_tool_permissions (
  project_id text primary key references projects on delete cascade,
  -- {"web_search": false}: what is not named is enabled
  tools jsonb not null,
  updated_at timestamptz not null default now()
);

create table data_retention (
  scope_id text primary key,
  retention_type text not null,
  updated_at timestamptz not null default now()
);

create table spend_limits (
  scope_id text primary key,
  threshold_cents bigint not null check (threshold_cents >= 0),
  updated_at timestamptz not null default now()
);

create table spend_alerts (
  id text primary key,
  scope_id text not null,
  threshold_cents bigint not null check (threshold_cents >= 0),
  recipients text[] not null,
  subject_prefix text,
  created_at timestamptz not null default now()
);
create index spend_alerts_by_scope on spend_alerts (scope_id, created_at, id);

alter table rate_limits
  add column images_per_minute integer check (images_per_minute > 0),
  add column audio_megabytes_per_minute integer check (audio_megabytes_per_minute > 0),
  add column requests_per_day integer check (requests_per_day > 0),
  add column batch_input_tokens_per_day bigint check (batch_input_tokens_per_day > 0);

create table certificates (
  id text primary key,
  organization_id text not null references organizations,
  name text,
  -- PEM of the certificate authority, or of the client certificate itself
  content text not null,
  fingerprint_sha256 text not null,
  valid_at timestamptz not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now()
);
create index certificates_by_organization on certificates (organization_id, created_at, id);
create unique index certificates_once on certificates (organization_id, fingerprint_sha256);

create table certificate_activations (
  certificate_id text not null references certificates on delete cascade,
  -- the organization or one project of it
  scope_id text not null,
  activated_at timestamptz not null default now(),
  primary key (certificate_id, scope_id)
);
create index certificate_activations_by_scope on certificate_activations (scope_id);

-- Leaks ------------------------------------------------------------------------------------------------------------

create table leak_reports (
  id text primary key,
  -- null where the reported string is no key of ours
  api_key_id text references api_keys,
  source text not null,
  url text,
  was_live boolean not null,
  reported_at timestamptz not null default now()
);
create index leak_reports_by_key on leak_reports (api_key_id, reported_at);

-- The audit log ------------------------------------------------------------------------------------------------------

-- Append only. Each entry carries the hash of the one before it in its organization, so that a missing or changed entry
-- shows: hash = SHA-256 over the previous hash and all that the entry's row says (audit_hash).
create table audit_logs (
  -- the order within an organization, without gaps
  organization_id text not null references organizations,
  number bigint not null,
  id text not null unique,
  type text not null,
  effective_at timestamptz not null,
  project_id text,
  project_name text,
  actor_kind text not null check (actor_kind in ('session', 'api_key', 'system')),
  actor_id text,
  -- the key that was used, where one was
  actor_key_id text,
  actor_email text,
  resource_id text,
  -- OpenAI's wire object, as text: what was hashed is what is kept
  entry text not null,
  previous_hash bytea not null,
  hash bytea not null,
  primary key (organization_id, number)
);
create index audit_logs_by_time on audit_logs (organization_id, effective_at, number);
create index audit_logs_by_type on audit_logs (organization_id, type, number);
create index audit_logs_by_actor on audit_logs (organization_id, actor_id, number);
create index audit_logs_by_actor_key on audit_logs (organization_id, actor_key_id, number);
create index audit_logs_by_email on audit_logs (organization_id, lower(actor_email), number) where actor_email is not null;
create index audit_logs_by_resource on audit_logs (organization_id, resource_id, number);
create index audit_logs_by_project on audit_logs (organization_id, project_id, number);
create trigger audit_logs_append_only before update or delete or truncate on audit_logs
  for each statement execute function refuse_change();
-- 0001 forgot this way of taking history out
create trigger ledger_entries_not_emptied before truncate on ledger_entries
  for each statement execute function refuse_change();
create trigger ledger_transactions_not_emptied before truncate on ledger_transactions
  for each statement execute function refuse_change();
create trigger prices_not_emptied before truncate on prices
  for each statement execute function refuse_change();

-- Over every column, as one JSON array: a filter must not find what the entry itself does not say.
create function audit_hash(
  previous bytea, number bigint, id text, type text, at timestamptz, project text, project_name text, actor_kind text,
  actor text, actor_key text, actor_email text, resource text, entry text
) returns bytea language sql stable as $$
  select sha256(previous || convert_to(json_build_array(number, id, type, extract(epoch from at), project, project_name,
    actor_kind, actor, actor_key, actor_email, resource, entry)::text, 'UTF8'))
$$;

-- Appends one entry. Locks the organization's chain until the transaction ends, so it belongs near its end.
create function append_audit_log(
  organization text, entry_id text, entry_type text, at timestamptz, project text, project_name text,
  actor_kind text, actor text, actor_key text, actor_email text, resource text, entry text
) returns bigint language plpgsql as $$
declare
  last_number bigint;
  last_hash bytea;
begin
  perform pg_advisory_xact_lock(hashtextextended(organization, 4150927004));
  select l.number, l.hash into last_number, last_hash from audit_logs l
    where l.organization_id = organization order by l.number desc limit 1;
  last_number := coalesce(last_number, 0);
  last_hash := coalesce(last_hash, sha256(convert_to(organization, 'UTF8')));
  insert into audit_logs values (organization, last_number + 1, entry_id, entry_type, at, project, project_name,
    actor_kind, actor, actor_key, actor_email, resource, entry, last_hash,
    audit_hash(last_hash, last_number + 1, entry_id, entry_type, at, project, project_name, actor_kind, actor, actor_key,
      actor_email, resource, entry));
  return last_number + 1;
end $$;

-- Of the entries numbered after+1 to until: how many there are, and the first whose hash, number or predecessor is not
-- what it must be. In pieces, because a whole log may take longer than one statement may.
create function check_audit_log(organization text, after bigint, until bigint)
returns table (entries bigint, first_broken bigint) language sql stable as $$
  select count(*), min(number) filter (where number <> place or previous_hash is distinct from hash_before
    or hash <> audit_hash(previous_hash, number, id, type, effective_at, project_id, project_name, actor_kind, actor_id,
      actor_key_id, actor_email, resource_id, entry))
  from (
    select l.*, after + row_number() over (order by l.number) as place,
      case when row_number() over (order by l.number) > 1 then lag(l.hash) over (order by l.number)
        when after = 0 then sha256(convert_to(organization, 'UTF8'))
        else (select b.hash from audit_logs b where b.organization_id = organization and b.number = after)
      end as hash_before
    from audit_logs l where l.organization_id = organization and l.number > after and l.number <= until
  ) chain
$$;

-- Where calls came from --------------------------------------------------------------------------------------------

alter table usage_events add column client_address inet;
create index usage_events_by_key on usage_events (api_key_id, occurred_at);

-- As in 0001, with the address. A record that an older journal kept has none.
create or replace function settle_usage(batch json) returns integer language plpgsql as $$
declare
  fresh integer;
begin
  create temp table if not exists settling (
    lease_id uuid, organization_id text, api_key_id text, occurred_at timestamptz, charged bigint, overrun bigint
  ) on commit delete rows;
  with added as (
    insert into usage_events
      select r.* from json_to_recordset(batch) as r (
        id uuid, occurred_at timestamptz, request_id text, organization_id text, project_id text, api_key_id text,
        user_id text, endpoint text, model text, provider text, upstream_model text, outcome text, estimated boolean,
        input_tokens integer, cached_input_tokens integer, output_tokens integer, reasoning_tokens integer,
        price_id bigint, lease_id uuid, charged_nano_usd bigint, overrun_nano_usd bigint, duration_ms integer,
        first_byte_ms integer, client_address inet)
      on conflict do nothing
      returning lease_id, organization_id, api_key_id, occurred_at, charged_nano_usd, overrun_nano_usd
  )
  insert into settling select * from added;
  get diagnostics fresh = row_count;
  if fresh = 0 then return 0; end if;

  -- in one order, as everybody locks leases
  perform from leases l where l.id in (select s.lease_id from settling s where charged > 0) order by l.id for no key update;
  update leases l set settled_nano_usd = l.settled_nano_usd + s.charged
    from (select lease_id, sum(charged)::bigint charged from settling where charged > 0 group by lease_id) s
    where l.id = s.lease_id;

  perform post_ledger('usage', 'usage ' || gen_random_uuid(), array_agg(account), array_agg(amount))
    from (
      select organization_id || '/leased' account, -sum(charged)::bigint amount from settling group by 1
      union all select 'platform/overrun', -sum(overrun)::bigint from settling
      union all select 'platform/revenue', sum(charged + overrun)::bigint from settling
    ) sums having bool_or(amount <> 0);

  update api_keys k set last_used_at = s.used
    from (select api_key_id, max(occurred_at) used from settling group by 1) s
    where k.id = s.api_key_id and (k.last_used_at is null or k.last_used_at < s.used - interval '30 seconds');
  return fresh;
end $$;
