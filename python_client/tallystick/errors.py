"""The errors a caller can react to: one class per SQLSTATE.

The database raises with a code, a stable message, a DETAIL that is a JSON object of facts and a
HINT that says what to do next. `error_from` turns those four into an exception; every transport
feeds it, so the same refusal is the same class over psycopg and over HTTP. The codes are those of
the view `public.tallystick_errors`. The classes are named after what happened, without a suffix.
Other errors, a lost connection or a full disk for one, stay the driver's own: `is_refusal` decides.
"""

from __future__ import annotations

import json
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallystick.models import Decision


class TallystickError(Exception):
    """A refusal by the database. A code of ours that has no class of its own raises this one.

    Attributes:
        code: the SQLSTATE, for example ``TS404``.
        message: the stable sentence of the error, without values.
        details: the facts, parsed; numbers with a fraction are `Decimal`. A DETAIL that is not a
            JSON object (PostgreSQL's own words) is kept as ``{"detail": text}``.
        hint: the next step, or None.
    """

    def __init__(
        self,
        message: str,
        code: str,
        details: Mapping[str, object] | None = None,
        hint: str | None = None,
    ) -> None:
        """Keep the four parts of a refusal."""
        facts = dict(details or {})
        # Exactly the arguments, because copying and pickling call the class with them.
        super().__init__(message, code, facts, hint)
        self.message = message
        self.code = code
        self.details: Mapping[str, object] = facts
        self.hint = hint

    def __str__(self) -> str:
        """Return code, message, facts and next step on one line."""
        facts = ", ".join(f"{name}: {value}" for name, value in self.details.items())
        told = f"[{self.code}] {self.message}" + (f" ({facts})" if facts else "")
        return f"{told}. {self.hint}" if self.hint else told


class BudgetExceeded(TallystickError):  # noqa: N818
    """TS402: a budget that a hold touches, or the credits of a run, have not that much left.

    `Client.authorize_spend` does not raise it: there a refusal is an answer.
    """


class UnknownId(TallystickError):  # noqa: N818
    """TS404: no such organization, workflow or row. Another tenant's id looks the same."""


class RequestConflict(TallystickError):  # noqa: N818
    """TS409: the request id was used before, with other content."""


class HoldClosed(TallystickError):  # noqa: N818
    """TS410: what was to change is over: a hold that was closed, a run that has ended.

    Likewise a dispute to be resolved where there is none, and a proposal that was decided.
    """


class PeriodClosed(TallystickError):  # noqa: N818
    """TS412: the accounting period is closed, or locked."""


class StaleHead(TallystickError):  # noqa: N818
    """TS419: it was revised since it was read, or is there already; read it and decide anew."""


class Frozen(TallystickError):  # noqa: N818
    """TS423: the organization, or a scope the spend falls into, is frozen.

    A run cannot be completed either while one of its holds is open.
    """


class ApprovalNeeded(TallystickError):  # noqa: N818
    """TS428: somebody else has to approve it first."""


class VelocityExceeded(TallystickError):  # noqa: N818
    """TS429: more of these were asked for than a policy lets pass in its window."""


class InvalidArgument(TallystickError):  # noqa: N818
    """22023: an argument is null, NaN, negative, malformed or too long."""


class PermissionDenied(TallystickError):  # noqa: N818
    """42501: the role, or the member, may not do this."""


class AppendOnly(TallystickError):  # noqa: N818
    """23001: a ledger row may not be changed or removed."""


class RetryableError(TallystickError):
    """40001 and 40P01: the transaction lost a race. Roll it back and run it again."""


class SpendDenied(TallystickError):  # noqa: N818
    """`Client.spend` was not granted; `code` says by what kind of reason, `decision` all of it.

    TS402 a budget, or the run for that model, does not cover it, TS404 the model has no price, or
    one nobody has checked for too long, TS410 the run has ended, TS423 the organization or a scope
    is frozen, TS428 somebody has to approve it first, or has rejected it.

    Attributes:
        decision: the answer of `authorize_spend`.
        request_id: what it was asked under, stated or not: with it a block is entered again, once
            its proposal is approved.
    """

    def __init__(self, decision: Decision, request_id: str | None = None) -> None:
        """Turn an answer into an error."""
        reason = decision.reason or decision.decision
        facts = {
            "reason": reason,
            "budget_id": decision.budget_id,
            "proposal_id": decision.proposal_id,
            "request_id": request_id,
        }
        code = _CODES_OF_REASONS.get(reason, "TS402")
        super().__init__("the spend was not granted", code, _stated(facts))
        self.args = (decision, request_id)  # what copying and pickling call the class with
        self.decision = decision
        self.request_id = request_id


_CODES_OF_REASONS: Mapping[str, str] = {
    "budget_exceeded": "TS402",
    "model_not_in_run": "TS402",
    "run_ended": "TS410",
    "unpriced_model": "TS404",
    "stale_price": "TS404",
    "frozen": "TS423",
    "needs_approval": "TS428",
    "approval_rejected": "TS428",
    "approval_needs_request_id": "TS428",
}


def _stated(facts: Mapping[str, object]) -> Mapping[str, object]:
    return {name: str(fact) for name, fact in facts.items() if fact is not None}


ERRORS: Mapping[str, type[TallystickError]] = MappingProxyType(
    {
        "TS402": BudgetExceeded,
        "TS404": UnknownId,
        "TS409": RequestConflict,
        "TS410": HoldClosed,
        "TS412": PeriodClosed,
        "TS419": StaleHead,
        "TS423": Frozen,
        "TS428": ApprovalNeeded,
        "TS429": VelocityExceeded,
        "22023": InvalidArgument,
        "42501": PermissionDenied,
        "23001": AppendOnly,
        "40001": RetryableError,
        "40P01": RetryableError,
    }
)
"""Every code of `public.tallystick_errors` and its class; a test holds the two equal."""


def is_refusal(code: str | None) -> bool:
    """Tell whether an SQLSTATE is in the registry, or is one of ours that is newer than it."""
    return code is not None and (code in ERRORS or code.startswith("TS"))


def error_from(
    code: str, message: str, detail: str | None = None, hint: str | None = None
) -> TallystickError:
    """Build the exception for a refusal, from the four texts any transport can read.

    Args:
        code: an SQLSTATE that `is_refusal`. An unregistered one gives a plain `TallystickError`.
        message: the primary message.
        detail: the DETAIL text, a JSON object where the refusal is ours.
        hint: the HINT text.
    """
    error_class = ERRORS.get(code, TallystickError)
    return error_class(message, code, _facts(detail), hint or None)


def _facts(detail: str | None) -> Mapping[str, object]:
    if not detail:
        return {}
    try:
        facts = json.loads(detail, parse_float=Decimal)
    except json.JSONDecodeError:
        return {"detail": detail}
    return facts if isinstance(facts, dict) else {"detail": detail}
