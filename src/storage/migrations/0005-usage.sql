-- Usage added up by minute, hour and day, so that a page of usage costs the same however many calls there were; an index
-- for the call log; and the content of calls, for projects that ask for it.

-- Rollups ------------------------------------------------------------------------------------------------------------

-- A short name for a long id, since it stands in every row below
create table usage_organizations (
  number integer generated always as identity primary key,
  organization_id text not null unique
);

-- Who used what. '' is none: a hash join and a unique index know no nulls.
create table usage_groups (
  id integer generated always as identity primary key,
  organization_number integer not null references usage_organizations,
  project_id text not null,
  api_key_id text not null,
  user_id text not null,
  model text not null,
  endpoint text not null,
  -- '' is default
  service_tier text not null,
  unique (organization_number, project_id, api_key_id, user_id, model, endpoint, service_tier)
);
create index usage_groups_by_key on usage_groups (api_key_id);

-- What is seldom used is null where there is none of it, and then takes no room.
create table usage_days (
  organization_number integer not null,
  starts_at timestamptz not null,
  group_id integer not null,
  requests bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  charged_nano_usd bigint not null,
  cached_input_tokens bigint,
  cache_write_tokens bigint,
  audio_input_tokens bigint,
  cached_audio_input_tokens bigint,
  image_input_tokens bigint,
  cached_image_input_tokens bigint,
  reasoning_tokens bigint,
  audio_output_tokens bigint,
  image_output_tokens bigint,
  overrun_nano_usd bigint,
  web_search_calls bigint,
  -- calls of models in which the web was searched
  web_search_requests bigint,
  file_search_calls bigint,
  code_interpreter_calls bigint,
  primary key (organization_number, starts_at, group_id)
) with (fillfactor = 80);
create table usage_hours (like usage_days including all) with (fillfactor = 80);
create table usage_minutes (like usage_days including all);
-- For retention, which deletes by time and whoever it was
create index usage_hours_by_time on usage_hours using brin (starts_at);
create index usage_minutes_by_time on usage_minutes using brin (starts_at);

-- How far the rollups are. They hold every event that was settled in a transaction before this one, and those without a
-- transaction; the others are still to be counted one by one. Transactions of this cluster: it is in no backup.
create table usage_rolled_up (
  single boolean primary key default true check (single),
  settled_before xid8 not null
);
insert into usage_rolled_up (settled_before) values ('0');

-- Events before this time may have been dropped: of those times only the rollups know.
create table usage_dropped (
  single boolean primary key default true check (single),
  before timestamptz not null
);
insert into usage_dropped (before) values ('-infinity');

create index usage_events_by_settlement on usage_events (settled_in);

-- Minutes that are older are read from the events
create function usage_minutes_begin() returns timestamptz language sql stable as $$
  select date_trunc('day', now(), 'UTC') - interval '31 days'
$$;

-- What an event adds to each column of a rollup, by name.
create view usage_by_minute as
  select settled_in, occurred_at, organization_id, project_id, api_key_id, coalesce(user_id, '') as user_id, model, endpoint,
    coalesce(service_tier, '') as service_tier, date_trunc('minute', occurred_at, 'UTC') as starts_at,
    1::bigint as requests, input_tokens::bigint, output_tokens::bigint, charged_nano_usd,
    nullif(cached_input_tokens, 0)::bigint as cached_input_tokens, cache_write_tokens::bigint,
    audio_input_tokens::bigint, cached_audio_input_tokens::bigint, image_input_tokens::bigint,
    cached_image_input_tokens::bigint, nullif(reasoning_tokens, 0)::bigint as reasoning_tokens,
    audio_output_tokens::bigint, image_output_tokens::bigint, nullif(overrun_nano_usd, 0) as overrun_nano_usd,
    (tool_calls ->> 'web_search')::bigint as web_search_calls,
    case when tool_calls ? 'web_search' then 1::bigint end as web_search_requests,
    (tool_calls ->> 'file_search')::bigint as file_search_calls,
    (tool_calls ->> 'code_interpreter')::bigint as code_interpreter_calls
  from usage_events;

-- Where usage is gathered on its way to the rollups, a row a minute and group: first by names, then by numbers. Of this session
-- alone.
create function gather_usage() returns void language plpgsql as $$
begin
  create temp table if not exists gathered_usage (
    organization_id text, project_id text, api_key_id text, user_id text, model text, endpoint text, service_tier text,
    starts_at timestamptz, requests bigint, input_tokens bigint, output_tokens bigint, charged_nano_usd bigint,
    cached_input_tokens bigint, cache_write_tokens bigint, audio_input_tokens bigint, cached_audio_input_tokens bigint,
    image_input_tokens bigint, cached_image_input_tokens bigint, reasoning_tokens bigint, audio_output_tokens bigint,
    image_output_tokens bigint, overrun_nano_usd bigint, web_search_calls bigint, web_search_requests bigint,
    file_search_calls bigint, code_interpreter_calls bigint
  ) on commit delete rows;
  create temp table if not exists gathered_rollup (like usage_days) on commit delete rows;
