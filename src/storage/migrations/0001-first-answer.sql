-- Organizations, keys, models, the ledger and usage: what one call needs from end to end.
-- Money is bigint nano-US-dollars. Times are timestamptz. Nothing is updated in the ledger, ever.

create table organizations (
  id text primary key,
  name text not null,
  -- the organization that runs this installation: it alone may touch providers, models, backups
  is_operator boolean not null default false,
  created_at timestamptz not null default now()
);
create unique index organizations_one_operator on organizations (is_operator) where is_operator;

create table users (
  id text primary key,
  organization_id text not null references organizations,
  name text not null,
  email text,
  role text not null check (role in ('owner', 'reader')),
  created_at timestamptz not null default now()
);
create index users_by_organization on users (organization_id, created_at, id);

create table projects (
  id text primary key,
  organization_id text not null references organizations,
  name text not null,
  created_at timestamptz not null default now(),
  archived_at timestamptz
);
create index projects_by_organization on projects (organization_id, created_at, id);

create table api_keys (
  id text primary key,
  kind text not null check (kind in ('project', 'service_account', 'admin', 'test')),
  organization_id text not null references organizations,
  project_id text references projects,
  owner_user_id text references users,
  name text not null,
  -- HMAC-SHA-256 of the whole key under the pepper named beside it; the key itself is stored nowhere
  secret_hash bytea not null unique,
  pepper_id text not null,
  redacted text not null,
  -- empty: All
  scopes text[] not null default '{}',
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  check ((kind = 'admin') = (project_id is null))
);
create index api_keys_by_project on api_keys (project_id, created_at, id) where revoked_at is null;
create index api_keys_admin on api_keys (organization_id, created_at, id) where kind = 'admin' and revoked_at is null;

-- '*' is every model that has no row of its own
create table rate_limits (
  scope_id text not null,
  model text not null,
  requests_per_minute integer check (requests_per_minute > 0),
  tokens_per_minute bigint check (tokens_per_minute > 0),
  primary key (scope_id, model)
);

-- What changed in the answer to "what may this key do". Ids become visible in order, because record_auth_event takes
-- a lock that is held until its transaction ends: whoever has read up to n has missed nothing below n.
create table auth_events (
  id bigint generated always as identity primary key,
  -- a key, a project, an organization, or the catalogue of models
  subject_kind text not null check (subject_kind in ('api_key', 'project', 'organization', 'catalogue', 'everything')),
  subject_id text not null,
  created_at timestamptz not null default now()
);

create function record_auth_event(kind text, id text) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(4150927001);
  insert into auth_events (subject_kind, subject_id) values (kind, id);
  perform pg_notify('keyhouse_auth', '');
end $$;

create table providers (
  id text primary key,
  name text not null unique,
  adapter text not null,
  base_url text,
  -- AES-256-GCM, bound to this row's id; null for providers that need none
  credential_sealed bytea,
  credential_hint text,
  created_at timestamptz not null default now()
);

create table models (
  name text primary key,
  kind text not null check (kind in ('chat', 'completion', 'embedding')),
  owned_by text not null,
  context_tokens_max integer,
  output_tokens_max integer,
  created_at timestamptz not null default now()
);

-- In which order which provider is asked for a model
create table model_routes (
  model text not null references models on delete cascade,
  position integer not null,
  provider_id text not null references providers on delete cascade,
  upstream_model text not null,
  primary key (model, position)
);
create index model_routes_by_provider on model_routes (provider_id);

create table model_aliases (
  alias text primary key,
  model text not null references models on delete cascade
);

-- Dated and never changed: a usage row names the row it was charged with
create table prices (
  id bigint generated always as identity primary key,
  model text not null,
  effective_from timestamptz not null default now(),
  input_nano_usd_per_million bigint not null check (input_nano_usd_per_million >= 0),
  cached_input_nano_usd_per_million bigint not null check (cached_input_nano_usd_per_million >= 0),
  output_nano_usd_per_million bigint not null check (output_nano_usd_per_million >= 0),
  source text not null
);
create index prices_by_model on prices (model, effective_from desc, id desc);

