"""The figures of the benchmarks are only as good as the harness that takes them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from array import array
from pathlib import Path

import pytest
from cases import ALL
from harness.loops import metric_rows, plain_loop, timed_loop
from harness.measurement import Measurement, load_measurement
from harness.model import Case, Row, Subject, load_case, load_subject, matching_bytes
from harness.processes import Job, MeasurementFailed, run_job
from harness.report import as_markdown, missed, table, verdict
from harness.stats import median_by_key, percentile
from subjects import EVERYBODY

LESS = Row("p50", "a call", "µs", budget=2.0)
MORE = Row("rate", "a rate", "M/s", budget=1.0, better="more")


def _case(*rows: Row) -> Case:
    return Case("some", rows, ("hindsight", "other"), measure=lambda subject, round_number: {})


def test_percentiles_are_values_that_were_measured() -> None:
    """The nearest rank: p50 of a hundred is the fiftieth, p99.99 of a hundred the last."""
    ordered = list(range(1, 101))

    assert [percentile(ordered, share) for share in (0.5, 0.99, 0.9999, 1.0)] == [50, 99, 100, 100]


def test_medians_leave_out_rounds_without_the_figure() -> None:
    """A figure that one round lacks is the median of the others."""
    assert median_by_key([{"a": 1.0, "b": 5.0}, {"a": 3.0}, {"a": 9.0}]) == {"a": 3.0, "b": 5.0}


def test_a_verdict_knows_which_direction_is_good() -> None:
    """A time above its budget is missed, a rate above it is met."""
    assert verdict(LESS, 3.0) == "MISSED (1.5 of budget)"
    assert verdict(LESS, 2.0) == "met (1 of budget)"
    assert verdict(MORE, 3.0) == "met (3 of budget)"
    assert verdict(MORE, 0.5) == "MISSED (0.5 of budget)"
    assert [verdict(Row("lost", "lost", "", budget=0.0), lost) for lost in (0.0, 1.0)] == ["met", "MISSED"]


def test_ratios_say_how_many_times_better_ours_is() -> None:
    """Twice the time and half the rate are both two times worse."""
    found = Measurement("some")
    found.add("hindsight", {"p50": 1.0, "rate": 2.0})
    found.add("other", {"p50": 2.0, "rate": 1.0})

    cells = table(_case(LESS, MORE), found)

    assert [line[-1] for line in cells] == ["other", "2 (2×)", "1 (2×)"]


def test_a_failed_subject_is_shown_and_a_failed_budget_is_named() -> None:
    """A library that fails is a cell and a remark; ours failing misses its budgets."""
    found = Measurement("some", problems={"other": "no such library", "hindsight": "ended"})
    case = _case(LESS)

    cells = table(case, found)
    text = as_markdown([(case, found)], {})

    assert cells[1][3] == cells[1][-1] == "failed"
    assert "other failed: no such library" in text
    assert missed(case, found) == ["a call"]
    assert "- some: a call" in text


def test_a_case_is_kept_by_itself(tmp_path: Path) -> None:
    """What was saved is what is loaded, and a second measurement replaces the first."""
    found = Measurement("some", machine={"date": "today"}, versions={"hindsight": "1"}, problems={"other": "none"})
    found.add("hindsight", {"p50": 9.0})
    found.save(tmp_path)
    found.add("hindsight", {"p50": 1.0, "remark": "in a hurry"})
    found.save(tmp_path)

    assert load_measurement(tmp_path, "some") == found
    assert load_measurement(tmp_path, "other") is None


def test_every_statement_of_every_subject_compiles() -> None:
    """A typing error in a statement shows here and not after ten minutes."""
    for name in (*EVERYBODY, "nothing", "bare"):
        subject = load_subject(name)
        for statement in filter(None, (subject.log, subject.log_row, subject.log_labels, subject.record)):
            assert callable(plain_loop(subject, {}, statement=statement))
            assert callable(timed_loop(subject, {}, statement=statement))


def test_cases_name_subjects_that_there_are() -> None:
    """Every subject of every case can be loaded, and no two rows of a case share a key."""
    for case in map(load_case, ALL):
        assert all(load_subject(name).name == name for name in case.subjects)
        assert len({row.key for row in case.rows}) == len(case.rows)


def test_timed_loops_fill_one_time_per_call() -> None:
    """Each call has its own time, in order, and the statement sees the values."""
    seen: list[float] = []
    subject = Subject("some", log="seen.append(value)")
    out = array("q", bytes(8 * 6))

    timed_loop(subject, {"seen": seen}, statement=subject.log)(2, 3, "loss", list(range(6)), time.perf_counter_ns, out)

    assert seen == list(range(6))
    assert all(out)


def test_metric_rows_are_exact_in_single_precision() -> None:
    """The values are what a float32 metric gives, so that nobody's format is favoured by a lie."""
    import numpy as np

    values = [value for row in metric_rows(50) for value in row.values()]

    assert len(values) == 500
    assert [float(np.float32(value)) for value in values] == values


def test_sizes_count_every_file_once(tmp_path: Path) -> None:
    """A file that two patterns name, one of them by its folder, counts once; links do not count."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.bin").write_bytes(bytes(100))
    (tmp_path / "store" / "link").symlink_to("a.bin")

    assert matching_bytes(("store", "store/*.bin"), below=tmp_path) == 100


def _job(folder: Path, subject: str, timeout_s: float = 60.0) -> Job:
    return Job("capture", subject, 0, Path(sys.executable), folder, {}, timeout_s)


def test_a_job_runs_in_a_repository_and_returns_figures(tmp_path: Path) -> None:
    """A measured process finds a committed script in a git repository of its own."""
    figures = run_job(_job(tmp_path / "job", "nothing"))

    assert (tmp_path / "job" / ".git").is_dir()
    assert set(figures) == {"plain", "captured", "cost"}


def test_a_library_that_is_not_there_is_a_problem_in_words(tmp_path: Path) -> None:
    """An error in the measured process comes back as its message."""
    with pytest.raises(MeasurementFailed, match="No module named 'blackhc'"):
        run_job(_job(tmp_path / "job", "laaos"))


@pytest.mark.slow
def test_a_job_without_end_is_killed_with_its_children(tmp_path: Path) -> None:
    """A process over its time is killed, and so is the child that it had started."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / ".git").mkdir()
    (folder / "train.py").write_text(
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )

    with pytest.raises(MeasurementFailed, match="no result within 10 s"):
        run_job(_job(folder, "nothing", timeout_s=10.0))

    child = int((folder / "child").read_text())
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)  # a signal is delivered when the process is scheduled next
    assert not _runs(child)


def test_children_that_were_there_before_are_spared(tmp_path: Path) -> None:
    """Only what a measured process left behind is ended, not what else this process had started."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        run_job(_job(tmp_path / "job", "nothing"))

        assert other.poll() is None
        other.communicate(b"\n")


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return os.path.exists(status) and status.read_text().rpartition(")")[2].split()[0] != "Z"
