"""What a plan holds for real runs of real programs: code with probes, slices, and reasons to skip."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.record.scripts import Done, run_script
from tracker.errors import InputError, KeyNotFound, NameNotFound
from tracker.replay.documents import Plan, Question, SliceResult
from tracker.replay.planning import make_plan, read_plan, write_plan
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, EndDocument, Entry, StartDocument, decode, encode
from tracker.store.objects import get_object
from tracker.store.open import open_store

OLD = """\
import tracker

lr = tracker.arg("lr", 0.1)
weight = 1.0
for epoch in tracker.loop("epoch", range(4)):
    for step in tracker.loop("step", range(3)):
        weight -= lr * weight
    tracker.log("loss", weight)
"""
NEW = OLD + '    tracker.log("double", weight * 2)\n'
QUESTION = Question(names=("double",))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder under git that leaves its stores out."""
    subprocess.run(["git", "init", "-q", str(tmp_path / "project")], check=True)
    (tmp_path / "project" / ".gitignore").write_text("store/\nspool/\n")
    return tmp_path / "project"


@pytest.fixture
def train(project: Path) -> Callable[..., Done]:
    """Records a run of a program, with a snapshot of its code."""

    def run(code: str = OLD, *arguments: str) -> Done:
        done = run_script(project, code, *arguments, HINDSIGHT_CAPTURE="code", HINDSIGHT_CHECKPOINTS="all")
        assert not done.err, done.err
        return done

    return run


def plan_for(done: Done, question: Question = QUESTION, *, new: str = NEW, workers: int = 2) -> Plan:
    return make_plan(open_store(done.store), question, new_sources={"train.py": new}, workers=workers)


def change(store: Store, key: str, document: EndDocument | StartDocument | CodeDocument) -> None:
    store.put(key, encode(document))


def test_a_run_that_lacks_the_value_is_planned(train: Callable[..., Done]) -> None:
    """With its old code and the probe in it; without checkpoints one slice executes all."""
    done = train()

    plan = plan_for(done)

    (planned,), (piece,) = plan.runs, plan.slices
    assert planned.skipped is None
    assert planned.names == ("double",)
    assert '+    tracker.log("double", weight * 2)' in planned.diff
    assert msgspec.json.decode(get_object(open_store(done.store), planned.sources or "")) == {"train.py": NEW}
    assert (piece.run, piece.first, piece.last, piece.checkpoint) == (planned.run, 0, None, None)
    assert piece.is_first
    assert piece.is_last


def test_a_written_plan_is_read_as_it_was(train: Callable[..., Done]) -> None:
    """All of it, by the replay's id; before that there is none."""
    done = train()
    store = open_store(done.store)
    plan = plan_for(done, Question(names=("double",), overrides={"lr": 0.2}, iterations={"epoch": (1, 2)}))
    with pytest.raises(KeyNotFound):
        read_plan(store, plan.replay)

    write_plan(store, plan)

    assert read_plan(store, plan.replay) == plan


def test_what_a_run_has_is_not_computed_again(train: Callable[..., Done]) -> None:
    """Where old code has the statement and the run its values; a changed argument makes it another question."""
    done = train(NEW)

    assert plan_for(done).runs[0].skipped == "it has it already"
    assert plan_for(done).slices == ()
    assert len(plan_for(done, Question(names=("double",), overrides={"lr": 0.2})).slices) == 1


def test_a_version_without_the_place_is_skipped_and_the_others_go_on(train: Callable[..., Done], project: Path) -> None:
    """Its reason is told."""
    with_net = "import tracker\nimport net\nfor epoch in tracker.loop('epoch', range(2)):\n    net.fit(epoch)\n"
    old, new = "def fit(x):\n    return x * 2\n", "import tracker\n\n\ndef fit(x):\n    tracker.log('x', x)\n"
    (project / "net.py").write_text(old)
    train(with_net)
    (project / "net.py").unlink()
    train()
    (project / "net.py").write_text("# another comment\n" + old)
    done = train(with_net)

    sources = {"train.py": with_net, "net.py": new + "    return x * 2\n"}
    plan = make_plan(open_store(done.store), Question(names=("x",)), new_sources=sources, workers=2)

    first, without, last = plan.runs
    assert first.skipped is last.skipped is None
    assert without.skipped == "x (net.py:5): not placed: the file does not exist"
    assert {piece.run for piece in plan.slices} == {first.run, last.run}


