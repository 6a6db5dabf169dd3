-- Money that holds on many nodes: credit in grants that expire, spend limits by period with leases of their own, and nodes
-- that hand back what another one needs. Periods begin at midnight UTC; weeks on Mondays.

-- What a call can use beside plain tokens; null is none --------------------------------------------------------------

alter table usage_events
  add column cache_write_tokens integer,
  -- of the cache writes, those that are kept for an hour
  add column cache_write_1h_tokens integer,
  add column audio_input_tokens integer,
  add column cached_audio_input_tokens integer,
  add column image_input_tokens integer,
  add column cached_image_input_tokens integer,
  add column audio_output_tokens integer,
  add column image_output_tokens integer,
  -- {"web_search": 2}
  add column tool_calls jsonb,
  -- what the provider says it served the call with; null: default
  add column service_tier text,
  -- the leases on spend limits that the call was held against, beside lease_id, which is one on credit
  add column limit_lease_ids uuid[],
  -- the transaction that brought the row: rows of transactions that have ended are never joined by more of the same
  add column settled_in xid8;
alter table usage_events alter column settled_in set default pg_current_xact_id();

-- Nodes ----------------------------------------------------------------------------------------------------------------

create table nodes (
  id text primary key,
  version text not null,
  started_at timestamptz not null default now(),
  -- the node says so every two seconds
  seen_at timestamptz not null default now(),
  -- it stopped in good order, or was given up for lost and its leases were taken back
  left_at timestamptz
);

-- A node asks the others to hand back what they do not need of an account. A hint: one that is missed costs a moment.
create table lease_recalls (
  id bigint generated always as identity primary key,
  -- the organization for its credit, else the scope of a spend limit
  scope_id text not null,
  created_at timestamptz not null default now()
);

create function recall_leases(scope text) returns void language plpgsql as $$
begin
  insert into lease_recalls (scope_id) values (scope);
  perform pg_notify('keyhouse_recall', scope);
end $$;

-- Credit in grants -------------------------------------------------------------------------------------------------------

alter table ledger_accounts drop constraint ledger_accounts_kind_check,
  add constraint ledger_accounts_kind_check check (kind in ('credit', 'leased', 'funding', 'revenue', 'overrun', 'breakage'));
insert into ledger_accounts (id, kind) values ('platform/breakage', 'breakage');
alter table ledger_transactions drop constraint ledger_transactions_kind_check,
  add constraint ledger_transactions_kind_check
    check (kind in ('grant', 'lease', 'return', 'usage', 'expire', 'revoke'));

-- The remainders of an organization's grants are, together, its credit and what is leased of it.
create table credit_grants (
  id text primary key,
  organization_id text not null references organizations,
  kind text not null check (kind in ('purchased', 'promotional', 'free')),
  amount_nano_usd bigint not null check (amount_nano_usd > 0),
  remaining_nano_usd bigint not null,
  -- what its end took, or who revoked it: the rest of what does not remain was spent
  ended_nano_usd bigint not null default 0 check (ended_nano_usd >= 0),
  -- among grants that expire together the lower one is spent first
  priority integer not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  reference text not null unique,
  note text,
  created_at timestamptz not null default now(),
  constraint credit_grant_never_overspent
    check (remaining_nano_usd >= 0 and remaining_nano_usd + ended_nano_usd <= amount_nano_usd)
);
create index credit_grants_by_time on credit_grants (organization_id, created_at, id);
create index credit_grants_open on credit_grants (organization_id, expires_at, priority, created_at, id)
  where remaining_nano_usd > 0;
create index credit_grants_expiring on credit_grants (expires_at) where remaining_nano_usd > 0;
create index credit_grants_revoked on credit_grants (organization_id)
  where remaining_nano_usd > 0 and revoked_at is not null;

-- What was granted before there were grants: what is left of it is one, bought and without an end
insert into credit_grants (id, organization_id, kind, amount_nano_usd, remaining_nano_usd, priority, reference)
  select 'cg_' || substr(md5(organization_id), 1, 24), organization_id, 'purchased', sum(balance_nano_usd),
    sum(balance_nano_usd), 30, 'balance of ' || organization_id || ' before grants'
  from ledger_accounts where kind in ('credit', 'leased') group by organization_id having sum(balance_nano_usd) > 0;

-- Takes what was spent out of the grants: what ends soonest first.
create function consume_credit(organization text, amount bigint) returns void language plpgsql as $$
declare
  lot record;
  rest bigint := amount;
