-- Prices to read: all there ever were, and those of today.

create view pricing.price_history
with (security_invoker = true)
as
select
  p.id,
  null::uuid as organization_id,
  p.provider::text as provider,
  p.model::text as model,
  p.service_tier::text as service_tier,
  p.effective_from,
  lead(p.effective_from) over (
    partition by p.provider, p.model, p.service_tier order by p.effective_from, p.revision
  ) as effective_until,
  p.revision,
  p.rates::jsonb as rates,
  p.source::text as source,
  p.created_at
from pricing.prices as p
union all
select
  c.id,
  c.organization_id,
  c.provider,
  c.model,
  c.service_tier,
  c.effective_from,
  lead(c.effective_from) over (
    partition by c.organization_id, c.provider, c.model, c.service_tier
    order by c.effective_from, c.revision
  ) as effective_until,
  c.revision,
  c.rates::jsonb as rates,
  'contract' as source,
  c.created_at
from pricing.contract_prices as c;

comment on view pricing.price_history is
  'Every price there ever was, of lists and contracts. One that a revision replaced has no time '
  'left: it ends when it begins.';
comment on column pricing.price_history.id is 'Its id: holds and usages name it.';
comment on column pricing.price_history.organization_id is
  'Whose contract it is; null for a list price.';
comment on column pricing.price_history.provider is 'Who serves the model.';
comment on column pricing.price_history.model is 'The model, by its listed name.';
comment on column pricing.price_history.service_tier is 'The service tier.';
comment on column pricing.price_history.effective_from is 'From when on it holds.';
comment on column pricing.price_history.effective_until is
  'When the next one begins; null where none does.';
comment on column pricing.price_history.revision is
  'Of prices with the same beginning the highest holds.';
comment on column pricing.price_history.rates is
  'US dollars per million, by context tier and token class; null where the price ended.';
comment on column pricing.price_history.source is
  'The price list it comes from, manual, or contract.';
comment on column pricing.price_history.created_at is 'When it became known here.';

create view pricing.current_prices
with (security_invoker = true)
as
select
  h.id,
  h.organization_id,
  h.provider,
  h.model,
  h.service_tier,
  h.effective_from,
  h.rates,
  h.source,
  l.version,
  coalesce(l.checked_at + l.max_age < private.clock_now(), false) as is_stale
from pricing.price_history as h
left join pricing.price_lists as l on h.source = l.source
where h.rates is not null
  and h.effective_from <= private.clock_now()
  and (h.effective_until is null or h.effective_until > private.clock_now());

comment on view pricing.current_prices is 'The prices that hold now.';
comment on column pricing.current_prices.id is 'Its id: holds and usages name it.';
comment on column pricing.current_prices.organization_id is
  'Whose contract it is; null for a list price.';
comment on column pricing.current_prices.provider is 'Who serves the model.';
comment on column pricing.current_prices.model is 'The model, by its listed name.';
comment on column pricing.current_prices.service_tier is 'The service tier.';
comment on column pricing.current_prices.effective_from is 'Since when it holds.';
comment on column pricing.current_prices.rates is
  'US dollars per million, by context tier and token class.';
comment on column pricing.current_prices.source is
  'The price list it comes from, manual, or contract.';
comment on column pricing.current_prices.version is 'The version of that list.';
comment on column pricing.current_prices.is_stale is
  'Whether nobody has checked that list for too long: then it grants nothing.';
