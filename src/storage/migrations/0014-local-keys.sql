-- The command line on the server's own machine must get in when the organization's list of addresses shuts everybody out. Whoever may
-- read its key there may read the database too.
alter table api_keys add column is_local boolean not null default false;
