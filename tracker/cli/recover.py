"""``hindsight recover``: what dead processes left behind is sealed and brought into its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, UNAVAILABLE, tell

if TYPE_CHECKING:
    from tracker.config import Settings
    from tracker.record.spool import Spool
    from tracker.store.base import Store
    from tracker.store.recovery import Recovered


@dataclass(frozen=True)
class Outcome:
    """What became of the journals that wait for one store; ``problem`` when the store could not be used at all."""

    url: str
    found: Recovered | None = None
    problem: str | None = None
    unavailable: bool = False


def recover(
    store: options.Store = None,
    moved: Annotated[
        bool,
        typer.Option(
            "--moved", help="With --store: its server has another address now than what waits for it was recorded for."
        ),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Bring in what dead processes left behind.

    Seals the journals of processes of this machine that are gone, ships what waits for remote stores, and closes
    their attempts. Without --store: the store of the settings, and every store that has journals in this user's
    spool; what waits for another server than the one that the settings lead to stays, and is told. Reading does not
    need this, because readers see the journals of a local store; a later run does it, too. Doing it twice changes
    nothing; running processes are left alone.

    JSON: {"stores": [{url, journals, attempts, documents, records, dropped_bytes, problems, problem}]}; the lists
    name what was recovered, problems is {key: reason}, problem says why a store could not be used. Exit code 1 when
    a journal was damaged, 3 when a store could not be used.
    """
    if moved and store is None:
        from tracker.errors import InputError

        raise InputError("--moved says that one store has a new address: name it with --store")
    outcomes = _recover_all(store, moved=moved)
    if as_json:
        from tracker.cli.forms import write_json

        write_json({"stores": [_form(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            _print(outcome)
    if any(outcome.unavailable for outcome in outcomes):
        return UNAVAILABLE
    return NOT_SO if any(outcome.problem or (outcome.found and outcome.found.problems) for outcome in outcomes) else OK


def _recover_all(url: str | None, *, moved: bool) -> list[Outcome]:
    from tracker.cli.stores import open_for_reading, settings_here
    from tracker.errors import NotFound

    settings = settings_here()
    waiting = _waiting(url, settings)
    if moved and url is not None:
        _require_one_old_server(waiting, url, settings)
    outcomes = []
    if url is None or not waiting:
        try:
            own = open_for_reading(url)
        except NotFound:
            if not waiting:
                raise
        else:
            if own.local_path("runs") is not None:
                outcomes.append(_recover_one(own.url, own, own))
            elif not waiting:
                outcomes.append(_recover_one(own.url, own, None))
    return outcomes + [_recover_spool(spool, url, settings, moved=moved) for spool in waiting]


def _waiting(url: str | None, settings: Settings) -> list[Spool]:
    """The spools in which something waits, of one store or of all; the stores themselves are not asked."""
    from tracker.record.spool import spools
    from tracker.store.open import connect

    meant = None if url is None else connect(url, storage_options=settings.storage_options).url
    return [spool for spool in spools(settings) if meant in {None, spool.url} and _holds_something(spool.folder)]


def _holds_something(spool: Store) -> bool:
    from tracker.store import keys

    return any(True for folder in (keys.RUNS, keys.CODE, keys.OBJECTS) for _ in spool.list(folder))


def _recover_spool(spool: Spool, url: str | None, settings: Settings, *, moved: bool) -> Outcome:
    """Recover into the store that a spool waits for, which is made when its runs never reached it."""
    from tracker.errors import HindsightError, Unavailable
    from tracker.store.open import open_store

    try:
        url = url or _whole_url(spool, settings)
        if not moved:
            _require_same_server(spool, url, settings)
        return _recover_one(spool.url, open_store(url, storage_options=settings.storage_options), spool.folder)
    except HindsightError as exc:
        return Outcome(spool.url, problem=str(exc), unavailable=isinstance(exc, Unavailable))


def _whole_url(spool: Spool, settings: Settings) -> str:
    """The URL of the store that a spool waits for, with the credentials that the spool does not note."""
    from tracker.errors import InputError
    from tracker.secrets import MASK
    from tracker.store.open import connect

    if MASK not in spool.url:
        return spool.url
    if settings.store and connect(settings.store, storage_options=settings.storage_options).url == spool.url:
        return settings.store
    raise InputError(
        f"what waits in {spool.folder.root} is for an address with credentials, which are not kept: give the whole "
        "address with --store or HINDSIGHT_STORE"
    )


def _require_same_server(spool: Spool, url: str, settings: Settings) -> None:
    """Another server may have a store of the same URL, in which these records have no place."""
    from tracker.errors import InputError
    from tracker.store.base import address_of
    from tracker.store.open import connect

    address = address_of(connect(url, storage_options=settings.storage_options))
    if address != spool.address:
        raise InputError(
            f"what waits in {spool.folder.root} is for {spool.address}, and the settings lead to {address}: set the "
            "options of that server (HINDSIGHT_STORAGE_OPTIONS, or AWS_ENDPOINT_URL for S3); where it has moved to the "
            f"new address, hindsight recover --store {spool.url} --moved"
        )


def _require_one_old_server(waiting: list[Spool], url: str, settings: Settings) -> None:
    """Of several servers with a store of this URL only one can have moved to the new address."""
    from tracker.errors import InputError
    from tracker.store.base import address_of
    from tracker.store.open import connect

    address = address_of(connect(url, storage_options=settings.storage_options))
    others = [spool for spool in waiting if spool.address != address]
    if len({spool.address for spool in others}) > 1:
        found = "; ".join(f"for {spool.address} in {spool.folder.root}" for spool in others)
        raise InputError(
            f"what waits is for several servers, of which one may have moved to {address}: {found}. Ship the others "
            "first, with the options of their servers and without --moved, or move their folders out of the spool"
        )


def _recover_one(url: str, store: Store, source: Store | None) -> Outcome:
    """Recover from one source; without one there is nothing on this machine that waits."""
    from tracker.store.recovery import Recovered, recover

    return Outcome(url, Recovered() if source is None else recover(store, source))


def _form(outcome: Outcome) -> dict[str, Any]:
    from tracker.store.recovery import Recovered

    found = outcome.found or Recovered()
    return {
        "url": outcome.url,
        "journals": found.journals,
        "attempts": found.attempts,
        "documents": found.documents,
        "records": found.records,
        "dropped_bytes": found.dropped_bytes,
        "problems": found.problems,
        "problem": outcome.problem,
    }


def _print(outcome: Outcome) -> None:
    from tracker.cli.texts import counted

    if outcome.found is None:
        tell(f"{outcome.url}: {outcome.problem}")
        return
    found = outcome.found
    done = [
        counted(len(found.journals), "journal") + f" with {counted(found.records, 'record')}" if found.journals else "",
        counted(len(found.attempts), "attempt") + " closed" if found.attempts else "",
        counted(len(found.documents), "document") + " shipped" if found.documents else "",
        f"{found.dropped_bytes:,} bytes could not be read" if found.dropped_bytes else "",
    ]
    print(f"{outcome.url}: {', '.join(filter(None, done)) or 'nothing to recover'}")
    for key, reason in found.problems.items():
        tell(f"{key}: {reason}")