begin
  for lot in select id, remaining_nano_usd from credit_grants
    where organization_id = organization and remaining_nano_usd > 0
    order by expires_at, priority, created_at, id for no key update
  loop
    exit when rest = 0;
    update credit_grants set remaining_nano_usd = remaining_nano_usd - least(rest, lot.remaining_nano_usd)
      where id = lot.id;
    rest := rest - least(rest, lot.remaining_nano_usd);
  end loop;
  if rest > 0 then
    raise exception '% has spent % beyond its grants', organization, rest using errcode = 'check_violation';
  end if;
end $$;

-- Takes the rest of a grant, or as much of it as there is in the credit, to `account`. Returns what was taken.
create function end_credit(credit_grant text, organization text, balance bigint, kind text, account text)
returns bigint language plpgsql as $$
declare
  remaining bigint;
  taken bigint;
begin
  select remaining_nano_usd into remaining from credit_grants where id = credit_grant for no key update;
  taken := least(remaining, balance);
  if taken = 0 then return 0; end if;
  update credit_grants set remaining_nano_usd = remaining_nano_usd - taken, ended_nano_usd = ended_nano_usd + taken
    where id = credit_grant;
  perform post_ledger(kind, kind || ' ' || credit_grant || ' ' || remaining,
    array[organization || '/credit', account], array[-taken, taken]);
  return taken;
end $$;

-- Ends grants whose time has come, or that were revoked while they were leased: what is not leased leaves the credit at
-- once, the rest when its leases come back. Returns how much is still leased.
create function expire_credit(organization text, at timestamptz default now()) returns bigint language plpgsql as $$
declare
  lot record;
  balance bigint;
  taken bigint;
  waiting bigint := 0;
begin
  if not exists (select from credit_grants where organization_id = organization
    and (expires_at <= at or revoked_at is not null) and remaining_nano_usd > 0) then return 0; end if;
  select balance_nano_usd into balance from ledger_accounts where id = organization || '/credit' for no key update;
  for lot in select id, remaining_nano_usd, revoked_at from credit_grants
    where organization_id = organization and (expires_at <= at or revoked_at is not null) and remaining_nano_usd > 0
    order by expires_at, priority, created_at, id for no key update
  loop
    if lot.revoked_at is null then
      taken := end_credit(lot.id, organization, balance, 'expire', 'platform/breakage');
    else
      taken := end_credit(lot.id, organization, balance, 'revoke', 'platform/funding');
    end if;
    balance := balance - taken;
    waiting := waiting + lot.remaining_nano_usd - taken;
  end loop;
  return waiting;
end $$;

-- Takes back what is not spent of a grant (a payment that was returned): at once what is not leased, and with
-- expire_credit what comes back from leases. Returns what was taken.
create function revoke_credit(credit_grant text) returns bigint language plpgsql as $$
declare
  organization text;
  balance bigint;
begin
  select organization_id into organization from credit_grants where id = credit_grant;
  select balance_nano_usd into balance from ledger_accounts where id = organization || '/credit' for no key update;
  update credit_grants set revoked_at = coalesce(revoked_at, now()) where id = credit_grant;
  return end_credit(credit_grant, organization, coalesce(balance, 0), 'revoke', 'platform/funding');
end $$;

-- Spend limits -------------------------------------------------------------------------------------------------------------

alter table organizations
  -- null: no tier, the settings' limits hold
  add column usage_tier text check (usage_tier in ('free', '1', '2', '3', '4', '5')),
  add column usage_tier_by_hand boolean not null default false,
  -- the tier's monthly cap
  add column usage_cap_nano_usd bigint check (usage_cap_nano_usd >= 0);

alter table rate_limits
  add column tokens_per_day bigint check (tokens_per_day > 0),
  add column concurrent_requests integer check (concurrent_requests > 0);

create table key_budgets (
  -- the first of the keys that replaced one another: they share it
  key_id text primary key references api_keys,
  limit_nano_usd bigint not null check (limit_nano_usd >= 0),
  -- total: once and for all
  period text not null check (period in ('day', 'week', 'month', 'total')),
  updated_at timestamptz not null default now()
);

-- What a scope has spent in a period, and what nodes hold of the rest. Kept for every organization and project by month,
-- and for keys with a budget by its period. A call belongs to the period in which it began.
create table spend_windows (
  scope_id text not null,
  period text not null check (period in ('day', 'week', 'month', 'total')),
  starts_at timestamptz not null,
  spent_nano_usd bigint not null default 0 check (spent_nano_usd >= 0),
  leased_nano_usd bigint not null default 0 check (leased_nano_usd >= 0),
  primary key (scope_id, period, starts_at)
);

