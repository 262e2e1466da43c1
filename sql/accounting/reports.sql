-- What the books say. Amounts are decimal text with 4 decimals, like all money in composites.
--
-- Reads with the caller's rights; locks nothing. Both days of a span belong to it; without one it
-- is open there. Without an entity all of them are consolidated.

create type accounting.trial_balance_line as (
  entity_id text,
  account_id text,
  parent_account_id text,
  code text,
  name text,
  account_type text,
  currency text,
  opening_balance text,
  debits text,
  credits text,
  closing_balance text
);

comment on type accounting.trial_balance_line is
  'An account over a span of days. Balances are above 0 debit, below 0 credit; each column of all '
  'accounts sums to 0, debits equal credits.';
comment on column accounting.trial_balance_line.entity_id is 'Whose account it is.';
comment on column accounting.trial_balance_line.account_id is 'The account.';
comment on column accounting.trial_balance_line.parent_account_id is 'What it is part of, if any.';
comment on column accounting.trial_balance_line.code is 'Its code.';
comment on column accounting.trial_balance_line.name is 'Its name.';
comment on column accounting.trial_balance_line.account_type is
  'asset, liability, equity, income or expense.';
comment on column accounting.trial_balance_line.currency is 'USD.';
comment on column accounting.trial_balance_line.opening_balance is 'What it had before the span.';
comment on column accounting.trial_balance_line.debits is 'What was debited in the span.';
comment on column accounting.trial_balance_line.credits is
  'What was credited in the span, above 0.';
comment on column accounting.trial_balance_line.closing_balance is
  'What it had at the end of the span.';

create type accounting.account_ledger_line as (
  transaction_date date,
  transaction_id text,
  posting_id text,
  source_system text,
  external_id text,
  description text,
  memo text,
  is_adjusting_entry boolean,
  reverses_transaction_id text,
  currency text,
  amount text,
  running_balance text
);

comment on type accounting.account_ledger_line is 'A posting of an account, with what it then had.';
comment on column accounting.account_ledger_line.transaction_date is 'The day it is booked at.';
comment on column accounting.account_ledger_line.transaction_id is 'The transaction.';
comment on column accounting.account_ledger_line.posting_id is 'The posting.';
comment on column accounting.account_ledger_line.source_system is 'Who sent the transaction.';
comment on column accounting.account_ledger_line.external_id is 'Its id there.';
comment on column accounting.account_ledger_line.description is 'What the transaction is.';
comment on column accounting.account_ledger_line.memo is 'A remark on the posting, if any.';
comment on column accounting.account_ledger_line.is_adjusting_entry is
  'True for an adjusting entry.';
comment on column accounting.account_ledger_line.reverses_transaction_id is
  'The transaction it undoes, if any.';
comment on column accounting.account_ledger_line.currency is 'USD.';
comment on column accounting.account_ledger_line.amount is 'Above 0 debit, below 0 credit.';
comment on column accounting.account_ledger_line.running_balance is
  'The balance of the account after it.';

create type accounting.statement_line as (
  section text,
  entity_id text,
  account_id text,
  parent_account_id text,
  code text,
  name text,
  currency text,
  amount text
);

comment on type accounting.statement_line is
  'A line of an income statement or balance sheet: an account, or where account_id is null the sum '
  'of a section.';
comment on column accounting.statement_line.section is
  'income, expense, net_income; asset, liability, equity, liability_and_equity.';
comment on column accounting.statement_line.entity_id is
  'Whose account it is; of a sum the entity asked for, null for all.';
comment on column accounting.statement_line.account_id is 'The account; null for a sum.';
comment on column accounting.statement_line.parent_account_id is 'What it is part of, if any.';
comment on column accounting.statement_line.code is 'Its code; null for a sum.';
comment on column accounting.statement_line.name is 'Its name, or what the sum is of.';
comment on column accounting.statement_line.currency is 'USD.';
comment on column accounting.statement_line.amount is
  'Above 0 where it is on the usual side of its section: assets and expenses debit, the '
  'rest credit.';

create type accounting.snapshot_difference as (
  snapshot_id text,
  entity_id text,
  account_id text,
  code text,
  snapshot_date date,
  source_system text,
  currency text,
  stated_balance text,
  book_balance text,
  difference text
);

