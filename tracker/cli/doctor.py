"""``hindsight doctor``: why a store does not work, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import OK, UNAVAILABLE

if TYPE_CHECKING:
    from tracker.store.doctor import Check


def doctor(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="A store. Default: the settings.", show_default=False)
    ] = None,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Try what a store must be able to do, and say how to repair what fails.

    Connects, lists, writes, reads, creates and deletes a few bytes below .probe/, and measures how long that takes.
    Creates no store. Also shows what the recording stands on here: versions, git, the spool. Exit code 3 when the
    store cannot be used; a limit that a store can live with is marked and gives 0.

    JSON: {store, ok, checks: [{name, ok, detail, fix, needed}], facts: {name: value}}.
    """
    from tracker.cli.stores import address, settings_here
    from tracker.secrets import mask_url
    from tracker.store.doctor import examine

    asked = address(url or store)
    checks = examine(asked, settings_here().storage_options)
    ok = all(check.ok or not check.needed for check in checks)
    if as_json:
        import dataclasses

        from tracker.cli.forms import write_json

        listed = [dataclasses.asdict(check) for check in checks]
        write_json({"store": mask_url(asked), "ok": ok, "checks": listed, "facts": _facts()})
    else:
        _print(mask_url(asked), checks, ok=ok)
    return OK if ok else UNAVAILABLE


def _facts() -> dict[str, Any]:
    """What is installed here, and what waits here."""
    import platform
    import shutil

    from tracker import __version__
    from tracker.cli.stores import settings_here
    from tracker.record.spool import spool_root, spools

    settings = settings_here()
    waiting = [info.key for spool in spools(settings) for info in spool.folder.list("runs/")]
    return {
        "hindsight": __version__,
        "python": platform.python_version(),
        "git": shutil.which("git") or "not found: code is captured as files, and the demo does not run",
        "spool": str(spool_root(settings)),
        "journals waiting there": sum(key.endswith(".journal") for key in waiting),
        "capture": ", ".join(settings.capture),
    }


def _print(url: str, checks: list[Check], *, ok: bool) -> None:
    from tracker.cli.console import pairs, say, title

    title(url)
    for check in checks:
        mark, style = ("ok", "green") if check.ok else ("limited", "yellow") if not check.needed else ("failed", "red")
        say(f"  {check.name:<8} {mark:<8} {check.detail}", style if not check.ok else "")
        if check.fix:
            say(f"  {'':<8} {'fix':<8} {check.fix}", "bold")
    title("here")
    pairs([(name, str(value)) for name, value in _facts().items()])
    say("the store works" if ok else "the store cannot be used", "green" if ok else "red")
