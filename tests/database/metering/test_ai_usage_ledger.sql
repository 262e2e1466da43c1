begin;
select plan(33);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001');
select tests.spend('a0000000-0000-4000-8000-000000000001', 1);

-- The document's columns and indexes.
select columns_are(
  'public', 'ai_usage_ledger',
  array[
    'id', 'workflow_id', 'organization_id', 'model', 'prompt_tokens', 'completion_tokens', 'cost',
    'created_at', 'settled_at', 'run_id', 'venture_id', 'user_id', 'api_key_id', 'provider',
    'service_tier', 'tags', 'settlement', 'unheld_usd', 'listed_model', 'token_counts',
    'cost_basis', 'price_id', 'markup_id', 'rates', 'zero_cost_reason',
    'xact_id'
  ],
  'the document''s columns, who spent, how it was held and recorded, how its cost follows, and in which transaction it was written'
);
select col_is_null(
  'public', 'ai_usage_ledger', 'workflow_id', 'a call outside any workflow is a usage too'
);
select has_index(
  'public', 'ai_usage_ledger', 'idx_ai_usage_ledger_org_month',
  array['organization_id', 'created_at'], 'the index by organization and month'
);
select has_index(
  'public', 'ai_usage_ledger', 'idx_ai_usage_ledger_workflow', array['workflow_id'],
  'the index by workflow'
);
select col_is_pk(
  'public', 'ai_usage_ledger', array['organization_id', 'id'], 'the tenant leads the key'
);

-- Append-only, also for the owner.
select throws_ok($$update ai_usage_ledger set cost = 0$$, '23001', null, 'no update');
select throws_ok($$delete from ai_usage_ledger$$, '23001', null, 'no delete');
select throws_ok($$truncate ai_usage_ledger$$, '23001', null, 'no truncate');
create temp table used as select tableoid::regclass as partition from ai_usage_ledger;
select throws_ok(
  format('truncate %s', (select partition from used)),
  '23001', null, 'no truncate of a partition'
);
select throws_ok(
  format('update %s set cost = 0', (select partition from used)),
  '23001', null, 'no update of a partition'
);
select throws_ok(
  $$insert into ai_usage_ledger select * from ai_usage_ledger
    on conflict (organization_id, id) do update set cost = 0$$,
  '23001', null, 'no update by insert'
);

-- What no row can be, whoever writes it.
create function pg_temp.refused(p_columns jsonb, p_code text, p_description text)
returns text language plpgsql as $$
declare
  v_row jsonb := jsonb_build_object(
    'id', private.uuid_v7('2026-03-10 12:00:00+00'),
    'workflow_id', 'a0000000-0000-4000-8000-000000000001',
    'organization_id', 'a0000000-0000-4000-8000-000000000000',
    'model', 'm', 'prompt_tokens', 1, 'completion_tokens', 1, 'cost', 1,
    'created_at', '2026-03-10 12:00:00+00', 'settled_at', '2026-03-10 12:00:00+00',
    'tags', '{}', 'settlement', 'without_hold', 'unheld_usd', 1, 'xact_id', '1',
    'token_counts', '{"input_tokens": 1, "output_tokens": 1}'::jsonb, 'cost_basis', 'stated'
  ) || p_columns;
begin
  perform private.create_partition('public.ai_usage_ledger', '2026-03-01');
  return extensions.throws_ok(
    format(
      'insert into public.ai_usage_ledger '
      'select * from jsonb_populate_record(null::public.ai_usage_ledger, %L)', v_row
    ),
    p_code, null, p_description
  );
end
$$;
create temp table before_refusals as select count(*) as usages from ai_usage_ledger;
select pg_temp.refused('{"cost": -0.01}', '23514', 'a negative cost');
select pg_temp.refused('{"cost": "NaN"}', '23514', 'a cost of NaN');
select pg_temp.refused('{"cost": 1000000000000}', '22003', 'a cost of a trillion');
select pg_temp.refused('{"prompt_tokens": -1}', '23514', 'negative prompt tokens');
select pg_temp.refused('{"completion_tokens": -1}', '23514', 'negative completion tokens');
select pg_temp.refused('{"model": " "}', '23514', 'a blank model');
select pg_temp.refused('{"created_at": "2026-03-10 12:00:00.001+00"}', '23514',
  'a time that is not the id''s');
select pg_temp.refused('{"settled_at": "2026-03-10 11:00:00+00"}', '23514',
  'recorded before it happened');
select pg_temp.refused('{"organization_id": null}', '23502', 'no organization');
select pg_temp.refused('{"settlement": null}', '23502', 'no word on how it was held');
select pg_temp.refused('{"settlement": "somehow"}', '22P02', 'held in a way that is none');
select pg_temp.refused('{"unheld_usd": -1}', '23514', 'less than nothing without a hold');
select pg_temp.refused('{"api_key_id": ""}', '23514', 'a blank API key');
select pg_temp.refused('{"provider": " "}', '23514', 'a blank provider');
select pg_temp.refused('{"service_tier": ""}', '23514', 'a blank service tier');
select pg_temp.refused('{"token_counts": {"input_tokens": 2, "output_tokens": 1}}', '23514',
  'input classes that are not its prompt tokens');
select pg_temp.refused('{"token_counts": {"input_tokens": 1, "reasoning_tokens": 2}}', '23514',
  'output classes that are not its completion tokens');
select pg_temp.refused('{"cost": 0}', '23514', 'tokens for nothing without a reason');
select pg_temp.refused('{"zero_cost_reason": "free_model"}', '23514',
  'a reason for nothing where it cost something');
select pg_temp.refused('{"cost_basis": "priced"}', '23514', 'priced without a price');
select pg_temp.refused('{"price_id": "a0000000-0000-4000-8000-00000000000f"}', '23514',
  'a price without its rates');
select pg_temp.refused('{"id": "a0000000-0000-4000-8000-00000000000f"}', '23514',
  'an id that was made elsewhere');

select * from finish();
rollback;
