"""Run the benchmarks side by side with other trackers; print one table and write RESULTS.md.

python benchmarks/run.py                                everything
python benchmarks/run.py --only log_latency --ours      one benchmark of this project alone, nothing written
python benchmarks/run.py --only sync --results FILE     one benchmark with everybody, written to a file of its own
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cases import ALL
from harness.environments import Environment, Environments, InstallFailed, base_python
from harness.machine import describe
from harness.model import Case, Subject, load_case, load_subject
from harness.processes import BENCHMARKS, PROJECT, Job, MeasurementFailed, adopt_orphans, remove_folder, run_job
from harness.report import OURS, Results, as_markdown, as_text, missed, remarks, table
from subjects import EVERYBODY, LEFT_OUT

RESULTS = BENCHMARKS / "RESULTS.md"


def main() -> int:
    """Exit code 0 when all of ours was measured, whatever the figures; with ``--strict`` a missed budget is 1."""
    options = _options()
    cases = [load_case(name) for name in options.only or ALL]
    wanted = [name for name in _columns(cases) if _is_wanted(name, options)]
    results = Results(notes=dict(LEFT_OUT))
    adopt_orphans()
    options.venv.mkdir(parents=True, exist_ok=True)
    results.machine = describe(options.venv)
    environments = _install(wanted, cases, options, results)
    with tempfile.TemporaryDirectory(dir=options.venv, prefix="work-") as work:
        for case in cases:
            _run_case(case, environments, Path(work), results, rounds=options.rounds)
    cells = table(results, cases, wanted)
    print("\n" + as_text(cells) + "\n\n" + "\n".join(remarks(results, cases)))
    whole = not options.ours and not options.only and not options.subjects
    written: Path | None = options.results or (RESULTS if whole else None)
    if written is not None:
        written.write_text(as_markdown(results, cases, cells))
        print(f"\nwritten to {written}")
    return _exit_code(results, cases, strict=options.strict)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure this project beside other trackers.")
    parser.add_argument("--only", nargs="+", choices=ALL, metavar="CASE", help=f"of {', '.join(ALL)}")
    parser.add_argument("--subjects", nargs="+", metavar="NAME", help=f"of {', '.join(EVERYBODY)}")
    parser.add_argument("--ours", action="store_true", help="leave the other trackers out")
    parser.add_argument("--rounds", type=int, help="instead of each benchmark's own number")
    parser.add_argument(
        "--python", type=Path, help="an interpreter that has this project installed; nothing is installed for ours then"
    )
    parser.add_argument("--venv", type=Path, default=PROJECT / ".venv-bench", help="where the environments are made")
    parser.add_argument("--results", type=Path, help="where the table is written, also when only a part is measured")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a budget is missed")
    return parser.parse_args()


def _columns(cases: list[Case]) -> list[str]:
    """The subjects of all cases, baselines last."""
    known = dict.fromkeys(name for case in cases for name in case.subjects)
    return [name for name in EVERYBODY if name in known] + [name for name in known if name not in EVERYBODY]


def _is_wanted(name: str, options: argparse.Namespace) -> bool:
    baseline = name not in EVERYBODY
    if options.subjects:
        return name in options.subjects
    return baseline or name == OURS or not options.ours


def _install(
    names: list[str], cases: list[Case], options: argparse.Namespace, results: Results
) -> dict[str, Environment]:
    """The environments of those subjects that can be installed; the others become a remark."""
    makers = Environments(options.venv, python=base_python(), ours=options.python)
    found = {}
    for name in names:
        subject = load_subject(name)
        _say(f"environment of {name}")
        try:
            found[name] = makers.of(subject)
            for case in cases if subject.requirements or subject.ours else ():
                makers.add(found[name].python, case.needs if name in case.subjects else ())
            results.versions[name] = found[name].version
        except InstallFailed as exc:
            results.problems["install", name] = str(exc)
    return found


def _run_case(
    case: Case, environments: dict[str, Environment], work: Path, results: Results, *, rounds: int | None
) -> None:
    """All rounds of a case, subjects interleaved; one that fails twice is not asked again."""
    taking_part = [load_subject(name) for name in environments if name in case.subjects]
    for round_number in range(rounds or case.rounds):
        for subject in _rotated(taking_part, round_number):
            if (case.name, subject.name) not in results.problems:
                _run_one(case, subject, environments[subject.name], work, results, round_number)


def _rotated(subjects: list[Subject], by: int) -> Iterator[Subject]:
    """Everybody in turn, beginning elsewhere in each round, so that nobody always follows the same neighbour."""
    for i in range(len(subjects)):
        yield subjects[(i + by) % len(subjects)]


def _run_one(
    case: Case, subject: Subject, environment: Environment, work: Path, results: Results, round_number: int
) -> None:
    kept = case.name if case.keep_folder else f"{case.name}-{round_number}"
    folder = work / f"{kept}-{subject.name}"
    job = Job(case.name, subject.name, round_number, environment.python, folder, subject.environment, case.timeout_s)
    begin = time.monotonic()
    problem = ""
    try:
        results.add(case.name, subject.name, run_job(job))
    except MeasurementFailed as exc:
        problem = results.problems[case.name, subject.name] = str(exc)
    _say(f"{case.name} round {round_number + 1} {subject.name} {time.monotonic() - begin:.1f} s {problem}")
    if not case.keep_folder:
        remove_folder(folder)


def _say(text: str) -> None:
    print(text.rstrip(), file=sys.stderr, flush=True)


def _exit_code(results: Results, cases: list[Case], *, strict: bool) -> int:
    broken = any(subject == OURS for _, subject in results.problems)
    return int(broken or (strict and bool(missed(results, cases))))


if __name__ == "__main__":
    sys.exit(main())
