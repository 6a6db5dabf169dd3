-- What new usage costs is in proportion to it, also with very many keys and models: then most of what comes within a second is of
-- groups of its own. So it is added to the minutes alone, and to hours and days once its minute is over; and each group is looked up
-- by itself, in place of going through all that there are.

-- Who used what, in few bytes; of these names only a model's may have a bar in it, which is the last. As an index of all these names is several times as large as the table, and as slow.
create function usage_group_digest(project_id text, api_key_id text, user_id text, model text, endpoint text, service_tier text)
returns uuid language sql immutable as $$
  select md5(project_id || '|' || api_key_id || '|' || user_id || '|' || endpoint || '|' || service_tier || '|' || model)::uuid
$$;
alter table usage_groups drop constraint usage_groups_organization_number_project_id_api_key_id_user_key;
create unique index usage_groups_by_digest on usage_groups
  (organization_number, usage_group_digest(project_id, api_key_id, user_id, model, endpoint, service_tier));
-- Most rows of a minute are added to while it lasts
alter table usage_minutes set (fillfactor = 80);

-- Hours and days hold every rolled up event before this minute, and none after it: those are in the minutes alone.
alter table usage_rolled_up add column added_up_before timestamptz;
update usage_rolled_up set added_up_before =
  coalesce((select max(starts_at) + interval '1 minute' from usage_minutes), date_trunc('minute', now(), 'UTC'));
alter table usage_rolled_up alter column added_up_before set not null;

-- What hours and days do not hold yet.
create view usage_not_added_up as
  select * from usage_minutes where starts_at >= (select added_up_before from usage_rolled_up);

create function usage_measures() returns text[] language sql immutable as $$
  select array['requests', 'input_tokens', 'output_tokens', 'charged_nano_usd', 'cached_input_tokens', 'cache_write_tokens',
    'audio_input_tokens', 'cached_audio_input_tokens', 'image_input_tokens', 'cached_image_input_tokens', 'reasoning_tokens',
    'audio_output_tokens', 'image_output_tokens', 'overrun_nano_usd', 'web_search_calls', 'web_search_requests',
    'file_search_calls', 'code_interpreter_calls']
$$;

-- Adds the sums of a query, with the columns of a rollup, to one.
create function add_to_rollup(rollup text, sums_query text) returns void language plpgsql as $$
declare
  -- null and something is something; null and null takes no room
  added text := (select string_agg(format('%1$I = coalesce(r.%1$I + excluded.%1$I, r.%1$I, excluded.%1$I)', m), ', ')
    from unnest(usage_measures()) m);
begin
  execute format('insert into %I as r (organization_number, starts_at, group_id, %s) %s
    on conflict (organization_number, starts_at, group_id) do update set %s',
    rollup, array_to_string(usage_measures(), ', '), sums_query, added);
end $$;

-- What is summed up in units of time, from a table of rollups.
create function usage_sums(source text, unit text, since timestamptz, before timestamptz) returns text language sql stable as $$
  select format('select u.organization_number, date_trunc(%L, u.starts_at, ''UTC''), u.group_id, %s from %I u
      where u.starts_at >= %L and u.starts_at < %L group by 1, 2, 3',
    unit, (select string_agg(format('total(u.%I)', m), ', ') from unnest(usage_measures()) m), source, since, before)
$$;

-- The minute up to which hours and days can be added to. A moment later, because the last of it is still on its way.
create function minutes_are_over() returns timestamptz language sql stable as $$
  select date_trunc('minute', now() - interval '10 seconds', 'UTC')
$$;

-- Adds minutes that are over to hours and days, one at the least and no more than some 200,000 rows of them. Any number of nodes
-- may call it at any time.
-- No "seqscan": minutes are found by their time, of which the planner knows little where they have just been written.
create function add_up_minutes() returns void language plpgsql set enable_seqscan = off as $$
declare
  since timestamptz;
  until timestamptz := minutes_are_over();
  -- of the first minute that has rows too many
  full_at timestamptz;
begin
  if not pg_try_advisory_xact_lock(4150927011) then return; end if;
  select added_up_before into since from usage_rolled_up for update;
  select starts_at into full_at from usage_not_added_up order by starts_at offset 200000 limit 1;
  if full_at is not null then
    until := least(until, greatest(full_at, (select min(starts_at) from usage_not_added_up) + interval '1 minute'));
  end if;
  if since >= until then return; end if;
  perform add_to_rollup('usage_days', usage_sums('usage_minutes', 'day', since, until));
  perform add_to_rollup('usage_hours', usage_sums('usage_minutes', 'hour', since, until));
  update usage_rolled_up set added_up_before = until;
