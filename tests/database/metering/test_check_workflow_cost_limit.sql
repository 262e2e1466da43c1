begin;
select plan(50);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme'),
('b0000000-0000-4000-8000-000000000000', 'Bravo');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001'),
('b0000000-0000-4000-8000-000000000000', 'b0000000-0000-4000-8000-000000000001');

-- The documented default applies where no cap is stored.
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1.00),
  'without a stored cap, exactly 1.00 fits the default'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1.000000000001),
  'a trillionth above the default does not fit'
);
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 7, 7),
  'without a stored cap, a stated cap above the default applies'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0.2, 0.1),
  'without a stored cap, a stated cap below the default applies'
);

select tests.spend('a0000000-0000-4000-8000-000000000001', 0.999999999999);
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0.000000000001),
  'what is spent counts: the last trillionth fits'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0.000000000002),
  'what is spent counts: one trillionth more does not fit'
);
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0, 0.999999999999),
  'nothing more fits a cap that is used up exactly'
);

-- A stored cap wins over the default and over a higher stated one; a lower stated one lowers it.
select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001',
  'total', 50
);
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 49),
  'stored 50 with the default argument is 50'
);
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 49, 1.00),
  'a stated 1.00 is the default and is ignored'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 4.5, 5),
  'stored 50 with 5 stated is 5'
);
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 4, 5),
  'stored 50 with 5 stated admits what fits 5'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 60, 100),
  'a stated cap above the stored one does not raise it'
);
select id from metering.remove_budget(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001',
  'total'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0.1),
  'without its stored cap the workflow is back at the default'
);
select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001',
  'total', 0
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0),
  'a stored cap of 0 below what is spent refuses even nothing'
);
select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001',
  'total', 50
);

-- Held money counts, whoever holds it for this workflow; what an overdue hold keeps is free.
select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table held as
select d.hold_id as id
from authorize_spend(
  'a0000000-0000-4000-8000-000000000000', 'm', 40,
  p_workflow_id => 'a0000000-0000-4000-8000-000000000001', p_expires_in => '1 minute'
) as d;
select tests.hold('a0000000-0000-4000-8000-000000000000', 1000);
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 9.000000000001),
  'settled + held + additional fits exactly; what is held outside the workflow does not count'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 9.000000000002),
  'what is held counts: a trillionth more does not fit'
);
select ok(
  not estimate_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 9.000000000002),
  'the estimate counts it too'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0.1, 41),
  'against a lower stated cap as well'
);
select tests.freeze_clock('2026-03-10 12:01:00+00');
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 49),
  'what an overdue hold keeps is free'
);
select ok(
  estimate_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 49),
  'the estimate frees it too'
);
select tests.settle(held.id, 30) from held;
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 19.000000000001),
  'once it is settled what it cost counts'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 19.000000000002),
  'and no less'
);
create temp table released as
select d.hold_id as id
from authorize_spend(
  'a0000000-0000-4000-8000-000000000000', 'm', 19,
  p_workflow_id => 'a0000000-0000-4000-8000-000000000001'
) as d;
select h.id from released, release_spend(released.id) as h;
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 19.000000000001),
  'what was released does not count'
);
select b.id from metering.freeze(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001'
) as b;
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0),
  'a frozen workflow is refused, whatever is left'
);
select b.id from metering.unfreeze(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001'
) as b;
select tests.cap(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001',
  'total', 100
);

-- The organization may be named, by position or by name.
select ok(
  check_workflow_cost_limit(
    'a0000000-0000-4000-8000-000000000001', 1, 1.00, 'a0000000-0000-4000-8000-000000000000'
  ),
  'the organization may be named'
);
select ok(
  check_workflow_cost_limit(
    p_workflow_id => 'a0000000-0000-4000-8000-000000000001', p_additional_cost => 1
  ),
  'arguments go by name'
);

-- What is no argument is refused with a code.
select throws_ok(
  $$select check_workflow_cost_limit(null, 1)$$, '22023', null, 'no workflow'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', null)$$,
  '22023', null, 'no cost'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', -0.01)$$,
  '22023', null, 'a negative cost'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 'NaN')$$,
  '22023', null, 'NaN'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 'Infinity')$$,
  '22023', null, 'Infinity'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 0.0000000000001)$$,
  '22023', null, '13 decimals'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1e12)$$,
  '22023', null, 'a trillion dollars'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1, null)$$,
  '22023', null, 'no cap'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1, 'NaN')$$,
  '22023', null, 'a cap of NaN'
);
select throws_ok(
  $$select check_workflow_cost_limit('c0000000-0000-4000-8000-000000000001', 1)$$,
  'TS404', null, 'an unknown workflow'
);
select throws_ok(
  $$select check_workflow_cost_limit(
      'a0000000-0000-4000-8000-000000000001', 1, 1.00, 'b0000000-0000-4000-8000-000000000000')$$,
  'TS404', null, 'a workflow of another organization'
);
select throws_ok(
  $$select check_workflow_cost_limit(
      'a0000000-0000-4000-8000-000000000001', 1, 1.00, 'c0000000-0000-4000-8000-000000000000')$$,
  'TS404', null, 'an unknown organization'
);

-- A frozen organization is refused.
update tenancy.organizations set frozen_at = now()
where id = 'b0000000-0000-4000-8000-000000000000';
select ok(
  not check_workflow_cost_limit('b0000000-0000-4000-8000-000000000001', 0),
  'a frozen organization is refused, whatever is left'
);
select ok(
  not estimate_workflow_cost_limit('b0000000-0000-4000-8000-000000000001', 0),
  'the estimate says the same'
);
update tenancy.organizations set frozen_at = null
where id = 'b0000000-0000-4000-8000-000000000000';
select ok(
  check_workflow_cost_limit('b0000000-0000-4000-8000-000000000001', 1),
  'and is admitted again when it is no longer frozen'
);

-- A check changes nothing.
create temp view counters as
select jsonb_agg(to_jsonb(s) order by s.budget_id, s.slot) as slots from metering.budget_slots as s;
create temp table before_checks as table counters;
select ok(
  check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1), 'a check that says yes'
);
select ok(
  not check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1000),
  'and one that says no'
);
select results_eq('table counters', 'table before_checks', 'change nothing');

-- The estimate answers in a read-only transaction, where the check may not lock.
select ok(
  estimate_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 49),
  'the estimate knows the stored cap'
);
select ok(
  not estimate_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 4.5, 5),
  'the estimate knows a lower stated cap'
);
select throws_ok(
  $$select estimate_workflow_cost_limit('c0000000-0000-4000-8000-000000000001', 1)$$,
  'TS404', null, 'the estimate knows no unknown workflow'
);
select throws_ok(
  $$select estimate_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 'NaN')$$,
  '22023', null, 'the estimate takes no NaN'
);
set transaction read only;
select ok(
  estimate_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1),
  'the estimate needs no right to write'
);
select throws_ok(
  $$select check_workflow_cost_limit('a0000000-0000-4000-8000-000000000001', 1)$$,
  '25006', null, 'the check locks, so it does'
);

select * from finish();
rollback;
