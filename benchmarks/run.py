"""Run the benchmarks side by side with other trackers; print their tables and write RESULTS.md.

python benchmarks/run.py                                everything
python benchmarks/run.py --only sync many_runs          some, with everybody; the others stay in RESULTS.md as they are
python benchmarks/run.py --only log_latency --ours      this project alone, nothing written
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
from harness.measurement import Measurement, load_measurement
from harness.model import Case, Subject, load_case, load_subject
from harness.processes import BENCHMARKS, PROJECT, Job, MeasurementFailed, adopt_orphans, remove_folder, run_job
from harness.report import OURS, as_markdown, as_text, missed
from subjects import EVERYBODY, LEFT_OUT

RESULTS = BENCHMARKS / "RESULTS.md"
MEASURED = BENCHMARKS / "results"


def main() -> int:
    """Exit code 0 when all of ours was measured, whatever the figures; with ``--strict`` a missed budget is 1."""
    options = _options()
    cases = [load_case(name) for name in options.only or ALL]
    adopt_orphans()
    options.venv.mkdir(parents=True, exist_ok=True)
    environments, problems = _install([name for name in _columns(cases) if _is_wanted(name, options)], cases, options)
    keep = not (options.ours or options.subjects or options.rounds or options.python)
    found = []
    with tempfile.TemporaryDirectory(dir=options.venv, prefix="work-") as work:
        for case in cases:
            measured = _measure(case, environments, problems, Path(work), rounds=options.rounds)
            found.append((case, measured))
            if keep:
                measured.save(MEASURED)
                _write_report()
    print("\n" + "\n\n".join(as_text(case, measured) for case, measured in found))
    broken = any(OURS in measured.problems for _, measured in found)
    return int(broken or (options.strict and any(missed(case, measured) for case, measured in found)))


def _write_report() -> None:
    """RESULTS.md, of what was measured now and before."""
    loaded = [(case, load_measurement(MEASURED, case.name)) for case in map(load_case, ALL)]
    RESULTS.write_text(as_markdown([(case, found) for case, found in loaded if found is not None], LEFT_OUT))


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
    names: list[str], cases: list[Case], options: argparse.Namespace
) -> tuple[dict[str, Environment], dict[str, str]]:
    """The environments of those subjects that can be installed, and why the others cannot."""
    makers = Environments(options.venv, python=base_python(), ours=options.python)
    found, problems = {}, {}
    for name in names:
        subject = load_subject(name)
        _say(f"environment of {name}")
        try:
            found[name] = makers.of(subject)
            for case in cases if subject.requirements or subject.ours else ():
                makers.add(found[name].python, case.needs if name in case.subjects else ())
        except InstallFailed as exc:
            problems[name] = str(exc)
    return found, problems


def _measure(
    case: Case, environments: dict[str, Environment], problems: dict[str, str], work: Path, *, rounds: int | None
) -> Measurement:
    """All rounds of a case, subjects interleaved; one that fails is not asked again."""
    taking_part = [load_subject(name) for name in environments if name in case.subjects]
    found = Measurement(case.name, machine=describe(work))
    found.problems = {name: reason for name, reason in problems.items() if name in case.subjects}
    found.versions = {subject.name: environments[subject.name].version for subject in taking_part}
    for round_number in range(rounds or case.rounds):
        for subject in _rotated(taking_part, round_number):
            if subject.name not in found.problems:
                _run_one(case, subject, environments[subject.name], work, found, round_number)
    return found


def _rotated(subjects: list[Subject], by: int) -> Iterator[Subject]:
    """Everybody in turn, beginning elsewhere in each round, so that nobody always follows the same neighbour."""
    for i in range(len(subjects)):
        yield subjects[(i + by) % len(subjects)]


def _run_one(
    case: Case, subject: Subject, environment: Environment, work: Path, found: Measurement, round_number: int
) -> None:
    kept = case.name if case.keep_folder else f"{case.name}-{round_number}"
    folder = work / f"{kept}-{subject.name}"
    job = Job(case.name, subject.name, round_number, environment.python, folder, subject.environment, case.timeout_s)
    begin = time.monotonic()
    try:
        found.add(subject.name, run_job(job))
    except MeasurementFailed as exc:
        found.problems[subject.name] = str(exc)
    problem = found.problems.get(subject.name, "")
    _say(f"{case.name} round {round_number + 1} {subject.name} {time.monotonic() - begin:.1f} s {problem}")
    if not case.keep_folder:
        remove_folder(folder)


def _say(text: str) -> None:
    print(text.rstrip(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