insert into spend_windows (scope_id, period, starts_at, spent_nano_usd)
  select scope, 'month', date_trunc('month', occurred_at, 'UTC'), sum(charged_nano_usd)
  from usage_events, lateral (values (organization_id), (project_id)) as scopes (scope) group by 1, 2, 3;

create function window_start(period text, at timestamptz) returns timestamptz language sql immutable as $$
  select case period when 'total' then to_timestamp(0) else date_trunc(period, at, 'UTC') end
$$;

-- The limit of a scope's period as it is now; null: none.
create function spend_limit_of(scope text, in_period text) returns bigint language sql stable as $$
  select least(
    (select threshold_cents * 10000000 from spend_limits where scope_id = scope and in_period = 'month'),
    (select usage_cap_nano_usd from organizations where id = scope and in_period = 'month'),
    (select limit_nano_usd from key_budgets where key_id = scope and period = in_period))
$$;

-- Held while a key's budget is set, and shared while usage is settled, so that usage cannot fall between the two. Settling
-- takes it before it touches a key: whoever locks keys and sets a budget takes it first, or the two wait for each other.
create function lock_key_budgets() returns void language sql as $$ select pg_advisory_xact_lock(4150927005) $$;

-- Sets a key's budget. What the key has spent stands: its window begins with what usage says.
create function set_key_budget(key text, amount bigint, in_period text) returns void language plpgsql as $$
declare
  first_key text;
  keys text[];
  starts timestamptz := window_start(in_period, now());
  ends timestamptz := case in_period when 'total' then 'infinity'
    else (starts at time zone 'UTC' + ('1 ' || in_period)::interval) at time zone 'UTC' end;
begin
  perform lock_key_budgets();
  select coalesce(budget_key_id, id) into first_key from api_keys where id = key;
  insert into key_budgets (key_id, limit_nano_usd, period) values (first_key, amount, in_period)
    on conflict (key_id) do update set limit_nano_usd = excluded.limit_nano_usd, period = excluded.period, updated_at = now();
  keys := array(select id from api_keys where id = first_key or budget_key_id = first_key);
  insert into spend_windows (scope_id, period, starts_at, spent_nano_usd)
    select first_key, in_period, w.starts_at, w.charged
    -- by the clock of a node that is ahead, the next window may have begun
    from (values (starts, charged_to_keys(keys, starts) - charged_to_keys(keys, ends)), (ends, charged_to_keys(keys, ends)))
      w (starts_at, charged)
    where w.starts_at = starts or w.charged > 0 order by w.starts_at
  -- never less than was counted
  on conflict (scope_id, period, starts_at) do update
    set spent_nano_usd = greatest(spend_windows.spent_nano_usd, excluded.spent_nano_usd);
end $$;

-- Leases on credit and on spend limits ------------------------------------------------------------------------------------

-- Null: on the organization's credit
alter table leases
  add column scope_id text,
  add column period text,
  add column starts_at timestamptz;
create index leases_open_by_scope on leases (coalesce(scope_id, organization_id)) where closed_at is null;

drop function grow_lease(uuid, text, text, bigint, bigint);

-- Grows a lease by `want`, or by less when the account runs low, but by `need` at the least. Where that is more than there
-- is, by all that is left if that is at least `least`; else by nothing.
-- `scope` null: on credit. `elsewhere` is what other leases hold of the same account; `most` the spend limit, null for none,
-- and `capped` whether that is the usage tier's cap; `ends_in_ms` is when the lease must be asked for again,
-- whatever is left of it: when the next of the credit ends, or at once where a limit was lowered, or credit ended, beneath
-- what is leased; null for never. A lease that was closed stays closed: its node was given up for lost,
-- and begins a new one. `after` is the lease's movement that its node heard of last: where there was another one since, this is
-- overtaken and only says how the lease stands, or a statement that its node has given up would reserve what nobody uses.
-- `movement` is the newest.
create function grow_lease(
  lease uuid, organization text, node text, scope text, in_period text, starts timestamptz, need bigint, want bigint,
  least_need bigint, after integer default null
) returns table (
  added bigint, left_over bigint, granted bigint, returned bigint, elsewhere bigint, most bigint, capped boolean,
  closed boolean, ends_in_ms bigint, movement integer, overtaken boolean
) language plpgsql as $$
declare
  room bigint;
  held bigint;
  own leases%rowtype;
