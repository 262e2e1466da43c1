-- One ledger row and one counter, in one call.
\set counter random(1, :counters)
select bench.record(bench.organization(:counter), bench.workflow(:counter), 0.001);