-- The ledger: double entry, append only. Balances are projections of the entries, kept by the trigger below, and the
-- database itself refuses to let an organization's credit or lease go under zero.
create table ledger_accounts (
  id text primary key,
  organization_id text references organizations,
  kind text not null check (kind in ('credit', 'leased', 'funding', 'revenue', 'overrun')),
  balance_nano_usd bigint not null default 0,
  constraint ledger_never_overspent check (kind not in ('credit', 'leased') or balance_nano_usd >= 0)
);
insert into ledger_accounts (id, kind) values
  ('platform/funding', 'funding'), ('platform/revenue', 'revenue'), ('platform/overrun', 'overrun');

create table ledger_transactions (
  id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in ('grant', 'lease', 'return', 'usage')),
  -- who asked for it; a repeated request with the same reference is refused
  reference text not null unique,
  -- what people wrote beside it
  note text,
  created_at timestamptz not null default now()
);

create table ledger_entries (
  transaction_id uuid not null references ledger_transactions,
  account_id text not null references ledger_accounts,
  amount_nano_usd bigint not null check (amount_nano_usd <> 0),
  primary key (transaction_id, account_id)
);
create index ledger_entries_by_account on ledger_entries (account_id, transaction_id);

create function ledger_apply() returns trigger language plpgsql as $$
begin
  if exists (
    select from ledger_entries e where e.transaction_id in (select transaction_id from added)
    group by e.transaction_id having sum(e.amount_nano_usd) <> 0
  ) then
    raise exception 'a ledger transaction must sum to zero' using errcode = 'check_violation';
  end if;
  -- locked in one order by everybody, so that two transactions wait for each other and never in a circle
  perform from ledger_accounts where id in (select account_id from added) order by id for no key update;
  update ledger_accounts a set balance_nano_usd = a.balance_nano_usd + s.amount
    from (select account_id, sum(amount_nano_usd)::bigint amount from added group by account_id) s
    where a.id = s.account_id;
  return null;
end $$;
create trigger ledger_entries_apply after insert on ledger_entries
  referencing new table as added for each statement execute function ledger_apply();

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append only', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger ledger_entries_append_only before update or delete on ledger_entries
  for each statement execute function refuse_change();
create trigger ledger_transactions_append_only before update or delete on ledger_transactions
  for each statement execute function refuse_change();
create trigger prices_append_only before update or delete on prices
  for each statement execute function refuse_change();

-- Posts one transaction; returns false, and does nothing, when its reference was posted before.
create function post_ledger(kind text, reference text, accounts text[], amounts bigint[], note text default null)
returns boolean language plpgsql as $$
declare
  posted uuid;
begin
  insert into ledger_transactions (kind, reference, note)
    values (post_ledger.kind, post_ledger.reference, post_ledger.note)
    on conflict do nothing returning id into posted;
  if posted is null then return false; end if;
  insert into ledger_entries (transaction_id, account_id, amount_nano_usd)
    select posted, a, sum(n) from unnest(accounts, amounts) as t (a, n) group by a having sum(n) <> 0;
  return true;
end $$;

-- A node's slice of an organization's credit. granted = settled + returned + what is still reserved; the reserved part
-- of all of an organization's leases is the balance of its 'leased' account.
create table leases (
  id uuid primary key,
  organization_id text not null references organizations,
  node_id text not null,
  -- counts the movements of this lease, and so names their ledger transactions
  movements integer not null default 0,
  granted_nano_usd bigint not null default 0,
  settled_nano_usd bigint not null default 0,
  returned_nano_usd bigint not null default 0,
  opened_at timestamptz not null default now(),
  closed_at timestamptz,
  constraint lease_never_overspent check (
    settled_nano_usd >= 0 and returned_nano_usd >= 0 and settled_nano_usd + returned_nano_usd <= granted_nano_usd)
);
create index leases_open on leases (node_id) where closed_at is null;

