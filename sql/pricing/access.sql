-- Who sees and changes what. List prices and names are for every signed-in user, contracts and
-- markups for the members of their organization; nobody writes any of it but the functions.

revoke all on table
pricing.providers, pricing.provider_names, pricing.models, pricing.model_names,
pricing.price_lists, pricing.prices, pricing.contract_prices, pricing.markups,
pricing.price_history, pricing.current_prices
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table pricing.providers enable row level security;
alter table pricing.provider_names enable row level security;
alter table pricing.models enable row level security;
alter table pricing.model_names enable row level security;
alter table pricing.price_lists enable row level security;
alter table pricing.prices enable row level security;
alter table pricing.contract_prices enable row level security;
alter table pricing.markups enable row level security;

grant select on table
pricing.providers, pricing.provider_names, pricing.models, pricing.model_names,
pricing.price_lists, pricing.prices, pricing.contract_prices, pricing.markups,
pricing.price_history, pricing.current_prices
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy providers_select_everybody on pricing.providers
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy provider_names_select_everybody on pricing.provider_names
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy models_select_everybody on pricing.models
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy model_names_select_everybody on pricing.model_names
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy price_lists_select_everybody on pricing.price_lists
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy prices_select_everybody on pricing.prices
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);

create policy contract_prices_select_member on pricing.contract_prices
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy contract_prices_select_trusted on pricing.contract_prices
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy markups_select_member on pricing.markups
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy markups_select_trusted on pricing.markups
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.is_rate_card(jsonb),
private.count_of(jsonb, text),
private.prompt_tokens(jsonb),
private.completion_tokens(jsonb),
private.assert_usage(text, jsonb),
private.complete_rates(jsonb),
private.assert_rates(text, jsonb),
private.assert_rate(text, text, jsonb),
private.rates_of_prompt(jsonb, bigint),
private.marked_up(numeric, numeric),
private.charged_rates(jsonb, jsonb, numeric),
private.cost_at(jsonb, jsonb),
private.listed_tier(text),
private.find_provider(text),
private.find_model(text, text),
private.match_plain_name(text, text),
private.match_name(text, text),
private.find_listed(text, text),
private.find_markup(uuid, text, text, timestamptz, timestamptz),
private.find_price(uuid, text, text, text, timestamptz, timestamptz),
private.quote_model(uuid, text, text, text, timestamptz, timestamptz),
private.pinned_price(uuid, uuid, uuid),
private.charged_counts(jsonb, jsonb),
pricing.price_usage(text, jsonb, uuid, text, text, timestamptz),
private.lock_prices(),
private.list_model(text, text),
private.set_model_name(text, text, pricing.name_match, text, text),
pricing.set_model_name(text, text, text, text, text),
private.last_revision(uuid, private.model_key, text, timestamptz),
private.add_price(uuid, private.model_key, text, timestamptz, pricing.rate_card, text),
private.assert_effective_from(timestamptz),
pricing.set_price(text, text, jsonb, timestamptz, text, uuid),
pricing.set_markup(uuid, numeric, text, text, timestamptz),
private.list_price_at(private.model_key, text, timestamptz),
private.announcements(private.model_key, text, timestamptz),
private.load_price(text, private.model_key, text, timestamptz[], jsonb[], timestamptz),
private.assert_price_list(jsonb),
private.load_names(text, jsonb),
pricing.load_prices(text, text, jsonb, interval)
from public, anon, authenticated, service_role;

-- Readers: what a usage costs, and what an estimate reads with the caller's rights.
grant execute on function
private.count_of(jsonb, text),
private.prompt_tokens(jsonb),
private.completion_tokens(jsonb),
private.assert_usage(text, jsonb),
private.rates_of_prompt(jsonb, bigint),
private.marked_up(numeric, numeric),
private.charged_rates(jsonb, jsonb, numeric),
private.cost_at(jsonb, jsonb),
private.listed_tier(text),
private.find_provider(text),
private.find_model(text, text),
private.match_plain_name(text, text),
private.match_name(text, text),
private.find_listed(text, text),
private.find_markup(uuid, text, text, timestamptz, timestamptz),
private.find_price(uuid, text, text, text, timestamptz, timestamptz),
private.quote_model(uuid, text, text, text, timestamptz, timestamptz),
private.charged_counts(jsonb, jsonb),
pricing.price_usage(text, jsonb, uuid, text, text, timestamptz)
to authenticated, service_role, app_user, tallystick_writer;

-- Operators: what things cost.
grant execute on function
pricing.set_model_name(text, text, text, text, text),
pricing.set_price(text, text, jsonb, timestamptz, text, uuid),
pricing.set_markup(uuid, numeric, text, text, timestamptz),
pricing.load_prices(text, text, jsonb, interval)
to service_role;
