-- Where rows that are deleted stood in their lists, so that whoever deletes what they list, page by page, gets to the end: the
-- cursor of the next page is a row that is gone. Kept for a day. Rows that stay when they end (keys, people, invites, service
-- accounts) say it themselves.

create table list_places (
  list text not null,
  -- whose list: the columns that say so, put together
  within text not null,
  id text not null,
  sorted_at timestamptz not null,
  deleted_at timestamptz not null default now(),
  primary key (list, within, id)
);
create index list_places_by_age on list_places (deleted_at);

-- Arguments: the column with the id, the one that the list is sorted by, and those that say whose list it is.
create function keep_list_place() returns trigger language plpgsql as $$
declare
  gone jsonb := to_jsonb(old);
begin
  insert into list_places (list, within, id, sorted_at)
    select tg_table_name, coalesce(string_agg(gone ->> name, '' order by place), ''), gone ->> tg_argv[0], (gone ->> tg_argv[1])::timestamptz
    from unnest(tg_argv[2:]) with ordinality as given (name, place)
  on conflict (list, within, id) do update set sorted_at = excluded.sorted_at, deleted_at = excluded.deleted_at;
  return null;
end $$;

create trigger groups_place after delete on groups
  for each row execute function keep_list_place('id', 'created_at', 'organization_id');
create trigger group_users_place after delete on group_users
  for each row execute function keep_list_place('user_id', 'added_at', 'group_id');
create trigger project_users_place after delete on project_users
  for each row execute function keep_list_place('user_id', 'added_at', 'project_id');
create trigger project_groups_place after delete on project_groups
  for each row execute function keep_list_place('group_id', 'created_at', 'project_id');
create trigger roles_place after delete on roles
  for each row execute function keep_list_place('id', 'created_at', 'organization_id', 'project_id');
create trigger role_assignments_place after delete on role_assignments
  for each row execute function keep_list_place('role_id', 'created_at', 'organization_id', 'project_id', 'principal_id');
create trigger spend_alerts_place after delete on spend_alerts
  for each row execute function keep_list_place('id', 'created_at', 'scope_id');
create trigger certificates_place after delete on certificates
  for each row execute function keep_list_place('id', 'created_at', 'organization_id');
create trigger providers_place after delete on providers
  for each row execute function keep_list_place('id', 'created_at');