begin
  if scope is null then
    -- leases before credit, credit before grants, as settle_usage locks them
    select * into own from leases l where l.id = lease for no key update;
    perform expire_credit(organization);
    select balance_nano_usd into room from ledger_accounts where id = organization || '/credit' for no key update;
    select balance_nano_usd into held from ledger_accounts where id = organization || '/leased';
    select floor(extract(epoch from min(case when revoked_at is null then expires_at else now() end) - now()) * 1000)
      into ends_in_ms from credit_grants where organization_id = organization and remaining_nano_usd > 0;
  else
    insert into spend_windows (scope_id, period, starts_at) values (scope, in_period, starts) on conflict do nothing;
    select w.leased_nano_usd, spend_limit_of(scope, in_period) - w.spent_nano_usd - w.leased_nano_usd, spend_limit_of(scope, in_period)
      into held, room, most
      from spend_windows w where w.scope_id = scope and w.period = in_period and w.starts_at = starts for no key update;
    select * into own from leases l where l.id = lease for no key update;
    -- the limit was taken away since the caller last looked
    if most is null then room := want * 8; end if;
    if room < 0 then ends_in_ms := 0; end if;
    capped := coalesce(most = (select usage_cap_nano_usd from organizations where id = scope), false);
  end if;
  room := coalesce(room, 0);
  closed := own.closed_at is not null;
  added := case when room >= need then least(want, greatest(need, room / 8)) when room >= least_need then room else 0 end;
  overtaken := coalesce(own.movements, 0) <> coalesce(after, own.movements, 0);
  if added < 0 or closed or overtaken then added := 0; end if;
  if added > 0 then
    insert into leases (id, organization_id, node_id, scope_id, period, starts_at, movements, granted_nano_usd)
      values (lease, organization, node, scope, in_period, starts, 1, added)
      on conflict (id) do update set movements = leases.movements + 1,
        granted_nano_usd = leases.granted_nano_usd + excluded.granted_nano_usd
      returning movements into movement;
    if scope is null then
      perform post_ledger('lease', 'lease ' || lease || ' ' || movement,
        array[organization || '/credit', organization || '/leased'], array[-added, added]);
    else
      update spend_windows w set leased_nano_usd = w.leased_nano_usd + added
        where w.scope_id = scope and w.period = in_period and w.starts_at = starts;
    end if;
  elsif overtaken then
    movement := own.movements;
  else
    -- overtakes what is still on its way
    update leases l set movements = l.movements + 1 where l.id = lease and l.closed_at is null returning l.movements into movement;
  end if;
  left_over := room - added;
  granted := coalesce(own.granted_nano_usd, 0) + added;
  returned := coalesce(own.returned_nano_usd, 0);
  elsewhere := coalesce(held, 0) - coalesce(own.granted_nano_usd - own.settled_nano_usd - own.returned_nano_usd, 0);
  return next;
end $$;

drop function return_lease(uuid, bigint, boolean);

-- Hands `amount` of a lease back to the account that it came from; closes the lease when told to. `after` is the lease's
-- movement that its node heard of last: where there was another one since, this is overtaken and does nothing, because the
-- node counts on the money again. Returns whether it was handed back.
create function return_lease(lease uuid, amount bigint, closing boolean, after integer default null)
returns boolean language plpgsql as $$
declare
  own leases%rowtype;
begin
  select * into own from leases where id = lease;
  -- windows before leases, as settle_usage locks them
  perform from spend_windows w
    where w.scope_id = own.scope_id and w.period = own.period and w.starts_at = own.starts_at for no key update;
  update leases set movements = movements + 1, returned_nano_usd = returned_nano_usd + amount,
      closed_at = case when closing then now() end
    where id = lease and closed_at is null and movements = coalesce(after, movements) returning * into own;
  if not found then return false; end if;
  if amount = 0 then return true; end if;
  if own.scope_id is null then
    perform post_ledger('return', 'return ' || lease || ' ' || own.movements,
      array[own.organization_id || '/leased', own.organization_id || '/credit'], array[-amount, amount]);
  else
    update spend_windows w set leased_nano_usd = w.leased_nano_usd - amount
      where w.scope_id = own.scope_id and w.period = own.period and w.starts_at = own.starts_at;
  end if;
  return true;
end $$;

-- Closes a lease and hands its remainder back. Each in a transaction of its own: one that closed several would hold what
-- settle_usage waits for, in another order.
create function close_lease(lease uuid) returns void language plpgsql as $$
declare
  own leases%rowtype;