def test_where_chooses_runs(train: Callable[..., Done]) -> None:
    """By arguments, as everywhere else; ids choose, too."""
    first = train(OLD, "--kwargs", "lr=0.5").run()
    done = train(OLD, "--kwargs", "lr=0.25")

    by_value = plan_for(done, Question(names=("double",), where="lr > 0.3"))
    by_id = plan_for(done, Question(names=("double",), runs=(first.short,)))

    assert [planned.run for planned in by_value.runs] == [first.run]
    assert [planned.run for planned in by_id.runs] == [first.run]


def test_slips_in_the_question_are_errors(train: Callable[..., Done]) -> None:
    """A name that today's code does not log, no worker, a condition on nothing."""
    done = train()

    with pytest.raises(NameNotFound, match="has the name 'dubble'"):
        plan_for(done, Question(names=("dubble",)))
    with pytest.raises(InputError, match="at least one worker"):
        plan_for(done, workers=0)
    with pytest.raises(NameNotFound, match="no run has 'lrr'"):
        plan_for(done, Question(names=("double",), where="lrr > 1"))


def test_a_line_is_asked_for(train: Callable[..., Done]) -> None:
    """The names that its statement logs are those of the plan."""
    (planned,) = plan_for(train(), Question(names=("@9",))).runs

    assert planned.names == ("double",)


def test_asking_twice_plans_nothing(train: Callable[..., Done]) -> None:
    """Once a slice has its result; an edited probe and a failed slice are asked again."""
    done = train()
    store = open_store(done.store)
    plan = plan_for(done)
    write_plan(store, plan)
    result = SliceResult(replay=plan.replay, number=0, run=plan.runs[0].run, outcome="answered")

    assert len(plan_for(done).slices) == 1
    store.put(keys.replay_result(plan.replay, 0), encode(msgspec.structs.replace(result, outcome="failed")))
    assert len(plan_for(done).slices) == 1
    store.put(keys.replay_result(plan.replay, 0), encode(result))
    again = plan_for(done)
    assert again.slices == ()
    assert again.runs[0].skipped == f"answered by replay {plan.replay[-8:]}"
    assert len(plan_for(done, new=NEW.replace("* 2", "* 3")).slices) == 1


def test_answers_that_are_gone_are_computed_again(train: Callable[..., Done]) -> None:
    """A result that says it filed values which the store does not have answers nothing."""
    done = train()
    store = open_store(done.store)
    plan = plan_for(done)
    write_plan(store, plan)
    result = SliceResult(replay=plan.replay, number=0, run=plan.runs[0].run, outcome="answered", values=4)
    store.put(keys.replay_result(plan.replay, 0), encode(result))

    assert len(plan_for(done).slices) == 1


@pytest.mark.parametrize(
    ("kind", "engine", "reason"),
    [
        ("notebook", None, "it ran in a notebook"),
        ("interactive", None, "it was typed or piped"),
        ("interactive", "airflow", "it was a command or an operator that only airflow starts"),
    ],
)
def test_what_has_no_script_is_skipped(train: Callable[..., Done], kind: str, engine: str | None, reason: str) -> None:
    """With the reason."""
    done = train()
    store, attempt = open_store(done.store), done.run().attempts[0]
    assert attempt.start is not None
    own = {"engine": engine} if engine else {}
    start = msgspec.structs.replace(attempt.start, entry=Entry(kind=kind), orchestrator=own)  # type: ignore[arg-type]
    change(store, keys.attempt_document(attempt.run, attempt.attempt, "start"), start)

    assert (plan_for(done).runs[0].skipped or "").startswith(reason)


def test_a_script_that_the_snapshot_lacks_is_skipped(train: Callable[..., Done]) -> None:
    """As one that stands elsewhere on the machine does."""
    done = train()
    store, attempt = open_store(done.store), done.run().attempts[0]
    assert attempt.start is not None
    start = msgspec.structs.replace(attempt.start, entry=Entry(kind="script", script="/elsewhere/train.py"))
    change(store, keys.attempt_document(attempt.run, attempt.attempt, "start"), start)

    assert "/elsewhere/train.py is not in the snapshot" in (plan_for(done).runs[0].skipped or "")


def test_a_run_without_code_is_skipped(train: Callable[..., Done]) -> None:
    """With what went wrong when it was recorded."""
    done = train()
    store, attempt = open_store(done.store), done.run().attempts[0]
    change(store, keys.attempt_document(attempt.run, attempt.attempt, "code"), CodeDocument(problem="git failed"))

    assert plan_for(done).runs[0].skipped == "its code was not recorded: git failed"