comment on type accounting.snapshot_difference is
  'A balance as others state it beside that of the books.';
comment on column accounting.snapshot_difference.snapshot_id is 'The snapshot.';
comment on column accounting.snapshot_difference.entity_id is 'Whose account it is.';
comment on column accounting.snapshot_difference.account_id is 'The account.';
comment on column accounting.snapshot_difference.code is 'Its code.';
comment on column accounting.snapshot_difference.snapshot_date is 'At the end of which day.';
comment on column accounting.snapshot_difference.source_system is 'Who states it.';
comment on column accounting.snapshot_difference.currency is 'USD.';
comment on column accounting.snapshot_difference.stated_balance is 'What they state.';
comment on column accounting.snapshot_difference.book_balance is 'What the books say.';
comment on column accounting.snapshot_difference.difference is
  'What they state more than the books.';

-- Who reads the books: members with an eye on money, and server roles that read everything.
create function private.assert_reader(p_organization_id uuid, p_entity_id text default null)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  if p_entity_id is not null and not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  end if;
end
$$;

comment on function private.assert_reader(uuid, text) is
  'Refuses those who may not read the books, and an unknown entity. Errors: 22023, 42501, TS404.';

-- Each account over a span, in figures: the one place where postings are summed.
create function private.account_sums(
  p_organization_id uuid,
  p_from date,
  p_to date,
  p_entity_id text
)
returns table (account_id text, opening numeric, debits numeric, credits numeric)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    p.account_id::text,
    coalesce(sum(p.amount) filter (where t.transaction_date < p_from), 0),
    coalesce(
      sum(p.amount) filter (where p.amount > 0 and (t.transaction_date < p_from) is not true), 0
    ),
    coalesce(
      -sum(p.amount) filter (where p.amount < 0 and (t.transaction_date < p_from) is not true), 0
    )
  from accounting.ledger_transactions as t
  inner join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where t.organization_id = p_organization_id
    and (p_entity_id is null or t.entity_id = p_entity_id)
    and (p_to is null or t.transaction_date <= p_to)
  group by p.account_id;
end
$$;

comment on function private.account_sums(uuid, date, date, text) is
  'What each account had before a span, and what was debited and credited within it.';

create function accounting.trial_balance(
  p_organization_id uuid,
  p_from date default null,
  p_to date default null,
  p_entity_id text default null
)
returns setof accounting.trial_balance_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  select
    a.entity_id::text, a.account_id::text, a.parent_account_id::text, a.code::text, a.name::text,
    a.account_type, 'USD', private.book_text(coalesce(s.opening, 0)),
    private.book_text(coalesce(s.debits, 0)), private.book_text(coalesce(s.credits, 0)),
    private.book_text(coalesce(s.opening + s.debits - s.credits, 0))
  from accounting.accounts as a
  left join private.account_sums(p_organization_id, p_from, p_to, p_entity_id) as s
    on s.account_id = a.account_id
  where a.organization_id = p_organization_id
    and (p_entity_id is null or a.entity_id = p_entity_id)
  order by a.code collate "C";
end
$$;

comment on function accounting.trial_balance(uuid, date, date, text) is
  'Every account with its opening balance, debits, credits and closing balance from p_from to '
  'p_to, both included, of one entity or of all. For owners, admins, finance and server roles. '
  'Errors: 22023, 42501, TS404.';

