-- Usage summed up for every way of grouping it, so that a page costs what it shows and not what there was: hours and days that
-- are over are sealed, one row for each way of grouping, in which the sums of all its groups stand as text. The rollups stay
-- what is true: what is sealed is made of them, and thrown away when a late event changes its hour.

-- Adds up as bigint; sum() would go through numeric, which costs five times as much. Null only where all is null.
create aggregate total(bigint) (sfunc = int8pl, stype = bigint, combinefunc = int8pl, parallel = safe);

-- `grouping` says by what, as grouping() in SQL does: the bits 8, 4, 2 and 1 stand for project, user, key and model, and are
-- set where it is not grouped by them. Endpoint and service tier are always told apart.
create table usage_sealed_groups (
  id integer generated always as identity primary key,
  organization_number integer not null,
  grouping smallint not null,
  -- '' is none, and what it is not grouped by
  project_id text not null,
  user_id text not null,
  api_key_id text not null,
  model text not null,
  endpoint text not null,
  service_tier text not null,
  unique (organization_number, grouping, project_id, user_id, api_key_id, model, endpoint, service_tier)
);

-- Where a group of the rollups stands in each way of grouping: a sealed group for each of usage_groupings(), in its order.
create table usage_sealed_members (
  group_id integer primary key,
  sealed_ids integer[] not null
);

-- By key is by its project and user too: who asks for one of them beside the key asks for the same.
create function usage_groupings() returns smallint[] language sql immutable as $$
  select array[0, 1, 2, 3, 6, 7, 10, 11, 14, 15]::smallint[]
$$;

-- An hour or a day of an organization is sealed when it has rows here, and then it has all. With an hour come its minutes, for
-- the ways of grouping in which many calls share one: of the others a day of minutes is as large as the calls themselves.
create table usage_sealed (
  organization_number integer not null,
  width text not null check (width in ('minute', 'hour', 'day')),
  grouping smallint not null,
  -- of minutes, where their hour starts
  starts_at timestamptz not null,
  -- for each group "group,requests,input_tokens,…", in the order of columns in usage_days, nothing where there is none, no
  -- commas at the end; between groups a semicolon. Of minutes the same for each of them, "minute:" in front, "|" in between
  sums text not null,
  primary key (organization_number, width, grouping, starts_at)
);

-- What is to be sealed: rollups have been added to since.
create table usage_unsealed (
  organization_number integer not null,
  width text not null,
  starts_at timestamptz not null,
  touched_at timestamptz not null default now(),
  primary key (organization_number, width, starts_at)
) with (fillfactor = 50);

-- Every hour and day that `gathered_rollup` adds to; what was sealed of them is not true any more.
create function unseal_gathered_usage() returns void language plpgsql as $$
begin
  with touched as (
    insert into usage_unsealed as t (organization_number, width, starts_at)
      select distinct u.organization_number, w.width, date_trunc(w.width, u.starts_at, 'UTC')
        from (select distinct organization_number, starts_at from gathered_rollup) u, (values ('hour'), ('day')) w (width)
    on conflict (organization_number, width, starts_at) do update set touched_at = now()
    returning organization_number, width, starts_at)
  delete from usage_sealed s using touched t
    where s.organization_number = t.organization_number and s.starts_at = t.starts_at
      and (s.width = t.width or s.width = 'minute' and t.width = 'hour');
end $$;

-- Finds the sealed groups of groups that have none yet, and makes those that are missing.
create function join_sealed_groups(members integer[]) returns void language plpgsql as $$
begin
  create temp table if not exists joining (
    group_id integer, organization_number integer, grouping smallint, project_id text, user_id text, api_key_id text,
    model text, endpoint text, service_tier text
  ) on commit delete rows;
  insert into joining
    select g.id, g.organization_number, grouping, case when grouping & 8 = 0 then g.project_id else '' end,
      case when grouping & 4 = 0 then g.user_id else '' end, case when grouping & 2 = 0 then g.api_key_id else '' end,
      case when grouping & 1 = 0 then g.model else '' end, g.endpoint, g.service_tier
    from usage_groups g, unnest(usage_groupings()) grouping where g.id = any (members);
  analyze joining;
  -- Not "on conflict": that would use up a number for each that is known
  insert into usage_sealed_groups (organization_number, grouping, project_id, user_id, api_key_id, model, endpoint, service_tier)
    select distinct organization_number, grouping, project_id, user_id, api_key_id, model, endpoint, service_tier from joining j
    where not exists (select from usage_sealed_groups s where s.organization_number = j.organization_number
      and s.grouping = j.grouping and s.project_id = j.project_id and s.user_id = j.user_id
      and s.api_key_id = j.api_key_id and s.model = j.model and s.endpoint = j.endpoint and s.service_tier = j.service_tier);
  insert into usage_sealed_members
    select j.group_id, array_agg(s.id order by s.grouping) from joining j join usage_sealed_groups s
      using (organization_number, grouping, project_id, user_id, api_key_id, model, endpoint, service_tier) group by 1;
  truncate joining;
