"""One slice of a replay from end to end: real programs, executed again with a probe in them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.replay.recorded import TRAIN, Project, fingerprint
from tracker.errors import InputError
from tracker.read.frame import dataframe
from tracker.read.reader import Reader
from tracker.replay.documents import Question, Slice
from tracker.replay.slices import read_result, run_slice
from tracker.store import keys
from tracker.store.documents import encode

PROBE = "tracker.log('grad_norm', abs(grad))"


def truth(seed: int) -> list[float]:
    """What the probe would have logged, without any tracker."""
    random.seed(seed)
    weight, found = 0.0, []
    for _ in range(20):
        grad = random.random() - weight
        weight += 0.1 * grad
        found.append(abs(grad))
    return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.make(tmp_path, TRAIN.format(seed=7))


def test_a_seeded_program_is_answered_exactly(project: Project) -> None:
    """Every value of the probe stands in the row of its step, and is what a run with the probe would have logged."""
    view = project.record()
    plan = project.plan(view, project.probed("weight += ", PROBE), "grad_norm")
    before = fingerprint(project.repo.folder)

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.fidelity, result.reason) == ("answered", "exact", "")
    assert (result.values, result.compared) == (20, 25)
    frame = dataframe(project.store, "loss", "grad_norm", "fidelity")
    assert frame["grad_norm"].tolist() == truth(7)
    assert frame["loss"].tolist() == [value * value for value in truth(7)]
    assert set(frame["fidelity"]) == {"exact"}
    assert fingerprint(project.repo.folder) == before


def test_an_unseeded_program_is_never_exact(tmp_path: Path) -> None:
    """What it logs differs from what it had logged; the result names the first record that does."""
    project = Project.make(tmp_path, TRAIN.format(seed="None"))
    view = project.record()
    plan = project.plan(view, project.probed("weight += ", PROBE), "grad_norm")

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.fidelity) == ("diverged", "diverged")
    assert result.reason.startswith("loss at epoch=0, step=0: ")
    assert set(dataframe(project.store, "grad_norm", "fidelity")["fidelity"]) == {"diverged"}


def test_without_a_common_record_nothing_is_verified(tmp_path: Path) -> None:
    """A program that logged nothing is answered, and nobody says that the answer is right."""
    project = Project.make(tmp_path, "import tracker\ntracker.init()\nx = 1\n")
    plan = project.plan(project.record(), project.probed("x = ", "tracker.log('x', x)"), "x")

    result = run_slice(project.store, plan, 0)

    assert (result.fidelity, result.reason) == ("unverified", "there was nothing to compare")
    assert dataframe(project.store, "x")["x"].tolist() == [1]


def test_values_outside_all_loops_and_inside_steps(project: Project) -> None:
    """Probes of every level are answered, all their values."""
    code = project.probed("weight += ", "tracker.log('w', weight, part='a')")
    code = code.replace("random.seed(7)", "random.seed(7); tracker.log('early', 'yes'); tracker.log('early', None)")
    code += "with tracker.step(phase='test'):\n    tracker.log('late', [weight, 2**70])\n"
    plan = project.plan(project.record(), code, "w", "early", "late")

    result = run_slice(project.store, plan, 0)

    assert (result.fidelity, result.values) == ("exact", 23)
    frame = dataframe(project.store, "w", "late")
    assert frame["w{part=a}"].notna().sum() == 20
    late = [value for value in frame["late"] if isinstance(value, list)]
    assert late == [[frame["w{part=a}"].dropna().iloc[-1], 2**70]]
    early = dataframe(project.store, "early")["early"].tolist()
    assert early[0] == "yes"
    assert len(early) == 2


def test_a_run_that_was_killed_is_not_continued(tmp_path: Path) -> None:
    """Its answers end where the run did; the replay is stopped there and verified up to there."""
    project = Project.make(tmp_path, TRAIN.format(seed=3))
    wait = "if epoch == 2 and step == 2 and len(sys.argv) > 1: input()"
    project.repo.write("train.py", project.probed("for step", "    " + wait))
    process = project.start("wait")
    wait_for(lambda: len(Reader(project.store).read(metric="loss")) == 12 and project.latest().code)
    process.kill()
    process.communicate()
    view = project.latest()
    survivor = project.probed("weight += ", PROBE).replace("input()", "pass") + "tracker.log('end', 1)\n"
    plan = project.plan(view, survivor, "grad_norm", "end")

    result = run_slice(project.store, plan, 0)

    assert (result.fidelity, result.values) == ("exact", 12)
    assert dataframe(project.store, "loss", "grad_norm")["grad_norm"].tolist() == truth(3)[:12]


def test_a_run_that_failed_fails_again_in_the_same_place(tmp_path: Path) -> None:
    """That is no failure of the replay."""
    code = TRAIN.format(seed=3).replace('tracker.log("accuracy", weight)', "1 / (2 - epoch)")
    project = Project.make(tmp_path, code)
    view = project.record(code=1)
    plan = project.plan(view, project.probed("weight += ", PROBE), "grad_norm")

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.fidelity, result.values) == ("answered", "exact", 15)


def test_a_version_that_cannot_run_says_why(project: Project) -> None:
    """The last lines that it wrote are part of the result, and it is tried again when asked again."""
    broken = project.probed("random.seed", "raise RuntimeError('no such token=abcdefghijklmnop123456')")
    plan = project.plan(project.record(), broken, "grad_norm")

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.values, result.segments) == ("failed", 0, ())
    assert "exit code 1" in result.reason
    assert "RuntimeError" in result.output
    assert "abcdefghijklmnop123456" not in result.output


def test_a_slice_has_a_time_limit(project: Project) -> None:
    """The process and what it started are gone when the limit is over."""
    slow = project.probed("random.seed", "import time, os; print(os.getpid(), flush=True); time.sleep(600)")
    plan = project.plan(project.record(), slow, "grad_norm", timeout_s=2.0)

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.reason) == ("timed out", "it did not end within 2 s")
    wait_for(lambda: is_gone(int(result.output.split()[0])))


def test_a_slice_that_differs_is_stopped_early(project: Project) -> None:
    """It does not go on for ten minutes to say what is known after a second."""
    other = project.probed("random.seed", "random.seed(8)")
    other = other.replace('tracker.log("final", weight)', "import time; time.sleep(600)")
    plan = project.plan(project.record(), other, "grad_norm", timeout_s=300)

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.fidelity) == ("diverged", "diverged")
    assert result.duration_s < 300


def test_a_slice_that_is_done_is_not_done_again(project: Project) -> None:
    """The second call returns the first one's result, and starts nothing."""
    plan = project.plan(project.record(), project.probed("weight += ", PROBE), "grad_norm")

    first = run_slice(project.store, plan, 0)

    assert run_slice(project.store, plan, 0, python="/no/such/interpreter") == first


