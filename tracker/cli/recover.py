"""``hindsight recover``: what dead processes left behind is sealed and brought into its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, UNAVAILABLE, tell

if TYPE_CHECKING:
    from tracker.config import Settings
    from tracker.store.base import Store
    from tracker.store.recovery import Recovered


@dataclass(frozen=True)
class Outcome:
    """What became of the journals that wait for one store; ``problem`` when the store could not be used at all."""

    url: str
    found: Recovered | None = None
    problem: str | None = None
    unavailable: bool = False


def recover(store: options.Store = None, as_json: options.Json = False) -> int:
    """Bring in what dead processes left behind.

    Seals the journals of processes of this machine that are gone, ships what waits for remote stores, and closes
    their attempts. Without --store: the store of the settings, and every store that has journals in this user's
    spool. Reading does not need this, because readers see the journals of a local store; a later run does it, too.
    Doing it twice changes nothing; running processes are left alone.

    JSON: {"stores": [{url, journals, attempts, documents, records, dropped_bytes, problems, problem}]}; the lists
    name what was recovered, problems is {key: reason}, problem says why a store could not be used. Exit code 1 when
    a journal was damaged, 3 when a store could not be used.
    """
    outcomes = _recover_all(store)
    if as_json:
        from tracker.cli.forms import write_json

        write_json({"stores": [_form(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            _print(outcome)
    if any(outcome.unavailable for outcome in outcomes):
        return UNAVAILABLE
    return NOT_SO if any(outcome.problem or (outcome.found and outcome.found.problems) for outcome in outcomes) else OK


def _recover_all(url: str | None) -> list[Outcome]:
    from tracker.cli.stores import open_for_reading, settings_here
    from tracker.errors import NotFound

    settings = settings_here()
    waiting = _waiting(url, settings)
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
    return outcomes + [_recover_spool(other, spool, settings) for other, spool in waiting]


def _waiting(url: str | None, settings: Settings) -> list[tuple[str, Store]]:
    """The spools in which something waits, of one store or of all; the stores themselves are not asked."""
    from tracker.record.spool import spools
    from tracker.store.open import connect

    meant = None if url is None else connect(url, storage_options=settings.storage_options).url
    return [(other, spool) for other, spool in spools(settings) if meant in {None, other} and _holds_something(spool)]


def _holds_something(spool: Store) -> bool:
    from tracker.store import keys

    return any(True for folder in (keys.RUNS, keys.CODE, keys.OBJECTS) for _ in spool.list(folder))


def _recover_spool(url: str, spool: Store, settings: Settings) -> Outcome:
    """Recover into the store that a spool waits for, which is made when its runs never reached it."""
    from tracker.errors import HindsightError, Unavailable
    from tracker.store.open import open_store

    try:
        return _recover_one(url, open_store(url, storage_options=settings.storage_options), spool)
    except HindsightError as exc:
        return Outcome(url, problem=str(exc), unavailable=isinstance(exc, Unavailable))


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
