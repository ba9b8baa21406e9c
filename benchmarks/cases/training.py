"""A training of a minute: what recording and checkpoints cost it, and how long its replays take."""

from __future__ import annotations

from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.trainings import Project, Replayed, Spent, source_of, untracked

_EPOCHS = 18
_LONG = 32  # epochs of the training that is replayed: starting PyTorch again takes seconds, whatever is asked
_STEPS = 150
_OUTER = 'tracker.log("wrong", int((guess != test_y).sum()))'
_INNER = 'tracker.log("norm_{}", sum(float(p.grad.norm()) for p in net.parameters()))'
_WORKERS = (4, 16, 64)
_MANY = 20


def measure(subject: Subject, round_number: int) -> Figures:
    """The same script untracked and tracked, each round in another order, so that drift of the machine evens out.

    Replays, and the training without checkpoints, which say where time goes, are measured in the first round.
    """
    here = Path.cwd()
    project, plain = Project(here / "tracked"), Project(here / "plain")
    project.commit(source_of("transformer"))
    plain.commit(untracked(source_of("transformer")))
    turns = [("plain", plain), ("adaptive", project), ("none", project)][: 3 if round_number == 0 else 2]
    spent: dict[str, Spent] = {}
    for mode, its in turns if round_number % 2 == 0 else reversed(turns):
        store = str(here / f"store-{mode}")
        checkpoints = "none" if mode == "none" else "adaptive"
        spent[mode] = its.train(str(_EPOCHS), HINDSIGHT_STORE=store, HINDSIGHT_CHECKPOINTS=checkpoints)
    (here / "store-adaptive").rename(project.store)
    figures = _overhead(spent, project)
    return figures | _replays(Project(here / "long")) if round_number == 0 else figures


def _overhead(spent: dict[str, Spent], project: Project) -> Figures:
    """Shares of the untracked time; ``counted`` is what the recording itself says that its checkpoints cost."""
    from tracker.checkpoint.manifest import list_checkpoints, read_manifest
    from tracker.store.open import open_store

    plain_s = spent["plain"].wall_s
    with_checkpoints = spent["adaptive"].over(spent["plain"])
    store = open_store(project.store, create=False)
    (run,) = store.folders("runs/")
    manifests = [read_manifest(store, key) for key in list_checkpoints(store, run)]
    figures: Figures = {
        "plain": plain_s,
        "adaptive": with_checkpoints["wall"],
        "adaptive_cpu": with_checkpoints["cpu"],
        "counted": sum(one.cost_s for one in manifests) / plain_s * 100,
        "checkpoints": float(len(manifests)),
    }
    if "none" in spent:
        without = spent["none"].over(spent["plain"])
        figures |= {"none": without["wall"], "none_cpu": without["cpu"]}
    return figures


def _replays(project: Project) -> Figures:
    """Replays of one longer training; inner probes are asked for as many of its epochs as the shorter ones have."""
    project.commit(source_of("transformer"))
    trained_s = project.train(str(_LONG)).wall_s
    project.add(_OUTER, at="outer probe")
    outer = project.replay("wrong", "--workers", "1")
    _check(outer, _LONG)
    # What is answered is not executed again, so each number of workers has a probe of its own.
    project.add(*(_INNER.format(workers) for workers in (1, 2)), at="inner probe")
    figures = _simulated(project)
    asked = ("--iter", f"epoch={','.join(map(str, range(_EPOCHS)))}")
    inner = {workers: project.replay(f"norm_{workers}", "--workers", str(workers), *asked) for workers in (2, 1)}
    for replayed in inner.values():
        _check(replayed, _EPOCHS * _STEPS)
    return {
        "outer": trained_s / outer.slices_s,
        "outer_s": outer.slices_s,
        "outer_command": trained_s / outer.command_s,
        "trained_s": trained_s,
        "inner": inner[1].command_s / inner[2].command_s,
        "inner_s": inner[2].command_s,
        **figures,
    }


def _check(replayed: Replayed, values: int) -> None:
    """A fast answer that is not right is none."""
    if replayed.problem() or replayed.values != values:
        raise RuntimeError(f"{replayed.values} of {values} values; {replayed.problem()}")


def _simulated(project: Project) -> Figures:
    """The efficiency that the planner finds for an inner probe, of this run and of twenty such runs, in per cent."""
    from tracker.replay.documents import Question
    from tracker.replay.planning import plan_runs
    from tracker.replay.slicing import simulate
    from tracker.replay.sources import current_sources
    from tracker.store.open import open_store

    store = open_store(project.store, create=False)
    _, works = plan_runs(store, Question(names=("norm_1",)), new_sources=current_sources(project.folder))
    figures: Figures = {f"one_{workers}": simulate(works, workers) * 100 for workers in _WORKERS}
    return figures | {f"many_{workers}": simulate(works * _MANY, workers) * 100 for workers in _WORKERS}


CASE = Case(
    name="training",
    rows=(
        Row("plain", "training of a transformer, untracked", "s", budget=60.0, better="more"),
        Row("adaptive", "… recorded with checkpoints, longer by", "%", budget=1.5),
        Row("adaptive_cpu", "… more processor time, all threads", "%"),
        Row("none", "… recorded without checkpoints, longer by", "%"),
        Row("none_cpu", "… more processor time, all threads", "%"),
        Row("counted", "… checkpoints by their own account", "%"),
        Row("checkpoints", "… checkpoints that were taken", ""),
        Row("outer", "replay of an outer probe, 1 worker: faster than the training", "×", budget=20.0, better="more"),
        Row("outer_s", "… its slices", "s"),
        Row("trained_s", "… the training", "s"),
        Row("outer_command", "… the whole command: faster than the training", "×", better="more"),
        Row("inner", "replay of an inner probe: 2 workers faster than 1", "×", budget=1.8, better="more"),
        Row("inner_s", "… 2 workers, the whole command", "s"),
        *(Row(f"one_{n}", f"… planned efficiency, this run on {n} workers", "%", better="more") for n in _WORKERS),
        *(Row(f"many_{n}", f"… {_MANY} such runs on {n} workers", "%", better="more") for n in _WORKERS),
    ),
    subjects=("hindsight",),
    measure=measure,
    rounds=3,
    timeout_s=900.0,
    needs=("torch==2.13.0", "scikit-learn"),
)
