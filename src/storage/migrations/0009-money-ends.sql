-- Usage that comes when its leases are gone, leases that are kept no more, and what owners limit themselves to.

-- As before, but that what one late lease has of the credit the next one has not.
create or replace function settle_late(lease uuid, organization text, within bigint)
returns table (from_lease bigint, from_credit bigint, borne bigint) language plpgsql as $$
declare
  call record;
  credit bigint;
  part bigint;
  rest bigint := within;
begin
  from_lease := 0; from_credit := 0; borne := 0;
  select balance_nano_usd into credit from ledger_accounts where id = organization || '/credit' for no key update;
  -- less what other leases of this batch have had of it, which is posted at its end
  credit := coalesce(credit, 0) + coalesce((select sum(amount) from paying where account = organization || '/credit'), 0);
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

-- Closed leases are deleted after a while: what comes for one of those is as late as for one that was taken back.
create index leases_by_end on leases (closed_at) where closed_at is not null;

-- What an organization's owner set stands beside what the operator grants: the lower of the two holds, also when its usage tier
-- is lowered later. Who set what is there already is not known; it counts as the operator's.
alter table rate_limits add column by_owner boolean not null default false,
  drop constraint rate_limits_pkey, add primary key (scope_id, model, by_owner);