end $$;

-- Adds what was gathered to the rollups. One session at a time: see roll_up_usage.
create function add_gathered_usage() returns void language plpgsql as $$
declare
  measures text[] := array['requests', 'input_tokens', 'output_tokens', 'charged_nano_usd', 'cached_input_tokens',
    'cache_write_tokens', 'audio_input_tokens', 'cached_audio_input_tokens', 'image_input_tokens',
    'cached_image_input_tokens', 'reasoning_tokens', 'audio_output_tokens', 'image_output_tokens', 'overrun_nano_usd',
    'web_search_calls', 'web_search_requests', 'file_search_calls', 'code_interpreter_calls'];
  columns text := (select string_agg(m, ', ') from unnest(measures) m);
  sums text := (select string_agg(format('sum(u.%I)', m), ', ') from unnest(measures) m);
  -- null and something is something; null and null takes no room
  added text := (select string_agg(format('%1$I = coalesce(r.%1$I + excluded.%1$I, r.%1$I, excluded.%1$I)', m), ', ')
    from unnest(measures) m);
  rollup record;
begin
  -- Else the planner takes it for empty, and looks each row up by itself
  analyze gathered_usage;
  -- Not "on conflict": that would use up a number for each that is known
  insert into usage_organizations (organization_id)
    select distinct u.organization_id from gathered_usage u
      where not exists (select from usage_organizations o where o.organization_id = u.organization_id);
  insert into usage_groups (organization_number, project_id, api_key_id, user_id, model, endpoint, service_tier)
    select distinct o.number, u.project_id, u.api_key_id, u.user_id, u.model, u.endpoint, u.service_tier
      from gathered_usage u join usage_organizations o using (organization_id)
    except select g.organization_number, g.project_id, g.api_key_id, g.user_id, g.model, g.endpoint, g.service_tier
      from usage_groups g join usage_organizations o on o.number = g.organization_number
      where o.organization_id in (select organization_id from gathered_usage);
  execute format(
    'insert into gathered_rollup (organization_number, starts_at, group_id, %1$s)
     select g.organization_number, u.starts_at, g.id, %1$s
       from gathered_usage u join usage_organizations o using (organization_id) join usage_groups g
         on g.organization_number = o.number and g.project_id = u.project_id and g.api_key_id = u.api_key_id
           and g.user_id = u.user_id and g.model = u.model and g.endpoint = u.endpoint and g.service_tier = u.service_tier',
    columns);
  for rollup in
    select * from (values ('usage_days', 'day', timestamptz '-infinity'), ('usage_hours', 'hour', '-infinity'),
      ('usage_minutes', 'minute', usage_minutes_begin())) as rollups (name, unit, since)
  loop
    execute format(
      'insert into %I as r (organization_number, starts_at, group_id, %s)
       select u.organization_number, date_trunc(%L, u.starts_at, ''UTC''), u.group_id, %s
         from gathered_rollup u where u.starts_at >= %L group by 1, 2, 3
       on conflict (organization_number, starts_at, group_id) do update set %s',
      rollup.name, columns, rollup.unit, sums, rollup.since, added);
  end loop;
end $$;

-- Adds events to the rollups that came since the last time, at most about `events_max` of them; returns how many. Any number
-- of nodes may call it at any time: one works, the others have nothing to do. Cut anywhere, it has done nothing.
--
-- A transaction below the oldest one that still runs has ended, and no more rows of its number can come. So what is taken
-- is taken once and for all, whenever its calls were made: a journal that comes a day later finds its own day.
create function roll_up_usage(events_max integer) returns bigint language plpgsql as $$
declare
  low xid8;
  high xid8 := pg_snapshot_xmin(pg_current_snapshot());
  first xid8;
  cut xid8;
  events bigint;
begin
  if not pg_try_advisory_xact_lock(4150927011) then return 0; end if;
  select settled_before into low from usage_rolled_up for update;
  select settled_in into first from usage_events where settled_in >= low and settled_in < high
    order by settled_in limit 1;
  if first is null then return 0; end if;
  select settled_in into cut from usage_events where settled_in >= low and settled_in < high
    order by settled_in offset events_max limit 1;
  -- A transaction is taken whole, however large
  if cut = first then high := ((cut::text::numeric + 1)::text)::xid8;
  elsif cut is not null then high := cut;
  end if;
  perform gather_usage();
  insert into gathered_usage
    select
      organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at, sum(requests),
      sum(input_tokens), sum(output_tokens), sum(charged_nano_usd), sum(cached_input_tokens), sum(cache_write_tokens),
      sum(audio_input_tokens), sum(cached_audio_input_tokens), sum(image_input_tokens),
      sum(cached_image_input_tokens), sum(reasoning_tokens), sum(audio_output_tokens), sum(image_output_tokens),
      sum(overrun_nano_usd), sum(web_search_calls), sum(web_search_requests), sum(file_search_calls),
      sum(code_interpreter_calls)
    from usage_by_minute where settled_in >= low and settled_in < high
    group by organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at;
  select sum(requests) into events from gathered_usage;
  perform add_gathered_usage();
  update usage_rolled_up set settled_before = high;
  return events;