create function accounting.account_ledger(
  p_organization_id uuid,
  p_account_id text,
  p_from date default null,
  p_to date default null
)
returns setof accounting.account_ledger_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_id text;
begin
  perform private.assert_reader(p_organization_id);
  v_entity_id := private.entity_of(p_organization_id, p_account_id);
  return query
  select
    l.transaction_date, l.transaction_id, l.posting_id, l.source_system, l.external_id,
    l.description, l.memo, l.is_adjusting_entry, l.reverses_transaction_id, l.currency,
    private.book_text(l.amount), private.book_text(l.running_balance)
  from (
    select
      t.transaction_date, t.transaction_id::text, p.posting_id::text, t.source_system::text,
      t.external_id::text, t.description, p.memo, t.is_adjusting_entry,
      t.reverses_transaction_id::text, p.currency, p.amount, p.position,
      sum(p.amount) over (
        order by t.transaction_date, t.transaction_id collate "C", p.position
      ) as running_balance
    from accounting.ledger_postings as p
    inner join accounting.ledger_transactions as t
      on t.organization_id = p.organization_id
      and t.entity_id = p.entity_id
      and t.transaction_id = p.transaction_id
    where p.organization_id = p_organization_id
      and p.entity_id = v_entity_id
      and p.account_id = p_account_id
      and (p_to is null or t.transaction_date <= p_to)
  ) as l
  where p_from is null or l.transaction_date >= p_from
  order by l.transaction_date, l.transaction_id collate "C", l.position;
end
$$;

comment on function accounting.account_ledger(uuid, text, date, date) is
  'Every posting of an account from p_from to p_to, both included, by day, with the balance after '
  'it. For owners, admins, finance and server roles. Errors: 22023, 42501, TS404.';

