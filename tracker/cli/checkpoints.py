"""``hindsight checkpoints``: at which points a run left its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracker.cli import options
from tracker.cli.failures import OK, tell

if TYPE_CHECKING:
    from tracker.checkpoint.manifest import Manifest

_SHOWN: tuple[str, ...] = ("attempt", "number", "created", "elapsed_s", "block_s", "cost_s", "size_bytes", "stored_bytes")
_SHOWN += ("missing", "pickled")


def checkpoints(run: options.Run, store: options.Store = None, as_json: options.Json = False) -> int:
    """List the checkpoints of a run: where in its loops, how large, and what they cost.

    A checkpoint holds the state at the end of an inner loop, or of an iteration without one. `tracker.load_checkpoint`
    gives its objects; a replay and a resumed run begin there.

    JSON: {run, checkpoints: [{key, attempt, number, position, created, elapsed_s, block_s, cost_s, size_bytes,
    stored_bytes, objects, missing, pickled}]}.
    """
    from tracker.checkpoint.manifest import list_checkpoints, read_manifest
    from tracker.cli.forms import write_json
    from tracker.cli.stores import open_for_reading
    from tracker.read.catalog import find_run

    opened = open_for_reading(store)
    view = find_run(opened, run)
    found = [(key, read_manifest(opened, key)) for key in list_checkpoints(opened, view.run)]
    if as_json:
        write_json({"run": view.run, "checkpoints": [_form(key, manifest) for key, manifest in found]})
    elif not found:
        tell(f"run {view.short} has no checkpoints: its loops ran outside of `with tracker.checkpointing(…)`")
    else:
        _print([manifest for _, manifest in found])
    return OK


def _form(key: str, manifest: Manifest) -> dict[str, Any]:
    position = manifest.position
    shown = {name: getattr(position, name) for name in position.__struct_fields__}
    about = {name: getattr(manifest, name) for name in _SHOWN}
    return {"key": key, "position": shown, "objects": sorted(manifest.objects), **about}


def _print(found: list[Manifest]) -> None:
    from tracker.cli.console import Column, print_table
    from tracker.cli.texts import counted, duration_text, size_text

    def column(head: str, cells: list[str], *, right: bool = True, rank: int = 0) -> Column:
        return Column(head, cells, right=right, rank=rank)

    print_table(
        [
            column("number", [str(manifest.number) for manifest in found]),
            column("end of", [_end_of(manifest) for manifest in found], right=False),
            column("at", [duration_text(manifest.elapsed_s) for manifest in found]),
            column("block", [duration_text(manifest.block_s) for manifest in found], rank=2),
            column("cost", [duration_text(manifest.cost_s) for manifest in found], rank=1),
            column("state", [size_text(manifest.size_bytes) for manifest in found]),
            column("stored", [size_text(manifest.stored_bytes) for manifest in found]),
        ]
    )
    total = sum(manifest.stored_bytes for manifest in found)
    cost = sum(manifest.cost_s for manifest in found)
    print(f"{counted(len(found), 'checkpoint')}, {size_text(total)} stored, at a cost of {duration_text(cost)}")
    for name, reason in {name: why for manifest in found for name, why in manifest.missing.items()}.items():
        tell(f"{name} is not part of them: {reason}")


def _end_of(manifest: Manifest) -> str:
    position = manifest.position
    around = [f"{name}={value}" for name, value in position.around]
    place = ", ".join([*around, f"{position.loop}={position.iteration}"])
    return f"{place}: {position.block_loop}" if position.block_loop else place
