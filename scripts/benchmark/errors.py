"""What can keep the benchmark from running."""


class BenchmarkError(Exception):
    """The benchmark cannot go on; the message says why."""