end $$;

-- What an hour or a day is sealed from: its rollup, and the minutes of an hour that is young enough to have them.
create function usage_to_seal(organization integer, of_width text, at timestamptz) returns table (
  width text, minute integer, organization_number integer, starts_at timestamptz, group_id integer, requests bigint,
  input_tokens bigint, output_tokens bigint, charged_nano_usd bigint, cached_input_tokens bigint,
  cache_write_tokens bigint, audio_input_tokens bigint, cached_audio_input_tokens bigint, image_input_tokens bigint,
  cached_image_input_tokens bigint, reasoning_tokens bigint, audio_output_tokens bigint, image_output_tokens bigint,
  overrun_nano_usd bigint, web_search_calls bigint, web_search_requests bigint, file_search_calls bigint,
  code_interpreter_calls bigint
) language sql stable as $$
  select of_width, null::integer, d.* from usage_days d
    where of_width = 'day' and d.organization_number = organization and d.starts_at = at
  union all select of_width, null, h.* from usage_hours h
    where of_width = 'hour' and h.organization_number = organization and h.starts_at = at
  union all select 'minute', extract(minute from m.starts_at)::integer, m.* from usage_minutes m
    where of_width = 'hour' and m.organization_number = organization
      and m.starts_at >= greatest(at, usage_minutes_begin()) and m.starts_at < at + interval '1 hour'
$$;

-- Seals an hour or a day of an organization. Under the roll-up's lock.
create function seal_usage_bucket(organization integer, of_width text, at timestamptz) returns void language plpgsql
set work_mem = '32MB' as $$
declare
  strangers integer[] := array(select distinct r.group_id from usage_to_seal(organization, of_width, at) r
    where not exists (select from usage_sealed_members m where m.group_id = r.group_id));
begin
  if strangers <> '{}' then perform join_sealed_groups(strangers); end if;
  insert into usage_sealed (organization_number, width, grouping, starts_at, sums)
    select organization, width, grouping, at, string_agg(concat(minute || ':', cells), '|' order by minute) from (
      select width, grouping, minute, string_agg(cell, ';') as cells from (
        select r.width, r.minute, s.grouping,
          rtrim(concat(s.id, ',', total(r.requests), ',', total(r.input_tokens), ',',
            total(r.output_tokens), ',', total(r.charged_nano_usd), ',',
            total(r.cached_input_tokens), ',', total(r.cache_write_tokens), ',',
            total(r.audio_input_tokens), ',', total(r.cached_audio_input_tokens), ',',
            total(r.image_input_tokens), ',', total(r.cached_image_input_tokens), ',',
            total(r.reasoning_tokens), ',', total(r.audio_output_tokens), ',',
            total(r.image_output_tokens), ',', total(r.overrun_nano_usd), ',',
            total(r.web_search_calls), ',', total(r.web_search_requests), ',',
            total(r.file_search_calls), ',', total(r.code_interpreter_calls)), ',') as cell
        from usage_to_seal(organization, of_width, at) r
          join usage_sealed_members m on m.group_id = r.group_id,
          unnest(m.sealed_ids, usage_groupings()) s (id, grouping)
        where r.minute is null or s.grouping in (7, 11, 14, 15)
        group by r.width, r.minute, s.grouping, s.id) each_group
      group by width, grouping, minute) each_minute
    group by width, grouping;
  delete from usage_unsealed where organization_number = organization and width = of_width and starts_at = at;
