"""One table of all figures: ours against its budget, and how many times better or worse the others are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.model import Case, Figures, Row
from harness.stats import median_by_key

BASELINES = ("nothing", "bare")
OURS = "hindsight"


@dataclass
class Results:
    """Figures of every round by case and subject, and what went wrong."""

    rounds: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=dict)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)
    remarks: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, subject: str, figures: Figures) -> None:
        numbers = {key: value for key, value in figures.items() if isinstance(value, (int, float))}
        self.rounds.setdefault((case, subject), []).append(numbers)
        if "remark" in figures:
            self.remarks[case, subject] = str(figures["remark"])

    def median(self, case: str, subject: str) -> dict[str, float]:
        return median_by_key(self.rounds.get((case, subject), []))

    def spread(self, case: str, subject: str, key: str) -> tuple[float, float] | None:
        found = [figures[key] for figures in self.rounds.get((case, subject), []) if key in figures]
        return (min(found), max(found)) if found else None


def table(results: Results, cases: Sequence[Case], columns: Sequence[str]) -> list[list[str]]:
    """The table as cells, head first."""
    head = ["what", "unit", "budget", OURS, "rounds", "verdict", *(name for name in columns if name != OURS)]
    return [head, *(_line(results, case, row, columns) for case in cases for row in case.rows)]


def _line(results: Results, case: Case, row: Row, columns: Sequence[str]) -> list[str]:
    ours = results.median(case.name, OURS).get(row.key)
    others = [_other(results, case, row, name, ours) for name in columns if name != OURS]
    budget = "" if row.budget is None else f"{'≤' if row.better == 'less' else '≥'} {number(row.budget, row)}"
    shown = _missing(results, case, OURS) if ours is None else number(ours, row)
    return [row.what, row.unit, budget, shown, _spread(results, case, row), verdict(row, ours), *others]


def verdict(row: Row, ours: float | None) -> str:
    """``met`` or ``MISSED`` with the share of the budget that was used."""
    if row.budget is None or ours is None:
        return ""
    share = ours / row.budget
    return f"{'met' if row.met(ours) else 'MISSED'} ({times(share)} of budget)"


def missed(results: Results, cases: Iterable[Case]) -> list[str]:
    """The names of rows whose budget is missed or was not measured."""
    lines = []
    for case in cases:
        if (case.name, OURS) not in results.rounds and (case.name, OURS) not in results.problems:
            continue
        figures = results.median(case.name, OURS)
        for row in case.rows:
            if row.budget is not None and (row.key not in figures or not row.met(figures[row.key])):
                lines.append(f"{case.name}: {row.what}")
    return lines


def _other(results: Results, case: Case, row: Row, name: str, ours: float | None) -> str:
    value = results.median(case.name, name).get(row.key)
    if value is None:
        return _missing(results, case, name)
    ratio = row.ratio(ours, value) if ours is not None and row.compare and name not in BASELINES else None
    return number(value, row) + (f" ({times(ratio)}×)" if ratio else "")


def _missing(results: Results, case: Case, name: str) -> str:
    return "failed" if (case.name, name) in results.problems or ("install", name) in results.problems else ""


def _spread(results: Results, case: Case, row: Row) -> str:
    found = results.spread(case.name, OURS, row.key)
    return f"{number(found[0], row)} – {number(found[1], row)}" if found and found[0] != found[1] else ""


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


def as_text(cells: list[list[str]]) -> str:
    """The table for a terminal."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def as_markdown(results: Results, cases: Sequence[Case], cells: list[list[str]]) -> str:
    """The whole of RESULTS.md."""
    machine = "\n".join(f"- {name}: {value}" for name, value in results.machine.items())
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items() if version)
    head, *lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]
    rule = "|" + "---|" * len(cells[0])
    parts = [
        "# Results",
        "Written by `python benchmarks/run.py`; do not edit. Medians over rounds, every subject in its own process and "
        "environment; in brackets: how many times better hindsight is (below 1: worse). How: [README.md](README.md).",
        machine,
        f"Versions: {versions}.",
        "\n".join([head, rule, *lines]),
        *_remarks(results, cases),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def remarks(results: Results, cases: Sequence[Case]) -> list[str]:
    """What the table cannot say: baselines, subjects that failed or were left out, missed budgets."""
    lines = [f"{case.name}: baseline is {case.baseline}." for case in cases if case.baseline]
    lines += [f"{name}: {reason}." for name, reason in results.notes.items()]
    lines += [f"{subject} failed in {case}: {reason}" for (case, subject), reason in results.problems.items()]
    lines += [f"{subject} in {case}: {remark}." for (case, subject), remark in results.remarks.items()]
    over = missed(results, cases)
    if not any(subject == OURS for _, subject in results.rounds):
        return lines
    return [*lines, f"Missed: {'; '.join(over)}." if over else "Every budget is met."]


def _remarks(results: Results, cases: Sequence[Case]) -> list[str]:
    return ["\n".join(f"- {line}" for line in remarks(results, cases))]
