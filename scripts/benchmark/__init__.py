"""What Tallystick's hot path costs, as ratios to a floor measured beside it.

- `cases` says what is measured, `setup/*.sql` prepares a database for it, `run/*.sql` is what
  pgbench repeats.
- `server` runs the durable Postgres, `pgbench` one timed run, `schedule` all of them in turn.
- `results` makes ratios of the runs, `goals` holds them against what is promised, `report` and
  `chart` show them.

Absolute rates depend on the machine and the hour. A ratio inside one round, where the floor ran
seconds before under the same load, depends on them far less.
"""