def test_a_snapshot_that_is_gone_is_a_reason(train: Callable[..., Done]) -> None:
    """The other runs are planned."""
    first = train().run()
    done = train(OLD.replace("range(4)", "range(5)"))
    store = open_store(done.store)
    assert first.code is not None
    store.delete([keys.code_document(first.code.snapshot or "")])

    gone, planned = plan_for(done).runs

    assert "its code cannot be read" in (gone.skipped or "")
    assert planned.skipped is None


def test_a_run_that_goes_on_is_left_out(train: Callable[..., Done]) -> None:
    """It may log the value yet."""
    done = train()
    store, attempt = open_store(done.store), done.run().attempts[0]
    end = keys.attempt_document(attempt.run, attempt.attempt, "end")
    finished = decode(store.get(end), EndDocument, key=end)
    change(store, end, msgspec.structs.replace(finished, status="running"))

    assert plan_for(done).runs[0].skipped == "it is still running"


CHECKPOINTED = """\
import random
import tracker
rate = tracker.arg("lr", 0.1)

random.seed(1)
state = {"w": 1.0}
with tracker.checkpointing(state=state):
    for epoch in tracker.loop("epoch", range(4)):
        for step in tracker.loop("step", range(3)):
            loss = random.random()
            state["w"] *= loss
        tracker.log("w", state["w"])
"""


@pytest.mark.parametrize(
    ("line", "run_blocks"),
    [
        ('        tracker.log("double", state["w"] * 2)\n', ()),
        ('        tracker.log("double", loss * 2)\n', ("step",)),
        ('            tracker.log("double", loss * 2)\n', ("step",)),
    ],
)
def test_blocks_run_where_the_probe_needs_them(
    train: Callable[..., Done], line: str, run_blocks: tuple[str, ...]
) -> None:
    """Because it stands in one, or reads what the old code had no use for and no checkpoint holds."""
    done = train(CHECKPOINTED)
    before = '        tracker.log("w"'
    new = CHECKPOINTED.replace(before, line + before) if line.startswith("     " * 2) else CHECKPOINTED + line

    plan = plan_for(done, new=new)

    (planned,), (piece,) = plan.runs, plan.slices
    assert (planned.loop, planned.iterations, planned.run_blocks) == ("epoch", 4, run_blocks)
    assert (piece.first, piece.last) == (0, 3)


def test_a_probe_behind_the_loop_begins_at_the_last_exit(train: Callable[..., Done]) -> None:
    """Nothing of the training is executed again."""
    done = train(CHECKPOINTED)

    (piece,) = plan_for(done, new=CHECKPOINTED + 'tracker.log("double", state["w"])\n').slices

    assert (piece.first, piece.last, piece.is_first, piece.is_last) == (4, None, True, True)
    assert piece.checkpoint is not None


def test_chosen_iterations_that_a_run_does_not_have(train: Callable[..., Done]) -> None:
    """Are a reason to skip it."""
    done = train(CHECKPOINTED)
    new = CHECKPOINTED + '        tracker.log("double", state["w"])\n'

    many = plan_for(done, Question(names=("double",), iterations={"epoch": (9,)}), new=new)
    other = plan_for(done, Question(names=("double",), iterations={"batch": (1,)}), new=new)
    one = plan_for(done, Question(names=("double",), iterations={"epoch": (0, 9)}), new=new)

    assert many.runs[0].skipped == "it has 4 iterations of 'epoch', and none that is asked for"
    assert other.runs[0].skipped == "it has no loop 'batch': its loops are epoch, step"
    assert [(piece.first, piece.last) for piece in one.slices] == [(0, 0)]


def test_changed_arguments_use_no_checkpoints(train: Callable[..., Done]) -> None:
    """Their states belong to other arguments."""
    done = train(CHECKPOINTED)
    new = CHECKPOINTED + '        tracker.log("double", state["w"])\n'

    plan = plan_for(done, Question(names=("double",), overrides={"lr": 1}), new=new)

    assert (plan.runs[0].loop, plan.runs[0].run_blocks) == (None, None)
    assert [(piece.first, piece.last, piece.checkpoint) for piece in plan.slices] == [(0, None, None)]


def test_an_argument_that_no_run_has_is_a_slip(train: Callable[..., Done]) -> None:
    """Changing nothing would look like an answer."""
    done = train()

    with pytest.raises(NameNotFound, match="no run has an argument 'rl': theirs are"):
        plan_for(done, Question(names=("double",), overrides={"rl": 1}))