end $$;

-- As before, but that hours and days take only what is late.
create or replace function add_gathered_usage() returns void language plpgsql as $$
declare
  columns text := array_to_string(usage_measures(), ', ');
  numbered text := 'select o.number as organization_number, u.*, (
      select g.id from usage_groups g where g.organization_number = o.number
        and usage_group_digest(g.project_id, g.api_key_id, g.user_id, g.model, g.endpoint, g.service_tier)
          = usage_group_digest(u.project_id, u.api_key_id, u.user_id, u.model, u.endpoint, u.service_tier)
        and (g.project_id, g.api_key_id, g.user_id, g.model, g.endpoint, g.service_tier)
          = (u.project_id, u.api_key_id, u.user_id, u.model, u.endpoint, u.service_tier)) as group_id
    from gathered_usage u join usage_organizations o using (organization_id)';
  minutes_begin timestamptz := usage_minutes_begin();
  -- where nothing was rolled up for a month, not all that is new has minutes
  late_before timestamptz := greatest(minutes_begin, (select added_up_before from usage_rolled_up));
begin
  -- Else the planner takes it for empty; how many rows there are is all that it needs to know
  analyze gathered_usage (starts_at);
  -- Not "on conflict": that would use up a number for each that is known
  insert into usage_organizations (organization_id)
    select distinct u.organization_id from gathered_usage u
      where not exists (select from usage_organizations o where o.organization_id = u.organization_id);
  execute format('with numbered as materialized (%2$s), strangers as (
      insert into usage_groups (organization_number, project_id, api_key_id, user_id, model, endpoint, service_tier)
        select distinct organization_number, project_id, api_key_id, user_id, model, endpoint, service_tier
          from numbered where group_id is null
        returning *)
    insert into gathered_rollup (organization_number, starts_at, group_id, %1$s)
      select organization_number, starts_at, group_id, %1$s from numbered where group_id is not null
      union all select organization_number, starts_at, s.id, %1$s from numbered join strangers s
        using (organization_number, project_id, api_key_id, user_id, model, endpoint, service_tier)', columns, numbered);
  perform add_to_rollup('usage_days', usage_sums('gathered_rollup', 'day', '-infinity', late_before));
  perform add_to_rollup('usage_hours', usage_sums('gathered_rollup', 'hour', '-infinity', late_before));
  perform add_to_rollup('usage_minutes', format('select organization_number, starts_at, group_id, %s from gathered_rollup
    where starts_at >= %L', columns, minutes_begin));
  perform unseal_gathered_usage();
end $$;

-- As before, but hours and days are sealed only when they hold all of their minutes.
create or replace function seal_usage(before timestamptz, for_ms integer) returns integer language plpgsql as $$
declare
  next record;
  sealed integer := 0;
begin
  if not pg_try_advisory_xact_lock(4150927011) then return 0; end if;
  for next in select organization_number, width, starts_at from usage_unsealed
    where touched_at <= before
      and starts_at + ('1 ' || width)::interval <= least(before, (select added_up_before from usage_rolled_up))
    order by starts_at desc, width, organization_number
  loop
    perform seal_usage_bucket(next.organization_number, next.width, next.starts_at);
    sealed := sealed + 1;
    exit when clock_timestamp() > now() + for_ms * interval '1 ms';
  end loop;
  return sealed;
end $$;

-- As before; and all that is over is added up then.
alter function rebuild_usage_rollups() rename to rebuild_usage_sums;
create function rebuild_usage_rollups() returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(4150927011);
  update usage_rolled_up set added_up_before = date_trunc('minute', now(), 'UTC');
  perform rebuild_usage_sums();
end $$;

-- As before, with what is not added up yet.
create or replace function charged_to_keys(keys text[], since timestamptz) returns bigint language plpgsql stable as $$
declare
  waiting numeric;
begin
  execute
    'select coalesce(sum(charged_nano_usd), 0) from (
       select api_key_id, charged_nano_usd from usage_events where settled_in >= $1 and occurred_at >= $2 offset 0) waiting
     where api_key_id = any ($3)'
    into waiting using (select settled_before from usage_rolled_up), since, keys;
  return waiting
    + coalesce((
      select sum(d.charged_nano_usd) from usage_groups g join usage_days d
        on d.organization_number = g.organization_number and d.group_id = g.id
      where g.api_key_id = any (keys) and d.starts_at >= since), 0)
    + coalesce((
      select sum(m.charged_nano_usd) from usage_groups g join usage_not_added_up m
        on m.organization_number = g.organization_number and m.group_id = g.id
      where g.api_key_id = any (keys) and m.starts_at >= since), 0);
end $$;
