-- An invitation is worth what whoever sent it may give. Null: sent with a machine's own key, or before this was kept.
alter table invites add column invited_by text references users;
create index invites_pending on invites (organization_id)
  where accepted_at is null and deleted_at is null and invited_by is not null;
