"""``hindsight checkpoints``: at which points a run left its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import OK, tell

if TYPE_CHECKING:
    from tracker.checkpoint.manifest import Manifest

DEFAULT_LIMIT = 50
_SHOWN = (
    *("attempt", "number", "created", "elapsed_s", "block_s", "cost_s"),
    *("size_bytes", "stored_bytes", "missing", "pickled"),
)


def checkpoints(
    run: options.Run,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most so many, the last; 0 for all.")
    ] = DEFAULT_LIMIT,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """List the checkpoints of a run: where in its loops, how large, and what they cost.

    A checkpoint holds the state at the end of an inner loop, or of an iteration without one. Replays and resumed runs
    begin there; `tracker.load_checkpoint(RUN, NUMBER)` gives its objects.

    JSON: {run, checkpoints: [{index, key, attempt, number, position, created, elapsed_s, block_s, cost_s, size_bytes,
    stored_bytes, objects, missing, pickled}], total, more}.
    """
    from tracker.checkpoint.manifest import list_checkpoints, read_manifest
    from tracker.cli.forms import write_json
    from tracker.cli.stores import open_for_reading
    from tracker.read.catalog import find_run
    from tracker.read.parallel import each

    opened = open_for_reading(store)
    view = find_run(opened, run)
    keys = list_checkpoints(opened, view.run)
    found = list(zip(keys, each(opened, lambda key: read_manifest(opened, key), keys), strict=True))
    shown = found[-limit:]
    if as_json:
        first = len(found) - len(shown)
        forms = [{"index": first + n} | _form(key, manifest) for n, (key, manifest) in enumerate(shown)]
        write_json({"run": view.run, "checkpoints": forms, "total": len(found), "more": len(found) - len(shown)})
    elif not found:
        tell(
            f"run {view.short} has no checkpoints: they are taken inside of `with tracker.checkpointing(…)`, "
            "where running a loop again would take longer than restoring its end"
        )
    else:
        _print([manifest for _, manifest in shown], [manifest for _, manifest in found])
    return OK


def _form(key: str, manifest: Manifest) -> dict[str, Any]:
    position = manifest.position
    shown = {name: getattr(position, name) for name in position.__struct_fields__}
    about = {name: getattr(manifest, name) for name in _SHOWN}
    return {"key": key, "position": shown, "objects": sorted(manifest.objects), **about}


def _print(shown: list[Manifest], found: list[Manifest]) -> None:
    from tracker.cli.console import Column, print_table, say
    from tracker.cli.texts import counted, duration_text, size_text

    def column(head: str, cells: list[str], *, right: bool = True, rank: int = 0) -> Column:
        return Column(head, cells, right=right, rank=rank)

    if len(found) > len(shown):
        say(f"… {counted(len(found) - len(shown), 'earlier one')}: --limit 0 shows all", "dim")
    attempts = {each.attempt: each.elapsed_s for each in found}
    print_table(
        [
            column("number", [str(len(found) - len(shown) + n) for n in range(len(shown))]),
            *([column("attempt", [each.attempt[-8:] for each in shown], right=False)] if len(attempts) > 1 else []),
            column("at the end of", [_end_of(manifest) for manifest in shown], right=False),
            column("after", [duration_text(manifest.elapsed_s) for manifest in shown]),
            column("loop took", [duration_text(manifest.block_s) for manifest in shown], rank=2),
            column("cost", [duration_text(manifest.cost_s) for manifest in shown], rank=1),
            column("state", [size_text(manifest.size_bytes) for manifest in shown]),
            column("stored", [size_text(manifest.stored_bytes) for manifest in shown]),
        ]
    )
    stored, cost = sum(each.stored_bytes for each in found), sum(each.cost_s for each in found)
    elapsed = sum(attempts.values())
    share = f", {100 * cost / elapsed:.1f} % of the time until the last" if elapsed else ""
    say(f"{counted(len(found), 'checkpoint')}: {size_text(stored)} stored, cost {duration_text(cost)}{share}")
    for name, reason in {name: why for each in found for name, why in each.missing.items()}.items():
        tell(f"{name} is not part of them: {reason}")
    if pickled := sorted({path for each in found for path in each.pickled}):
        tell(f"only pickle could hold {', '.join(pickled[:5])}: load_checkpoint needs trust=True to give it")


def _end_of(manifest: Manifest) -> str:
    position = manifest.position
    around = [f"{name}={value}" for name, value in position.around]
    place = ", ".join([*around, f"{position.loop}={position.iteration}"])
    return f"{place}: {position.block_loop}" if position.block_loop else place
