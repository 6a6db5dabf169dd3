-- Keys that may call some models only, address lists that say each block once, and an audit log that shows when its end is gone.

-- Keys --------------------------------------------------------------------------------------------------------------

-- Empty: every model that the project may call
alter table api_keys add column allowed_models text[] not null default '{}',
  add constraint api_keys_models_max check (cardinality(allowed_models) <= 100);

-- What people write, as it is stored: the block and not an address in it, each once, in the order in which they came.
create function address_blocks(written text[]) returns cidr[] language sql immutable as $$
  select coalesce(array_agg(block order by place), '{}') from (
    select network(one::inet) as block, min(place) as place
    from unnest(written) with ordinality as given (one, place) group by 1
  ) once
$$;

-- The audit log -----------------------------------------------------------------------------------------------------

-- The newest entry of each chain. Entries go on from here and not from what the log holds, so that a log whose end was cut
-- off neither looks whole nor becomes so when it grows again.
create table audit_heads (
  organization_id text primary key references organizations,
  number bigint not null,
  hash bytea not null
) with (fillfactor = 50);
insert into audit_heads
  select distinct on (organization_id) organization_id, number, hash from audit_logs order by organization_id, number desc;

create function refuse_another_head() returns trigger language plpgsql as $$
begin
  if new.number = old.number + 1 and new.organization_id = old.organization_id then return new; end if;
  raise exception 'the audit log goes on one entry at a time';
end $$;
create trigger audit_heads_go_on before update on audit_heads for each row execute function refuse_another_head();
create trigger audit_heads_stay before delete or truncate on audit_heads
  for each statement execute function refuse_change();

create or replace function append_audit_log(
  organization text, entry_id text, entry_type text, at timestamptz, project text, project_name text,
  actor_kind text, actor text, actor_key text, actor_email text, resource text, entry text
) returns bigint language plpgsql as $$
declare
  last audit_heads;
  next_hash bytea;
begin
  perform pg_advisory_xact_lock(hashtextextended(organization, 4150927004));
  select * into last from audit_heads h where h.organization_id = organization;
  last.number := coalesce(last.number, 0);
  last.hash := coalesce(last.hash, sha256(convert_to(organization, 'UTF8')));
  next_hash := audit_hash(last.hash, last.number + 1, entry_id, entry_type, at, project, project_name, actor_kind, actor,
    actor_key, actor_email, resource, entry);
  insert into audit_heads values (organization, last.number + 1, next_hash)
    on conflict (organization_id) do update set number = excluded.number, hash = excluded.hash;
  insert into audit_logs values (organization, last.number + 1, entry_id, entry_type, at, project, project_name,
    actor_kind, actor, actor_key, actor_email, resource, entry, last.hash, next_hash);
  return last.number + 1;
end $$;
