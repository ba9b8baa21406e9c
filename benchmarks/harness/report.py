"""Tables of figures: ours against its budget, and how many times better or worse the others are."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measurement import Measurement
from harness.model import Case, Row

BASELINES = ("nothing", "bare")
OURS = "hindsight"


def table(case: Case, found: Measurement) -> list[list[str]]:
    """The table of a case as cells, head first; a column for each subject that was measured or failed."""
    others = [name for name in case.subjects if name != OURS and (name in found.rounds or name in found.problems)]
    head = ["what", "unit", "budget", OURS, "rounds", "verdict", *others]
    return [head, *(_line(found, row, others) for row in case.rows)]


def _line(found: Measurement, row: Row, others: Sequence[str]) -> list[str]:
    ours = found.median(OURS).get(row.key)
    budget = "" if row.budget is None else f"{'≤' if row.better == 'less' else '≥'} {number(row.budget, row)}"
    shown = _missing(found, OURS) if ours is None else number(ours, row)
    cells = [_other(found, row, name, ours) for name in others]
    return [row.what, row.unit, budget, shown, _spread(found, row), verdict(row, ours), *cells]


def verdict(row: Row, ours: float | None) -> str:
    """``met`` or ``MISSED`` with the share of the budget that was used."""
    if row.budget is None or ours is None:
        return ""
    word = "met" if row.met(ours) else "MISSED"
    return f"{word} ({times(ours / row.budget)} of budget)" if row.budget else word


def missed(case: Case, found: Measurement) -> list[str]:
    """The names of rows whose budget is missed or was not measured."""
    if OURS not in found.rounds and OURS not in found.problems:
        return []
    ours = found.median(OURS)
    kept = {row.key for row in case.rows if row.key in ours and row.met(ours[row.key])}
    return [row.what for row in case.rows if row.budget is not None and row.key not in kept]


def _other(found: Measurement, row: Row, name: str, ours: float | None) -> str:
    value = found.median(name).get(row.key)
    if value is None:
        return _missing(found, name)
    ratio = row.ratio(ours, value) if ours is not None and row.compare and name not in BASELINES else None
    return number(value, row) + (f" ({times(ratio)}×)" if ratio else "")


def _missing(found: Measurement, name: str) -> str:
    return "failed" if name in found.problems else ""


def _spread(found: Measurement, row: Row) -> str:
    ends = found.spread(OURS, row.key)
    return f"{number(ends[0], row)} – {number(ends[1], row)}" if ends and ends[0] != ends[1] else ""


def number(value: float, row: Row) -> str:
    """The value with the row's significant digits, without exponents."""
    if value == 0:
        return "0"
    if (abs(value) >= 1000 and value == int(value)) or abs(value) >= 10 ** (row.digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{row.digits}g}'):g}"


def times(ratio: float) -> str:
    """A ratio with two significant digits, without exponents."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{float(f'{ratio:.2g}'):g}"


def as_text(case: Case, found: Measurement) -> str:
    """The table for a terminal, with what it cannot say below."""
    cells = table(case, found)
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    cells.insert(1, ["-" * width for width in widths])
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([case.name, *lines, *remarks(case, found)])


def as_markdown(measured: Sequence[tuple[Case, Measurement]], notes: dict[str, str]) -> str:
    """The whole of RESULTS.md: a section for each case, each with the time, commit and machine of its measurement."""
    parts = [
        "# Results",
        "Written by `python benchmarks/run.py`; do not edit. Medians over rounds, every subject in its own process and "
        "environment; in brackets: how many times better hindsight is (below 1: worse). How: [README.md](README.md).",
        "\n".join(f"- {name}: {reason}." for name, reason in notes.items()),
        _all_missed(measured),
    ]
    for case, found in measured:
        parts += [f"## {case.name}", _measured_on(found), _markdown_table(table(case, found))]
        parts.append("\n".join(f"- {line}" for line in remarks(case, found)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(cells: list[list[str]]) -> str:
    head, *lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]
    return "\n".join([head, "|" + "---|" * len(cells[0]), *lines])


def _all_missed(measured: Sequence[tuple[Case, Measurement]]) -> str:
    lines = [f"- {case.name}: {row}" for case, found in measured for row in missed(case, found)]
    return "\n".join(["Budgets missed:", "", *lines] if lines else ["Every budget is met."])


def _measured_on(found: Measurement) -> str:
    machine = "; ".join(f"{name} {value}" for name, value in found.machine.items())
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items() if version)
    return f"{machine[:1].upper()}{machine[1:]}. Versions: {versions}."


def remarks(case: Case, found: Measurement) -> list[str]:
    """What the table cannot say: the baseline, subjects that failed, what their figures leave out, missed budgets."""
    lines = [f"Baseline is {case.baseline}."] if case.baseline else []
    lines += [f"{subject} failed: {reason}" for subject, reason in found.problems.items()]
    lines += [f"{subject}: {remark}." for subject, remark in found.remarks.items()]
    over = missed(case, found)
    return [*lines, f"Missed: {'; '.join(over)}."] if over else lines
