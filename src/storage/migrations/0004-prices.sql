-- Prices with everything that a call can be charged by, dated ahead and by the hour of the day, and the operator's margin.

alter table prices
  -- rates of other kinds of tokens, calls, long-context tiers, service tiers; null: none. As storage/price-details.ts reads it
  add column details jsonb,
  -- rows that were made together, counted for each model: the newest set that has begun is charged by, whatever was dated
  -- ahead before it
  add column set_number integer not null default 0,
  -- charged only at these hours, UTC
  add column daily_from time,
  add column daily_to time,
  -- hundredths of a percent that are in these rates on top of what the table of known prices says
  add column margin_basis_points integer not null default 0 check (margin_basis_points >= 0),
  add constraint prices_daily_span check ((daily_from is null) = (daily_to is null));

-- The margin on known prices: the operator's organization holds the installation's, a model its own; null is the installation's
alter table organizations
  add column price_margin_basis_points integer not null default 0 check (price_margin_basis_points >= 0);
alter table models
  add column price_margin_basis_points integer check (price_margin_basis_points >= 0);
