-- Settle the next batch. An item that fails, or no batch left, divides by 0.
select 1 / (count(*) = :batch_size and bool_and(s.error_code is null))::integer
from bench.batches as b
cross join public.settle_spend_batch(b.organization_id, b.items) as s
where b.number = (select nextval('bench.next_batch'));