end $$;

-- Makes the rollups anew from events that belong to no transaction of this cluster: those of a backup, and those from before
-- there were rollups. What is older than the events stays as it is. Nobody else may write usage meanwhile.
create function rebuild_usage_rollups() returns void language plpgsql as $$
declare
  since timestamptz := (select before from usage_dropped);
  day timestamptz;
begin
  perform pg_advisory_xact_lock(4150927011);
  truncate usage_minutes;
  delete from usage_hours where starts_at >= since;
  delete from usage_days where starts_at >= since;
  perform gather_usage();
  -- A day at a time: all of it at once would be as much again as the events themselves
  for day in
    select distinct date_trunc('day', occurred_at, 'UTC') from usage_events
      where occurred_at >= since and settled_in is null
  loop
    insert into gathered_usage
      select
        organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at, sum(requests),
        sum(input_tokens), sum(output_tokens), sum(charged_nano_usd), sum(cached_input_tokens),
        sum(cache_write_tokens), sum(audio_input_tokens), sum(cached_audio_input_tokens), sum(image_input_tokens),
        sum(cached_image_input_tokens), sum(reasoning_tokens), sum(audio_output_tokens), sum(image_output_tokens),
        sum(overrun_nano_usd), sum(web_search_calls), sum(web_search_requests), sum(file_search_calls),
        sum(code_interpreter_calls)
      from usage_by_minute where settled_in is null and occurred_at >= day and occurred_at < day + interval '1 day'
      group by organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at;
    perform add_gathered_usage();
    truncate gathered_usage, gathered_rollup;
  end loop;
end $$;
select rebuild_usage_rollups();

-- What keys have been charged since the midnight (UTC) `since`, however long ago: days are kept for ever. Stable, so that the
-- rollups and the events beside them are seen in one snapshot; as text, so that the plan knows how few those are.
create function charged_to_keys(keys text[], since timestamptz) returns bigint language plpgsql stable as $$
declare
  waiting numeric;
begin
  execute
    'select coalesce(sum(charged_nano_usd), 0) from (
       select api_key_id, charged_nano_usd from usage_events where settled_in >= $1 and occurred_at >= $2 offset 0) waiting
     where api_key_id = any ($3)'
    into waiting using (select settled_before from usage_rolled_up), since, keys;
  return waiting + coalesce((
    select sum(d.charged_nano_usd) from usage_groups g join usage_days d
      on d.organization_number = g.organization_number and d.group_id = g.id
    where g.api_key_id = any (keys) and d.starts_at >= since), 0);
end $$;

-- The call log ---------------------------------------------------------------------------------------------------------

create index usage_events_by_request on usage_events using hash (request_id);

-- The content of calls -------------------------------------------------------------------------------------------------

-- No row: nothing is captured, and what was captured is shown to nobody.
create table payload_capture (
  project_id text primary key references projects,
  enabled boolean not null,
  retention_days integer not null check (retention_days between 1 and 90),
  -- of a request, and of an answer
  bytes_max integer not null check (bytes_max > 0),
  updated_at timestamptz not null default now()
);

create table call_payloads (
  request_id text not null,
  captured_at timestamptz not null,
  project_id text not null,
  request text not null,
  -- of all of it, and whether it was cut at the project's bound
  request_bytes bigint not null,
  request_truncated boolean not null,
  answer text not null,
  answer_bytes bigint not null,
  answer_truncated boolean not null,
  primary key (request_id, captured_at)
) partition by range (captured_at);
create table call_payloads_other_days partition of call_payloads default;
create index call_payloads_by_project on call_payloads (project_id, captured_at);

create function ensure_payload_partition(day date) returns void language plpgsql as $$
declare
  partition text := 'call_payloads_' || to_char(day, 'YYYYMMDD');
begin
  perform pg_advisory_xact_lock(4150927002);
  if to_regclass(partition) is null then
    execute format('create table %I partition of call_payloads for values from (%L) to (%L)',
      partition, to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
  end if;
end $$;

-- How much of each call is kept; null: nothing. Whoever has chosen that nothing is kept is obeyed before anybody else.
create function payload_bytes_max(project text, organization text) returns integer language sql stable as $$
  select c.bytes_max from payload_capture c where c.project_id = project and c.enabled and not exists (
    select from data_retention r where r.scope_id in (project, organization)
      and r.retention_type in ('zero_data_retention', 'enhanced_zero_data_retention'))
$$;