def test_two_at_once_do_the_same(project: Project) -> None:
    """Both publish the same keys; the frame has each value once."""
    plan = project.plan(project.record(), project.probed("weight += ", PROBE), "grad_norm")

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: run_slice(project.store, plan, 0), range(2)))

    assert results[0].segments == results[1].segments
    assert dataframe(project.store, "loss", "grad_norm")["grad_norm"].tolist() == truth(7)


def test_a_worker_that_is_killed_leaves_nothing_in_the_way(project: Project, tmp_path: Path) -> None:
    """Its process dies with it, and the slice is simply done again."""
    slow = project.probed("weight += ", PROBE).replace("random.seed(7)", "random.seed(7); import time; time.sleep(1)")
    plan = project.plan(project.record(), slow, "grad_norm")
    (tmp_path / "plan.json").write_bytes(encode(plan))
    code = f"""
import msgspec
from tracker.replay.documents import Plan
from tracker.replay.slices import run_slice
from tracker.store.open import open_store
plan = msgspec.json.decode(open({str(tmp_path / "plan.json")!r}, "rb").read(), type=Plan)
run_slice(open_store({project.store.url!r}), plan, 0)
"""
    folder = tmp_path / "temporary"
    folder.mkdir()
    worker = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(folder)})
    wait_for(lambda: list(folder.glob("hindsight-replay-*/scratch/runs")))
    children = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    worker.wait()

    wait_for(lambda: all(is_gone(child.pid) for child in children))
    result = run_slice(project.store, plan, 0)

    assert children
    assert (result.fidelity, result.values) == ("exact", 20)


