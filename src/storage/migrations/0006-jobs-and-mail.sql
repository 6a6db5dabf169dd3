-- Jobs that run by themselves, what they found, and the mail that they and changes send.

-- Runs of jobs: for people. The queue itself is graphile-worker's, in a schema of its own.
create table job_runs (
  id bigint generated always as identity primary key,
  job text not null,
  node_id text not null,
  -- who waits for this very run
  asked_id uuid,
  started_at timestamptz not null,
  ended_at timestamptz not null default clock_timestamp(),
  outcome text not null check (outcome in ('done', 'failed')),
  -- what was done, or why it failed
  report text not null
);
create index job_runs_by_job on job_runs (job, id);
create index job_runs_by_asker on job_runs (asked_id) where asked_id is not null;

-- Mail ---------------------------------------------------------------------------------------------------------------

-- Written in the transaction of what it tells of, so that there is a mail for what was committed and for nothing else.
create table mails (
  id text primary key,
  -- null: from the installation itself
  organization_id text,
  kind text not null,
  recipient text not null,
  subject text not null,
  body text not null,
  -- what stands in for {link} in the body: it opens something, so it is sealed, and forgotten once the mail has left
  link_sealed bytea,
  -- held: there is no mail server; failed: given up
  state text not null default 'queued' check (state in ('queued', 'held', 'sent', 'failed')),
  tries integer not null default 0,
  next_try_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  sent_at timestamptz,
  -- of the last try
  failure text
);
create index mails_due on mails (next_try_at) where state in ('queued', 'held');
create index mails_by_time on mails (created_at, id);

-- Spend alerts -------------------------------------------------------------------------------------------------------

alter table spend_alerts
  alter column threshold_cents drop not null,
  -- of the scope's spend limit, as that is when the alert is looked at
  add column threshold_percent integer check (threshold_percent between 1 and 1000),
  add column last_fired_at timestamptz,
  add constraint spend_alert_at_one_threshold check (num_nonnulls(threshold_cents, threshold_percent) = 1);

-- Once an alert and month
create table spend_alert_firings (
  alert_id text not null references spend_alerts on delete cascade,
  starts_at timestamptz not null,
  spent_nano_usd bigint not null,
  threshold_nano_usd bigint not null,
  fired_at timestamptz not null default now(),
  primary key (alert_id, starts_at)
);

-- Null: a share of a limit that there is not
create function spend_alert_threshold(alert spend_alerts) returns bigint language sql stable as $$
  select coalesce(alert.threshold_cents * 10000000,
    floor(spend_limit_of(alert.scope_id, 'month')::numeric * alert.threshold_percent / 100)::bigint)
$$;

-- A share of a key's budget that was told of, once a period
create table key_budget_notices (
  key_id text not null,
  period text not null,
  starts_at timestamptz not null,
  percent integer not null,
  told_at timestamptz not null default now(),
  primary key (key_id, period, starts_at, percent)
);

-- Rotation -----------------------------------------------------------------------------------------------------------

-- So many days before it was due, its owner was told; 0: when it was
create table rotation_reminders (
  key_id text not null references api_keys on delete cascade,
  due_at timestamptz not null,
  days_before integer not null,
  sent_at timestamptz not null default now(),
  primary key (key_id, due_at, days_before)
);
create index api_keys_by_rotation_time on api_keys (rotate_next_at)
  where rotate_next_at is not null and revoked_at is null;
create index api_keys_expired_secrets on api_keys (expires_at) where minted_by is not null;

-- Usage tiers ----------------------------------------------------------------------------------------------------------

-- There are few, and what was taken back of a grant is in them
create index ledger_transactions_revoked on ledger_transactions (reference) where kind = 'revoke';

-- Verifying the ledger -----------------------------------------------------------------------------------------------

create index ledger_transactions_by_time on ledger_transactions (created_at);

-- The sum of an account's entries in transactions that began until then, as it was when it was verified
create table ledger_checkpoints (
  account_id text primary key references ledger_accounts,
  sum_nano_usd bigint not null,
  verified_until timestamptz not null
);

-- When a spend window was last compared with usage: in each run those that were not for the longest time
create table spend_window_checks (
  scope_id text not null,
  period text not null,
  starts_at timestamptz not null,
  checked_at timestamptz not null default now(),
  primary key (scope_id, period, starts_at)
);

-- What does not add up. Of one thing one row that is open.
create table ledger_findings (
  id bigint generated always as identity primary key,
  rule text not null,
  subject text not null,
  -- nano-dollars, where the rule compares amounts
  expected numeric,
  found numeric,
  found_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  -- a later look no longer saw it
  gone_at timestamptz
);
create unique index ledger_findings_open on ledger_findings (rule, subject) where gone_at is null;
