"""How a failure is told: in the end of an attempt, and beside it by a rank that does not write the end."""

from __future__ import annotations

import time
import traceback
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from tracker.errors import KeyExists, Unavailable
from tracker.record.shipping import away
from tracker.secrets import mask_text
from tracker.store import keys
from tracker.store.changes import changing
from tracker.store.documents import RankFailure, encode

if TYPE_CHECKING:
    from tracker.record.run import Run

ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def told_failure(failure: ErrorInfo | None) -> tuple[str, str] | tuple[None, None]:
    """The last line and the whole of a traceback, secrets masked."""
    if failure is None:
        return None, None
    lines = traceback.format_exception(*failure)
    return mask_text(lines[-1].strip()), mask_text("".join(lines))


def leave_failure(run: Run, rank: int) -> None:
    """Say beside the attempt, which may have ended, that a rank of it has failed; of several the first one does.

    While the store does not answer it waits in the spool; ``Unavailable`` where there is none.
    """
    error, text = told_failure(run.failure)
    document = RankFailure(rank=rank, ended=time.time(), exit_code=run.exit_code, error=error, traceback=text)
    key, data = keys.attempt_document(run.id, run.attempt, "failure"), encode(document)
    with suppress(KeyExists):
        try:
            with changing(run.store, run.id):
                run.store.create(key, data)
        except Unavailable as exc:
            if run.spool is run.store:
                raise
            run.recorder.warn_once(away(run.store.url, exc), kind="store")
            run.spool.create(key, data)
            run.owe()
