-- Fixtures for the tests, in a schema of their own. Loaded into the template database.
create schema tests;
grant usage on schema tests to public;

-- Replaces the clock until the transaction ends.
create function tests.freeze_clock(p_time timestamptz)
returns void
language plpgsql
set datestyle = 'ISO' -- also where the clock is read under another
as $$
begin
  execute format(
    'create or replace function private.clock_now() returns timestamptz language sql volatile '
    'set search_path = '''' as %L', format('select %L::timestamptz', p_time)
  );
end
$$;

create function tests.organization(p_name text default 'Acme', p_time_zone text default 'UTC')
returns uuid
language sql
as $$
  insert into tenancy.organizations (name, time_zone) values (p_name, p_time_zone) returning id
$$;

create function tests.workflow(p_organization_id uuid)
returns uuid
language sql
as $$
  insert into metering.workflows (organization_id) values (p_organization_id) returning id
$$;

create function tests.venture(p_organization_id uuid)
returns uuid
language sql
as $$
  insert into tenancy.ventures (organization_id, name) values (p_organization_id, 'Venture')
  returning id
$$;

-- A new person with a role in the organization.
create function tests.member(p_organization_id uuid, p_role text default 'member')
returns uuid
language sql
as $$
  insert into tenancy.memberships (organization_id, user_id, role)
  values (p_organization_id, gen_random_uuid(), p_role)
  returning user_id
$$;

-- Acts as a role, and as a person where one is given, until "reset role" or the transaction's end.
create function tests.act_as(p_role text, p_user_id uuid default null)
returns void
language plpgsql
as $$
begin
  perform set_config(
    'request.jwt.claims',
    jsonb_strip_nulls(jsonb_build_object('role', p_role, 'sub', p_user_id))::text,
    true
  );
  perform set_config('role', p_role, true);
end
$$;

-- Records one usage of the given cost.
create function tests.spend(p_workflow_id uuid, p_cost numeric, p_model text default 'gpt-4o')
returns void
language sql
as $$
  select public.record_usage_and_increment(
    p_workflow_id => p_workflow_id,
    p_organization_id => (
      select w.organization_id from metering.workflows as w where w.id = p_workflow_id
    ),
    p_model => p_model,
    p_prompt_tokens => 100,
    p_completion_tokens => 20,
    p_cost => p_cost
  )
$$;

-- Holds money for a call and returns the hold; null where it is denied.
create function tests.hold(
  p_organization_id uuid,
  p_cost numeric,
  p_model text default 'gpt-4o',
  p_expires_in interval default '10 minutes'
)
returns uuid
language sql
as $$
  select hold_id from public.authorize_spend(
    p_organization_id, p_model, p_cost, p_expires_in => p_expires_in
  )
$$;

-- Settles a hold at a cost and returns the usage.
create function tests.settle(p_hold_id uuid, p_cost numeric)
returns uuid
language sql
as $$
  select id from public.settle_spend(p_hold_id, null, p_cost)
$$;

-- Sets a list price, US dollars per million tokens, and returns its id.
create function tests.price(
  p_model text,
  p_input numeric default 2.5,
  p_output numeric default 10,
  p_provider text default 'acme'
)
returns uuid
language sql
as $$
  select id from pricing.set_price(
    p_provider, p_model, jsonb_build_object('input_tokens', p_input, 'output_tokens', p_output)
  )
$$;

-- Sets a budget and returns its id.
create function tests.cap(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_limit numeric,
  p_enforcement text default 'hard',
  p_slots integer default null
)
returns uuid
language sql
as $$
  select id from metering.set_budget(
    p_organization_id, p_scope, p_scope_id, p_window, p_limit, p_enforcement, p_slots
  )
$$;

-- The budget of a scope and window; null where there is none.
create function tests.budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text
)
returns uuid
language sql
as $$
  select b.id from metering.budgets as b
  where b.organization_id = p_organization_id
    and b.scope_key = p_scope || ':' || p_scope_id
    and b.time_window = p_window
$$;

-- What a budget's slots sum up to, and whether it is closed.
create function tests.figures(p_budget_id uuid)
returns table (settled numeric, held numeric, remaining numeric, is_closed boolean)
language sql
as $$
  select
    sum(s.settled_usd),
    sum(s.held_usd),
    sum(s.available_usd) - coalesce(sum(s.debt_usd), 0),
    bool_or(s.debt_usd is not null)
  from metering.budget_slots as s
  where s.budget_id = p_budget_id
$$;

-- The facts (DETAIL) a statement is refused with; null where it succeeds.
create function tests.facts_of(p_statement text)
returns jsonb
language plpgsql
as $$
declare
  v_detail text;
begin
  execute p_statement;
  return null;
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return coalesce(nullif(v_detail, ''), '{}');
end
$$;

-- Buys credits.
create function tests.buy(p_organization_id uuid, p_amount numeric)
returns uuid
language sql
as $$
  select id from billing.purchase_credits(p_organization_id, p_amount, gen_random_uuid()::text)
$$;

-- Starts a run that is expected to take 100 + 100 tokens and to cost p_cost.
create function tests.run(p_organization_id uuid, p_cost numeric)
returns uuid
language sql
as $$
  select id from billing.start_run(
    p_organization_id, 100, 100, p_input_cost_usd => p_cost, p_output_cost_usd => 0
  )
$$;

-- Records a call of a run that took p_tokens, half of them output, and cost p_cost.
create function tests.call(p_run_id uuid, p_cost numeric, p_tokens integer default 100)
returns uuid
language sql
as $$
  select billing.record_token_call(
    p_run_id, null, null, null, p_tokens - p_tokens / 2, p_tokens / 2, 'gpt-4o', p_cost
  )
$$;

-- Credits of an organization: balance, reserved.
create function tests.credits(p_organization_id uuid)
returns table (balance numeric, reserved numeric)
language sql
as $$
  select b.balance_usd, b.reserved_usd
  from billing.credit_balances as b
  where b.org_id = p_organization_id
$$;

-- Movements of an organization, one after the other, as text.
create function tests.movements(p_organization_id uuid)
returns setof text
language sql
as $$
  select format(
    '%s%s %s', case l.direction when 'credit' then '+' else '-' end, trim_scale(l.amount_usd), l.reason
  )
  from billing.billing_ledger as l
  inner join billing.credit_balance_history as h
    on h.org_id = l.org_id and h.billing_ledger_id = l.id
  where l.org_id = p_organization_id
  order by h.movement
$$;

-- Makes an organization pay in advance and leaves a row in every table of billing; returns its run
-- that has ended, of which it still owed something for a while.
create function tests.bill(p_organization_id uuid)
returns uuid
language plpgsql
as $$
declare
  v_ended uuid;
  v_running uuid;
  v_agent uuid;
  v_task uuid;
  v_step uuid;
begin
  perform tests.buy(p_organization_id, 0.1);
  v_ended := tests.run(p_organization_id, 0.02);
  perform tests.call(v_ended, 0.15, 1000);
  perform billing.complete_run(v_ended);
  perform tests.buy(p_organization_id, 100);
  v_running := tests.run(p_organization_id, 0.02);
  v_agent := (billing.start_agent(v_running, 'Agent')).id;
  v_task := (billing.start_task(v_running, 'Task', v_agent)).id;
  v_step := (billing.start_step(v_running, 'Step', v_agent, v_task)).id;
  perform billing.record_token_call(
    v_running, v_agent, v_task, v_step, 10, 10, 'gpt-4o', 0.005, 'MISMATCH', 'odd',
    p_reported_total_tokens => 30
  );
  perform tests.hold(p_organization_id, 0.01);
  return v_ended;
end
$$;

-- Opens accounts, one of each type, whose ids are their names; bank is part of cash.
create function tests.chart(p_organization_id uuid)
returns void
language plpgsql
as $$
begin
  perform accounting.set_account(
    p_organization_id, c.code, initcap(c.id), c.account_type, c.parent, p_account_id => c.id
  )
  from (
    values
    ('1000', 'cash', 'asset', null), ('1010', 'bank', 'asset', 'cash'),
    ('2000', 'loan', 'liability', null), ('3000', 'capital', 'equity', null),
    ('4000', 'sales', 'income', null), ('5000', 'rent', 'expense', null)
  ) as c (code, id, account_type, parent);
end
$$;

-- A request for a bundle of two postings, with whatever else is stated.
create function tests.request(
  p_external_id text,
  p_amount numeric default 10,
  p_date date default '2026-01-15',
  p_debit text default 'cash',
  p_credit text default 'sales',
  p_more jsonb default '{}'
)
returns text
language sql
as $$
  select (
    jsonb_build_object(
      'source_system', 'test', 'external_id', p_external_id, 'transaction_date', p_date,
      'description', 'Test', 'correlation_id', 'c-' || p_external_id,
      'postings', jsonb_build_array(
        jsonb_build_object('account_id', p_debit, 'amount', p_amount::text),
        jsonb_build_object('account_id', p_credit, 'amount', (-p_amount)::text)
      )
    ) || p_more
  )::text
$$;

-- Records a bundle of two postings and returns the response.
create function tests.post(
  p_organization_id uuid,
  p_external_id text,
  p_amount numeric default 10,
  p_date date default '2026-01-15',
  p_debit text default 'cash',
  p_credit text default 'sales',
  p_more jsonb default '{}'
)
returns jsonb
language sql
as $$
  select accounting.record_transaction_bundle(
    p_organization_id,
    tests.request(p_external_id, p_amount, p_date, p_debit, p_credit, p_more)
  )::jsonb
$$;

-- Leaves a rule, a proposal and a decision on it. There are accounts.
create function tests.ask_for_approval(p_organization_id uuid)
returns void
language plpgsql
as $$
begin
  perform accounting.set_policy_rule(
    p_organization_id, 'rule', 1000, p_tool_name => 'record_transaction_bundle'
  );
  perform accounting.approve_proposal(
    p_organization_id, tests.post(p_organization_id, 'large', 2000) ->> 'proposal_id',
    p_actor => 'somebody'
  );
end
$$;

-- Leaves a row in every table of the books.
create function tests.keep_books(p_organization_id uuid)
returns void
language plpgsql
as $$
begin
  perform tests.chart(p_organization_id);
  perform tests.post(p_organization_id, 'first');
  perform accounting.record_balance_snapshot(p_organization_id, 'bank', 'cash', '2026-01-31', 10);
  perform accounting.set_obligation(
    p_organization_id, 'lease', 'Rent', 'monthly', 3, '2026-01-31', 'rent'
  );
  perform accounting.set_account_map(p_organization_id, 'cash', 'cash');
  perform accounting.post_provider_cost(p_organization_id, '2020-01-01');
end
$$;
