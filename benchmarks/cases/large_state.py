"""A training whose state is large beside its blocks: checkpoints must be few enough to stay within their share."""

from __future__ import annotations

from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.trainings import Project, source_of, untracked

_EPOCHS = 40


def measure(subject: Subject, round_number: int) -> Figures:
    """Untracked and tracked in turns; the state is 100 MB and its gradients, the blocks take about 0.3 s."""
    from tracker.checkpoint.manifest import list_checkpoints, read_manifest
    from tracker.store.open import open_store

    project, plain = Project(Path.cwd() / "tracked"), Project(Path.cwd() / "plain")
    project.commit(source_of("large_state"))
    plain.commit(untracked(source_of("large_state")))
    turns = [plain, project] if round_number % 2 == 0 else [project, plain]
    spent = {each.folder.name: each.train(str(_EPOCHS)) for each in turns}
    store = open_store(project.store, create=False)
    (run,) = store.folders("runs/")
    manifests = [read_manifest(store, key) for key in list_checkpoints(store, run)]
    more, plain_s = spent["tracked"].over(spent["plain"]), spent["plain"].wall_s
    return {
        "overhead": more["wall"],
        "cpu": more["cpu"],
        "counted": sum(one.cost_s for one in manifests) / plain_s * 100,
        "block": plain_s / _EPOCHS,
        "checkpoints": float(len(manifests)),
    }


CASE = Case(
    name="large_state",
    rows=(
        Row("overhead", "training with a state of 133 MB, recorded with checkpoints: longer by", "%", budget=6.67),
        Row("cpu", "… more processor time, all threads", "%"),
        Row("counted", "… checkpoints by their own account", "%"),
        Row("checkpoints", f"… checkpoints that were taken at {_EPOCHS} exits", ""),
        Row("block", "… time of a block, untracked", "s"),
    ),
    subjects=("hindsight",),
    measure=measure,
    rounds=3,
    needs=("torch==2.13.0", "scikit-learn"),
)