-- Grows a lease by `want`, or by less when the account runs low, but never by less than `need`: then by nothing.
create function grow_lease(lease uuid, organization text, node text, need bigint, want bigint)
returns table (added bigint, left_over bigint, granted bigint, returned bigint) language plpgsql as $$
declare
  account text := organization || '/credit';
  balance bigint;
  movement integer;
begin
  select balance_nano_usd into balance from ledger_accounts where id = account for no key update;
  balance := coalesce(balance, 0);
  added := least(want, greatest(need, balance / 8));
  if balance < need or added <= 0 then added := 0; end if;
  if added > 0 then
    insert into leases (id, organization_id, node_id, movements, granted_nano_usd) values (lease, organization, node, 1, added)
      on conflict (id) do update set movements = leases.movements + 1,
        granted_nano_usd = leases.granted_nano_usd + excluded.granted_nano_usd
      returning movements into movement;
    perform post_ledger('lease', 'lease ' || lease || ' ' || movement,
      array[account, organization || '/leased'], array[-added, added]);
  end if;
  left_over := balance - added;
  select l.granted_nano_usd, l.returned_nano_usd into granted, returned from leases l where l.id = lease;
  granted := coalesce(granted, 0);
  returned := coalesce(returned, 0);
  return next;
end $$;

-- Hands `amount` of a lease back to the credit it came from; closes the lease when told to.
create function return_lease(lease uuid, amount bigint, closing boolean) returns void language plpgsql as $$
declare
  organization text;
  movement integer;
begin
  update leases set movements = movements + 1, returned_nano_usd = returned_nano_usd + amount,
      closed_at = case when closing then now() end
    where id = lease and closed_at is null
    returning organization_id, movements into organization, movement;
  if organization is not null and amount > 0 then
    perform post_ledger('return', 'return ' || lease || ' ' || movement,
      array[organization || '/leased', organization || '/credit'], array[-amount, amount]);
  end if;
end $$;

-- What was used, one row a call. Day partitions, so that old days can be dropped whole.
create table usage_events (
  id uuid not null,
  occurred_at timestamptz not null,
  request_id text not null,
  organization_id text not null,
  project_id text not null,
  api_key_id text not null,
  user_id text,
  endpoint text not null,
  model text not null,
  provider text not null,
  upstream_model text not null,
  -- complete, or cut: by the client, by the provider, by a revoked key
  outcome text not null,
  -- the tokens were counted by us, because the provider gave no numbers
  estimated boolean not null,
  input_tokens integer not null,
  cached_input_tokens integer not null,
  output_tokens integer not null,
  reasoning_tokens integer not null,
  price_id bigint,
  lease_id uuid,
  charged_nano_usd bigint not null check (charged_nano_usd >= 0),
  -- what the provider's numbers cost beyond what was held: borne by the platform, watched by the operator
  overrun_nano_usd bigint not null check (overrun_nano_usd >= 0),
  duration_ms integer not null,
  first_byte_ms integer,
  primary key (id, occurred_at)
) partition by range (occurred_at);
create table usage_events_other_days partition of usage_events default;
create index usage_events_by_organization on usage_events (organization_id, occurred_at);

create function ensure_usage_partition(day date) returns void language plpgsql as $$
declare
  partition text := 'usage_events_' || to_char(day, 'YYYYMMDD');
begin
  perform pg_advisory_xact_lock(4150927002);
  if to_regclass(partition) is null then
    execute format('create table %I partition of usage_events for values from (%L) to (%L)',
      partition, to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
  end if;
end $$;

-- Takes a batch of the journal's records. Exactly once: a record that is there already changes nothing.
create function settle_usage(batch json) returns integer language plpgsql as $$
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
        first_byte_ms integer)
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