end $$;

-- Seals hours and days that were over at `before`, and to which nothing was added since, for about so long; returns how many.
-- The newest come first. Any number of nodes may call it at any time.
create function seal_usage(before timestamptz, for_ms integer) returns integer language plpgsql as $$
declare
  next record;
  sealed integer := 0;
begin
  if not pg_try_advisory_xact_lock(4150927011) then return 0; end if;
  for next in select organization_number, width, starts_at from usage_unsealed
    where touched_at <= before and starts_at + ('1 ' || width)::interval <= before
    order by starts_at desc, width, organization_number
  loop
    perform seal_usage_bucket(next.organization_number, next.width, next.starts_at);
    sealed := sealed + 1;
    exit when clock_timestamp() > now() + for_ms * interval '1 ms';
  end loop;
  return sealed;
end $$;

-- Nothing stays sealed, and all that the rollups know is to be sealed anew.
create function unseal_usage() returns void language sql as $$
  delete from usage_sealed;
  insert into usage_unsealed (organization_number, width, starts_at)
    select organization_number, 'day', starts_at from usage_days group by 1, 3
    union all select organization_number, 'hour', starts_at from usage_hours group by 1, 3
  on conflict do nothing
$$;
select unseal_usage();

-- Adds what was gathered to the rollups. One session at a time: see roll_up_usage.
create or replace function add_gathered_usage() returns void language plpgsql as $$
declare
  measures text[] := array['requests', 'input_tokens', 'output_tokens', 'charged_nano_usd', 'cached_input_tokens',
    'cache_write_tokens', 'audio_input_tokens', 'cached_audio_input_tokens', 'image_input_tokens',
    'cached_image_input_tokens', 'reasoning_tokens', 'audio_output_tokens', 'image_output_tokens', 'overrun_nano_usd',
    'web_search_calls', 'web_search_requests', 'file_search_calls', 'code_interpreter_calls'];
  columns text := (select string_agg(m, ', ') from unnest(measures) m);
  sums text := (select string_agg(format('total(u.%I)', m), ', ') from unnest(measures) m);
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
  perform unseal_gathered_usage();
end $$;

-- As before, and adds up as bigint.
create or replace function roll_up_usage(events_max integer) returns bigint language plpgsql as $$
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
      organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at, total(requests),
      total(input_tokens), total(output_tokens), total(charged_nano_usd), total(cached_input_tokens), total(cache_write_tokens),
      total(audio_input_tokens), total(cached_audio_input_tokens), total(image_input_tokens),
      total(cached_image_input_tokens), total(reasoning_tokens), total(audio_output_tokens), total(image_output_tokens),
      total(overrun_nano_usd), total(web_search_calls), total(web_search_requests), total(file_search_calls),
      total(code_interpreter_calls)
    from usage_by_minute where settled_in >= low and settled_in < high
    group by organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at;
  select total(requests) into events from gathered_usage;
  perform add_gathered_usage();
  update usage_rolled_up set settled_before = high;
  return events;
end $$;

-- As before, and nothing stays sealed.
create or replace function rebuild_usage_rollups() returns void language plpgsql as $$
declare
  since timestamptz := (select before from usage_dropped);
  day timestamptz;
begin
  perform pg_advisory_xact_lock(4150927011);
  truncate usage_minutes, usage_sealed, usage_sealed_groups, usage_sealed_members, usage_unsealed;
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
        organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at, total(requests),
        total(input_tokens), total(output_tokens), total(charged_nano_usd), total(cached_input_tokens),
        total(cache_write_tokens), total(audio_input_tokens), total(cached_audio_input_tokens), total(image_input_tokens),
        total(cached_image_input_tokens), total(reasoning_tokens), total(audio_output_tokens), total(image_output_tokens),
        total(overrun_nano_usd), total(web_search_calls), total(web_search_requests), total(file_search_calls),
        total(code_interpreter_calls)
      from usage_by_minute where settled_in is null and occurred_at >= day and occurred_at < day + interval '1 day'
      group by organization_id, project_id, api_key_id, user_id, model, endpoint, service_tier, starts_at;
    perform add_gathered_usage();
    truncate gathered_usage, gathered_rollup;
  end loop;
  perform unseal_usage();
end $$;
