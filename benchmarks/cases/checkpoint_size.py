"""Storage per checkpoint, beside ``torch.save`` of the same network and its Adam, over real training steps."""

from __future__ import annotations

from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.trainings import Project, source_of

_EPOCHS = 10


def measure(subject: Subject, round_number: int) -> Figures:
    """A checkpoint after each of ten passes, of everything that is trained and with frozen layers."""
    whole = _stored("whole")
    frozen = _stored("frozen", "frozen")
    figures: Figures = {f"whole_{key}": value for key, value in whole.items()}
    return figures | {f"frozen_{key}": value for key, value in frozen.items()}


def _stored(name: str, *arguments: str) -> dict[str, float]:
    """Bytes of objects that a checkpoint added, on average, in per cent of the file that ``torch.save`` writes."""
    from tracker.checkpoint.manifest import list_checkpoints, read_manifest
    from tracker.store.open import open_store

    project = Project(Path.cwd() / name)
    project.commit(source_of("adam"))
    project.train(str(_EPOCHS), *arguments, HINDSIGHT_CHECKPOINTS="all")
    plain = (project.folder / "plain.pt").stat().st_size
    store = open_store(project.store, create=False)
    (run,) = store.folders("runs/")
    manifests = [read_manifest(store, key) for key in list_checkpoints(store, run)]
    if len(manifests) != _EPOCHS:
        raise RuntimeError(f"{len(manifests)} checkpoints of {_EPOCHS}")
    return {
        "share": sum(one.stored_bytes for one in manifests) / len(manifests) / plain * 100,
        "state": manifests[-1].size_bytes / plain * 100,
        "mb": plain / 1e6,
    }


CASE = Case(
    name="checkpoint_size",
    rows=(
        Row("whole_share", "stored for a checkpoint, of what torch.save writes", "%"),
        Row("whole_state", "… the state with gradients, variables and generators, uncompressed", "%"),
        Row("whole_mb", "… the file of torch.save", "MB"),
        Row("frozen_share", "… with frozen layers, stored for a checkpoint", "%"),
        Row("frozen_mb", "… with frozen layers, the file of torch.save", "MB"),
    ),
    subjects=("hindsight",),
    measure=measure,
    rounds=1,
    needs=("torch==2.13.0", "scikit-learn"),
)