create function accounting.balance_as_of(
  p_organization_id uuid,
  p_account_id text,
  p_date date default null,
  p_with_parts boolean default false
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_id text;
begin
  perform private.assert_reader(p_organization_id);
  v_entity_id := private.entity_of(p_organization_id, p_account_id);
  return (
    with recursive parts as (
      select p_account_id as account_id
      union
      select a.account_id::text
      from accounting.accounts as a
      inner join parts as p on a.parent_account_id = p.account_id
      where a.organization_id = p_organization_id and a.entity_id = v_entity_id and p_with_parts
    )

    select coalesce(sum(l.amount), 0.0000)
    from parts as a
    inner join accounting.ledger_postings as l
      on l.organization_id = p_organization_id
      and l.entity_id = v_entity_id
      and l.account_id = a.account_id
    inner join accounting.ledger_transactions as t
      on t.organization_id = l.organization_id
      and t.entity_id = l.entity_id
      and t.transaction_id = l.transaction_id
    where p_date is null or t.transaction_date <= p_date
  );
end
$$;

comment on function accounting.balance_as_of(uuid, text, date, boolean) is
  'What an account had at the end of a day, US dollars, above 0 debit; without a day, what it has. '
  'p_with_parts: with all accounts below it. For owners, admins, finance and server roles. Errors: '
  '22023, 42501, TS404.';

create function accounting.income_statement(
  p_organization_id uuid,
  p_from date default null,
  p_to date default null,
  p_entity_id text default null
)
returns setof accounting.statement_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  with lines as (
    select
      a.account_type as section, a.entity_id, a.account_id, a.parent_account_id, a.code, a.name,
      coalesce(s.credits - s.debits, 0) as earned
    from accounting.accounts as a
    left join private.account_sums(p_organization_id, p_from, p_to, p_entity_id) as s
      on s.account_id = a.account_id
    where a.organization_id = p_organization_id
      and (p_entity_id is null or a.entity_id = p_entity_id)
      and a.account_type in ('income', 'expense')
  )

  select
    f.section, f.entity_id, f.account_id, f.parent_account_id, f.code, f.name, 'USD',
    private.book_text(f.amount)
  from (
    select
      l.section, l.entity_id::text, l.account_id::text, l.parent_account_id::text, l.code::text,
      l.name::text, case l.section when 'income' then l.earned else -l.earned end as amount,
      case l.section when 'income' then 1 else 3 end as position
    from lines as l
    union all
    select 'income', p_entity_id, null, null, null, 'Total income', coalesce(sum(l.earned), 0), 2
    from lines as l where l.section = 'income'
    union all
    select
      'expense', p_entity_id, null, null, null, 'Total expenses', coalesce(-sum(l.earned), 0), 4
    from lines as l where l.section = 'expense'
    union all
    select 'net_income', p_entity_id, null, null, null, 'Net income', coalesce(sum(l.earned), 0), 5
    from lines as l
  ) as f
  order by f.position, f.code collate "C";
end
$$;

comment on function accounting.income_statement(uuid, date, date, text) is
  'Income and expenses from p_from to p_to, both included, with their sums and the net income, of '
  'one entity or of all. For owners, admins, finance and server roles. Errors: 22023, '
  '42501, TS404.';

create function accounting.balance_sheet(
  p_organization_id uuid,
  p_date date default null,
  p_entity_id text default null
)
returns setof accounting.statement_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  with lines as (
    select
      a.account_type, a.entity_id, a.account_id, a.parent_account_id, a.code, a.name,
      coalesce(s.debits - s.credits, 0) as balance
    from accounting.accounts as a
    left join private.account_sums(p_organization_id, null, p_date, p_entity_id) as s
      on s.account_id = a.account_id
    where a.organization_id = p_organization_id
      and (p_entity_id is null or a.entity_id = p_entity_id)
  ),

  sums as (
    select
      coalesce(sum(l.balance) filter (where l.account_type = 'asset'), 0) as assets,
      coalesce(-sum(l.balance) filter (where l.account_type = 'liability'), 0) as liabilities,
      coalesce(-sum(l.balance) filter (where l.account_type = 'equity'), 0) as equity,
      coalesce(-sum(l.balance) filter (where l.account_type in ('income', 'expense')), 0) as earned
    from lines as l
  )

  select
    f.section, f.entity_id, f.account_id, f.parent_account_id, f.code, f.name, 'USD',
    private.book_text(f.amount)
  from (
    select
      l.account_type as section, l.entity_id::text, l.account_id::text, l.parent_account_id::text,
      l.code::text, l.name::text,
      case l.account_type when 'asset' then l.balance else -l.balance end as amount,
      case l.account_type when 'asset' then 1 when 'liability' then 3 else 5 end as position
    from lines as l where l.account_type in ('asset', 'liability', 'equity')
    union all
    select v.section, p_entity_id, null, null, null, v.name, v.amount, v.position
    from sums as s
    cross join lateral (
      values
      ('asset', 'Total assets', s.assets, 2),
      ('liability', 'Total liabilities', s.liabilities, 4),
      -- What income and expenses come to so far belongs to the owners, though no account says so.
      ('equity', 'Earnings to date', s.earned, 6),
      ('equity', 'Total equity', s.equity + s.earned, 7),
      (
        'liability_and_equity', 'Total liabilities and equity',
        s.liabilities + s.equity + s.earned, 8
      )
    ) as v (section, name, amount, position)
  ) as f
  order by f.position, f.code collate "C";
end
$$;

comment on function accounting.balance_sheet(uuid, date, text) is
  'Assets, liabilities and equity at the end of a day, with their sums, of one entity or of all; '
  'income less expenses so far are the earnings in equity, so that assets are liabilities and '
  'equity. For owners, admins, finance and server roles. Errors: 22023, 42501, TS404.';

create function accounting.compare_snapshots(
  p_organization_id uuid,
  p_entity_id text default null
)
returns setof accounting.snapshot_difference
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  select
    s.snapshot_id::text, s.entity_id::text, s.account_id::text, a.code::text, s.snapshot_date,
    s.source_system::text, s.currency, private.book_text(s.balance), private.book_text(b.balance),
    private.book_text(s.balance - b.balance)
  from accounting.balance_snapshots as s
  inner join accounting.accounts as a
    on a.organization_id = s.organization_id and a.account_id = s.account_id
  cross join lateral (
    select coalesce(sum(p.amount), 0) as balance
    from accounting.ledger_postings as p
    inner join accounting.ledger_transactions as t
      on t.organization_id = p.organization_id
      and t.entity_id = p.entity_id
      and t.transaction_id = p.transaction_id
    where p.organization_id = s.organization_id
      and p.entity_id = s.entity_id
      and p.account_id = s.account_id
      and t.transaction_date <= s.snapshot_date
  ) as b
  where s.organization_id = p_organization_id
    and (p_entity_id is null or s.entity_id = p_entity_id)
  order by s.snapshot_date, a.code collate "C";
end
$$;

comment on function accounting.compare_snapshots(uuid, text) is
  'Each balance that others stated beside that of the books, and the difference, of one entity or '
  'of all. For owners, admins, finance and server roles. Errors: 22023, 42501, TS404.';