begin
  perform from spend_windows w join leases l using (scope_id, period, starts_at) where l.id = lease for no key update of w;
  select * into own from leases where id = lease for no key update;
  perform return_lease(lease, own.granted_nano_usd - own.settled_nano_usd - own.returned_nano_usd, true);
end $$;

-- Closes a lease of which everything has been settled or handed back; false where something is still on its way.
create function close_settled_lease(lease uuid) returns boolean language sql as $$
  with closed as (
    update leases set closed_at = now() where id = lease and closed_at is null
      and granted_nano_usd = settled_nano_usd + returned_nano_usd returning 1)
  select exists (select from closed) or not exists (select from leases where id = lease and closed_at is null)
$$;

-- Usage arrives ---------------------------------------------------------------------------------------------------------------

-- Charges that a lease no longer covers, because its node was given up for lost before its journal came: the credit pays
-- while there is some, the platform bears the rest. One row of usage_events at a time, so that each says who paid.
create function settle_late(lease uuid, organization text, within bigint)
returns table (from_lease bigint, from_credit bigint, borne bigint) language plpgsql as $$
declare
  call record;
  credit bigint;
  part bigint;
  rest bigint := within;
begin
  from_lease := 0; from_credit := 0; borne := 0;
  select balance_nano_usd into credit from ledger_accounts where id = organization || '/credit' for no key update;
  credit := coalesce(credit, 0);
  for call in select s.id, s.occurred_at, s.charged from settling s where s.lease_id = lease and s.charged > 0 order by s.id loop
    part := least(call.charged, rest);
    rest := rest - part;
    from_lease := from_lease + part;
    part := call.charged - part;
    continue when part = 0;
    from_credit := from_credit + least(part, credit);
    borne := borne + part - least(part, credit);
    if part > credit then
      update usage_events u set charged_nano_usd = u.charged_nano_usd - (part - credit),
          overrun_nano_usd = u.overrun_nano_usd + (part - credit)
        where u.id = call.id and u.occurred_at = call.occurred_at;
      update settling s set charged = s.charged - (part - credit), overrun = s.overrun + (part - credit) where s.id = call.id;
    end if;
    credit := credit - least(part, credit);
  end loop;
  return next;
end $$;

-- What the batch has spent, in the windows of its organizations, projects and budgeted keys; and what that takes from the
-- leases on those windows. Windows before leases, each in one order.
create function settle_windows() returns void language plpgsql as $$
declare
  lease record;
  own leases%rowtype;
  taken bigint;
begin
  insert into spend_windows (scope_id, period, starts_at, spent_nano_usd)
    select scope, period, starts_at, sum(charged)
    from (
      select organization_id as scope, 'month' as period, window_start('month', occurred_at) as starts_at, charged
        from settling where charged > 0
      union all select project_id, 'month', window_start('month', occurred_at), charged from settling where charged > 0
      union all select b.key_id, b.period, window_start(b.period, s.occurred_at), s.charged from settling s
        join api_keys k on k.id = s.api_key_id join key_budgets b on b.key_id = coalesce(k.budget_key_id, k.id)
        where s.charged > 0
      -- windows of which only a lease is touched are locked here too, in their place
      union all select l.scope_id, l.period, l.starts_at, 0
        from settling s, unnest(s.limit_lease_ids) as i (id) join leases l on l.id = i.id where s.journalled > 0
    ) spent group by 1, 2, 3 order by 1, 2, 3
  on conflict (scope_id, period, starts_at) do update
    set spent_nano_usd = spend_windows.spent_nano_usd + excluded.spent_nano_usd;

  for lease in
    -- what the platform bears too: the node has spent it of its lease, and would never hand it back
    select l.id, sum(s.journalled)::bigint as charged from settling s, unnest(s.limit_lease_ids) as l (id)
      where s.journalled > 0 group by 1 order by 1
  loop
    select * into own from leases where id = lease.id for no key update;
    -- what a lease that was taken back no longer covers is spent all the same
    taken := least(lease.charged, own.granted_nano_usd - own.settled_nano_usd - own.returned_nano_usd);
    continue when coalesce(taken, 0) <= 0;
    update leases set settled_nano_usd = settled_nano_usd + taken where id = lease.id;
    update spend_windows w set leased_nano_usd = w.leased_nano_usd - taken
      where w.scope_id = own.scope_id and w.period = own.period and w.starts_at = own.starts_at;
  end loop;
