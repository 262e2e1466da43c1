"""A statement as a page: one HTML file that loads nothing and runs nothing.

Importing this imports matplotlib.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tallystick.cli.budget_table import moment
from tallystick.cli.movement_table import reason
from tallystick.cli.report.names import printable
from tallystick.cli.report.plot import draw
from tallystick.cli.report.table import share
from tallystick.cli.statement.sums import (
    USAGE_IS_NOT_CHARGES,
    heading,
    usage,
    zone,
)
from tallystick.figures import usd
from tallystick.money import total

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tallystick.cli.report.bands import Band
    from tallystick.cli.report.spend import Calendar, Report
    from tallystick.models import Statement, StatementMovement

# The policy makes a browser hold to it: nothing is loaded, nothing is run.
_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; background: #fff;
  font: 15px/1.45 system-ui, sans-serif; }}
h1 {{ margin: 0; font-size: 1.6rem; }}
h2 {{ margin: 2.5rem 0 0.5rem; font-size: 1.1rem; }}
p, small {{ margin: 0.2rem 0; color: #555; }}
dl {{ display: flex; flex-wrap: wrap; gap: 0.5rem 2.5rem; margin: 1.5rem 0 0; }}
dt {{ color: #555; }}
dd {{ margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }}
table {{ width: 100%; border-collapse: collapse; }}
th, td {{ padding: 0.35rem 0.5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere;
  border-bottom: 1px solid #e5e5e5; }}
thead th {{ border-bottom-color: #999; }}
tbody th {{ font-weight: inherit; }}
.total th, .total td {{ font-weight: bold; }}
.figure {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.owed {{ color: #b00020; }}
small {{ display: block; }}
svg {{ width: 100%; height: auto; }}
svg text {{ font-family: system-ui, sans-serif !important; }}
@media print {{ body {{ margin: 0; }} tr, svg {{ break-inside: avoid; }} }}
</style>
</head>
"""


def page(statement: Statement, calendar: Calendar, bands: Sequence[Band]) -> str:
    """Return a statement as an HTML document; `bands` are what its chart shows of its usage."""
    return "\n".join(_parts(statement, calendar, bands)) + "\n"


def _parts(statement: Statement, calendar: Calendar, bands: Sequence[Band]) -> Iterator[str]:
    name = escape(printable(statement.organization))
    month = escape(heading(statement, calendar.today))
    yield _HEAD.format(title=f"{name}: statement of {month}") + "<body>"
    yield f"<h1>{name}</h1>"
    yield f"<p>Statement of {month}, {escape(statement.time_zone)}</p>"
    yield f"<p>{statement.org_id}</p>"
    yield from _summary(statement)
    yield from _movements(statement)
    yield from _usage(usage(statement, calendar), bands)
    yield "</body>\n</html>"


def _summary(statement: Statement) -> Iterator[str]:
    moved = total([each.change_usd for each in statement.movements])
    figures = {
        "Opening balance": statement.opening_balance_usd,
        "Movements": moved,
        "Closing balance": statement.closing_balance_usd,
    }
    yield "<dl>"
    for name, amount in figures.items():
        yield f"<div><dt>{name}</dt><dd>{usd(amount)}</dd></div>"
    if statement.receivables_usd:
        owed = usd(statement.receivables_usd)
        yield f'<div class="owed"><dt>Owed beyond credits</dt><dd>{owed}</dd></div>'
    yield "</dl>"


def _movements(statement: Statement) -> Iterator[str]:
    times = zone(statement)
    yield "<h2>Movements</h2>"
    yield "<table>"
    yield _header(f"Time ({times})", "Movement", figures=("Change", "Balance"))
    yield "<tbody>"
    yield _row(
        "", "Opening balance", figures=("", usd(statement.opening_balance_usd)), kind="total"
    )
    for each in statement.movements:
        yield _row(
            moment(each.created_at.astimezone(times)),
            reason(each),
            note=_subject(each),
            figures=(usd(each.change_usd), usd(each.balance_after_usd)),
        )
    yield _row(
        "", "Closing balance", figures=("", usd(statement.closing_balance_usd)), kind="total"
    )
    yield "</tbody>\n</table>"


def _subject(movement: StatementMovement) -> str:
    """Say which run or draw a movement is about; nothing where it is about none."""
    if movement.run_id is not None:
        return f"run {movement.run_id}"
    return f"draw {movement.draw_id}" if movement.draw_id is not None else ""


def _usage(spent: Report, bands: Sequence[Band]) -> Iterator[str]:
    yield "<h2>Usage by model</h2>"
    if not spent.lines:
        yield "<p>No usage.</p>"
        return
    yield f"<p>{USAGE_IS_NOT_CHARGES}</p>"
    yield "<table>"
    yield _header("Model", figures=("Cost", "Share", "Requests", "Tokens in", "Tokens out"))
    yield "<tbody>"
    for each in (*spent.lines, spent.total):
        yield _row(
            "Total" if each.key is None else printable(each.key),
            figures=(
                usd(each.cost),
                share(each.cost, spent.total.cost),
                f"{each.requests:,}",
                f"{each.prompt_tokens:,}",
                f"{each.completion_tokens:,}",
            ),
            kind="total" if each.key is None else "",
        )
    yield "</tbody>\n</table>"
    yield "<h2>Usage by day</h2>"
    yield _chart(spent, bands)


def _chart(spent: Report, bands: Sequence[Band]) -> str:
    picture = draw(spent, bands, "svg").decode()
    return picture[picture.index("<svg") :]  # a document within a document has no prologue


def _header(*texts: str, figures: Iterable[str]) -> str:
    cells = [f'<th scope="col">{escape(text)}</th>' for text in texts]
    cells += [f'<th scope="col" class="figure">{escape(text)}</th>' for text in figures]
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _row(*texts: str, figures: Iterable[str], note: str = "", kind: str = "") -> str:
    """Write a row; the note stands below its last text."""
    *before, last = (escape(text) for text in texts)
    below = f"<small>{escape(note)}</small>" if note else ""
    cells = [f"<td>{text}</td>" for text in before]
    cells.append(f'<th scope="row">{last}{below}</th>')
    cells += [f'<td class="figure">{escape(text)}</td>' for text in figures]
    return f'<tr class="{kind}">{"".join(cells)}</tr>'