def test_slices_join_without_gap_or_double(project: Project) -> None:
    """Each files the iterations that are its own; the last one also what stands before and after the loop.

    The program here does by itself what loops do in a process that replays a slice.
    """
    code = TRAIN.format(seed=7).replace(
        "import tracker\n", "import tracker\nfrom tracker.record.replaying import order\n"
    )
    code = code.replace(
        "    for step in",
        "    if order() and order().last is not None and epoch > order().last: sys.exit()\n    for step in",
    )
    project.repo.write("train.py", code)
    view = project.record()
    code = project.probed("weight += ", PROBE) + "tracker.log('last', weight)\n"
    code = code.replace("weight = 0.0", "weight = 0.0\ntracker.log('early', 5)")
    slices = (
        Slice(number=0, run=view.run, first=0, last=1, is_last=False),
        Slice(number=1, run=view.run, first=2, last=2, is_first=False, is_last=False),
        Slice(number=2, run=view.run, first=3, last=3, is_first=False),
    )
    names = ("grad_norm", "last", "early")
    plan = project.plan(view, code, *names, slices=slices, loop="epoch", iterations=4)

    results = [run_slice(project.store, plan, number) for number in (2, 0, 1)]

    frame = dataframe(project.store, "loss", "grad_norm", "early", "last")
    assert [(result.fidelity, result.values, result.compared) for result in results] == [
        ("exact", 7, 25),  # each begins with the program, so all that it logs is compared
        ("exact", 10, 12),
        ("exact", 5, 18),
    ]
    assert frame["grad_norm"].tolist() == truth(7)
    assert len(frame) == 20
    assert set(frame["early"]) == {5}


def test_the_run_is_started_as_it_was(tmp_path: Path) -> None:
    """Command line, arguments, hash seed, and data that git ignores and that was read before the first record."""
    code = """
    import os, sys
    data = open("data/x.txt").read()
    import tracker
    lr = tracker.arg("lr", 0.5)
    tracker.log("seen", [sys.argv[1:], hash("text"), data, lr])
    y = 1
    """
    project = Project.make(tmp_path, code)
    os.utime(project.repo.write("data/x.txt", "rows"), (1e9, 1e9))
    view = project.record("--kwargs", "lr=0.25", PYTHONHASHSEED="5")
    plan = project.plan(view, project.probed("y = 1", "tracker.log('probe', lr)"), "probe")

    result = run_slice(project.store, plan, 0)

    assert (result.fidelity, result.compared) == ("exact", 1)
    assert dataframe(project.store, "probe")["probe"].tolist() == [0.25]


def test_changed_arguments_are_never_verified(tmp_path: Path) -> None:
    """The answer is that of the new argument, and not compared with what the old one gave."""
    project = Project.make(tmp_path, "import tracker\nlr = tracker.arg('lr', 0.5)\ntracker.log('x', lr)\n")
    question = Question(names=("probe",), overrides={"lr": 2.0})
    code = project.probed("log('x'", "tracker.log('probe', lr)")
    plan = project.plan(project.record(), code, "probe", question=question)

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.fidelity, result.reason) == ("answered", "unverified", "arguments were changed")
    assert dataframe(project.store, "probe")["probe"].tolist() == [2.0]


def test_a_damaged_snapshot_is_told(project: Project) -> None:
    """As a failure of this slice, and the others go on."""
    view = project.record()
    plan = project.plan(view, project.probed("weight += ", PROBE), "grad_norm")
    assert view.code is not None
    key = keys.code_bundle(view.code.snapshot or "")
    project.store.put(key, b"nonsense" + project.store.get(key)[8:])

    result = run_slice(project.store, plan, 0)

    assert result.outcome == "failed"
    assert read_result(project.store, plan.replay, 0) == result


def test_a_slice_that_the_plan_lacks_is_refused(project: Project) -> None:
    """That is a mistake of the caller."""
    plan = project.plan(project.record(), project.probed("weight += ", PROBE), "grad_norm")

    with pytest.raises(InputError, match="no slice 7"):
        run_slice(project.store, plan, 7)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_for(condition: Callable[[], object]) -> None:
    """Until something is so; a minute at most."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")
