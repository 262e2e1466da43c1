"""What is measured: the cases, and the databases they start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from scripts.benchmark.errors import BenchmarkError

FLOOR: Final = "floor"
BATCH_SIZE: Final = 100
_BATCHES_PER_SECOND: Final = 900  # prepared for every second a run may last
_SPENDERS: Final = 1000  # organizations, or workflows of the one hot organization


@dataclass(frozen=True, slots=True)
class Stage:
    """A database that is prepared once and copied for every run on it.

    Attributes:
        setup: The script in `setup/` that prepares it.
        variables: What the setup and the scripts of the cases may refer to as `:name`.
    """

    setup: str
    variables: dict[str, int]

    @property
    def name(self) -> str:
        """A name for the database, telling what is in it."""
        return "_".join([self.setup, *(str(value) for value in self.variables.values())])


@dataclass(frozen=True, slots=True)
class Case:
    """One thing measured.

    Attributes:
        name: What options and results call it.
        title: What it is, in a few words.
        stage: Where it runs.
        script: The script in `run/` that is repeated; one repetition is one transaction to pgbench.
        units: How many ledger rows or answers one repetition makes.
        batches: How many batches the stage holds, where a run uses them up; such a run ends by
            count instead of by time.
    """

    name: str
    title: str
    stage: Stage
    script: str
    units: int = 1
    batches: int | None = None


def all_cases(slots: Sequence[int], seconds: int) -> list[Case]:
    """Return every case, the floor first.

    Args:
        slots: Slot counts of the hot organization. The first stripes everything that is striped;
            each further one adds a case of its own.
        seconds: How long a run lasts, for stages that are used up by it.
    """
    many = _spenders(organizations=_SPENDERS, workflows=_SPENDERS)
    hot_organization = _spenders(workflows=_SPENDERS, slots=slots[0])
    hot_workflow = _spenders(slots=slots[0], workflow_slots=slots[0])
    prepaid = Stage("prepaid", many.variables)
    hot_run = Stage("prepaid", hot_workflow.variables)
    exhausted = Stage("exhausted", hot_organization.variables)
    batches = _BATCHES_PER_SECOND * seconds
    held = Stage("batches", {**many.variables, "batches": batches, "batch_size": BATCH_SIZE})
    return [
        Case(FLOOR, "Floor, 10,000 counters", _counters(10_000), "floor"),
        Case("hot_counter", "One counter", _counters(1), "floor"),
        Case("documents_pair", "Documents' pair, 1,000 organizations", many, "documents_pair"),
        Case(
            "documents_pair_hot",
            "Documents' pair, one organization",
            hot_organization,
            "documents_pair",
        ),
        Case("pair_uncontended", "Pair, 1,000 organizations", many, "pair"),
        Case("pair_priced", "Pair by token counts", many, "pair_priced"),
        Case("pair_draw", "Pair paid in advance", prepaid, "pair"),
        Case("pair_run", "Pair in runs", prepaid, "pair_run"),
        Case("pair_hot_run", f"Pair, one run, {slots[0]} slots", hot_run, "pair_run"),
        Case("pair_no_request_id", "Pair without request id", many, "pair_no_request_id"),
        *_hot_organizations(slots),
        Case("pair_hot_workflow", f"Pair, one workflow, {slots[0]} slots", hot_workflow, "pair"),
        Case("refusals", "Refusals, exhausted organization", exhausted, "refusal"),
        Case(
            "settle_batch",
            f"Settled in batches of {BATCH_SIZE}",
            held,
            "settle_batch",
            units=BATCH_SIZE,
            batches=batches,
        ),
    ]


def select(cases: Sequence[Case], patterns: Sequence[str]) -> list[Case]:
    """Return the cases that match a name or pattern, in their own order, and always the floor.

    Raises:
        BenchmarkError: A pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in cases):
            names = ", ".join(case.name for case in cases)
            raise BenchmarkError(f"No case is called {pattern}. There are: {names}")
    wanted = [FLOOR, *patterns]
    return [case for case in cases if any(fnmatchcase(case.name, name) for name in wanted)]


def _hot_organizations(slots: Sequence[int]) -> list[Case]:
    name = "pair_hot_organization"
    return [
        Case(
            name if count == slots[0] else f"{name}_{count}",
            f"Pair, one organization, {count} slots",
            _spenders(workflows=_SPENDERS, slots=count),
            "pair",
        )
        for count in slots
    ]


def _spenders(
    *, organizations: int = 1, workflows: int = 1, slots: int = 1, workflow_slots: int = 1
) -> Stage:
    """Describe organizations with capped workflows; workflows are dealt out in turn."""
    return Stage(
        "spenders",
        {
            "organizations": organizations,
            "workflows": workflows,
            "slots": slots,
            "workflow_slots": workflow_slots,
        },
    )


def _counters(number: int) -> Stage:
    return Stage("counters", {"counters": number})