end $$;

-- Takes a batch of the journal's records. Exactly once: a record that is there already changes nothing.
create or replace function settle_usage(batch json) returns integer language plpgsql as $$
declare
  fresh integer;
  lease record;
  late record;
  total record;
begin
  -- a key's budget is not set in the middle of this
  perform pg_advisory_xact_lock_shared(4150927005);
  create temp table if not exists settling (
    id uuid, lease_id uuid, limit_lease_ids uuid[], organization_id text, project_id text, api_key_id text,
    occurred_at timestamptz, charged bigint, overrun bigint, journalled bigint
  ) on commit delete rows;
  create temp table if not exists paying (account text, amount bigint) on commit delete rows;
  with added as (
    insert into usage_events (
        id, occurred_at, request_id, organization_id, project_id, api_key_id, user_id, endpoint, model, provider,
        upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, price_id,
        lease_id, charged_nano_usd, overrun_nano_usd, duration_ms, first_byte_ms, client_address, cache_write_tokens,
        cache_write_1h_tokens, audio_input_tokens, cached_audio_input_tokens, image_input_tokens,
        cached_image_input_tokens, audio_output_tokens, image_output_tokens, tool_calls, service_tier, limit_lease_ids)
      select r.* from json_to_recordset(batch) as r (
        id uuid, occurred_at timestamptz, request_id text, organization_id text, project_id text, api_key_id text,
        user_id text, endpoint text, model text, provider text, upstream_model text, outcome text, estimated boolean,
        input_tokens integer, cached_input_tokens integer, output_tokens integer, reasoning_tokens integer,
        price_id bigint, lease_id uuid, charged_nano_usd bigint, overrun_nano_usd bigint, duration_ms integer,
        first_byte_ms integer, client_address inet, cache_write_tokens integer, cache_write_1h_tokens integer,
        audio_input_tokens integer, cached_audio_input_tokens integer, image_input_tokens integer,
        cached_image_input_tokens integer, audio_output_tokens integer, image_output_tokens integer, tool_calls jsonb,
        service_tier text, limit_lease_ids uuid[])
      -- in one order, because the same records may be on their way twice
      order by r.id
      on conflict do nothing
      returning id, lease_id, limit_lease_ids, organization_id, project_id, api_key_id, occurred_at, charged_nano_usd,
        overrun_nano_usd, charged_nano_usd
  )
  insert into settling select * from added;
  get diagnostics fresh = row_count;
  if fresh = 0 then return 0; end if;

  -- Everybody locks in this order: leases on credit by their id, credit, windows, leases on them, grants, ledger accounts.
  perform from leases l where l.id in (select s.lease_id from settling s where s.charged > 0) order by l.id for no key update;
  -- Credit first: what its leases do not cover may change what is charged
  for lease in
    select s.lease_id as id, s.organization_id, sum(s.charged)::bigint as charged from settling s where s.charged > 0
      group by 1, 2 order by 2, 1
  loop
    select least(lease.charged, l.granted_nano_usd - l.settled_nano_usd - l.returned_nano_usd) as from_lease,
        0::bigint as from_credit, 0::bigint as borne into late
      from leases l where l.id = lease.id;
    if late.from_lease is distinct from lease.charged then
      select * into late from settle_late(lease.id, lease.organization_id, coalesce(late.from_lease, 0));
    end if;
    update leases l set settled_nano_usd = l.settled_nano_usd + late.from_lease where l.id = lease.id;
    insert into paying values (lease.organization_id || '/leased', -late.from_lease),
      (lease.organization_id || '/credit', -late.from_credit);
  end loop;

  perform settle_windows();

  for total in select organization_id, sum(charged)::bigint as charged from settling group by 1 having sum(charged) > 0 order by 1
  loop
    perform consume_credit(total.organization_id, total.charged);
  end loop;

  perform post_ledger('usage', 'usage ' || gen_random_uuid(), array_agg(account), array_agg(amount))
    from (
      select account, sum(amount)::bigint amount from paying group by 1
      union all select 'platform/overrun', -sum(overrun)::bigint from settling
      union all select 'platform/revenue', sum(charged + overrun)::bigint from settling
    ) sums having bool_or(amount <> 0);

  update api_keys k set last_used_at = s.used
    from (select api_key_id, max(occurred_at) used from settling group by 1) s
    where k.id = s.api_key_id and (k.last_used_at is null or k.last_used_at < s.used - interval '30 seconds');
  return fresh;
end $$;
