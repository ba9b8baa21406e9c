"""Registration of the objects whose state belongs to a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from tracker.checkpoint.blocks import Blocks, Keeper
from tracker.checkpoint.counting import counts_of
from tracker.checkpoint.manifest import list_checkpoints, read_manifest
from tracker.checkpoint.policy import Policy
from tracker.errors import BadName, DamagedDocument, InputError, KeyNotFound, NameCollision
from tracker.record.context import current_scope, set_watcher
from tracker.record.lifecycle import active_run, finish
from tracker.record.replaying import Order, end_process, order
from tracker.record.run import Run
from tracker.store.open import open_store

_registered: ContextVar[dict[str, Any] | None] = ContextVar("hindsight_registered", default=None)


@contextmanager
def checkpointing(*, resume: bool = False, **objects: Any) -> Iterator[Mapping[str, Any]]:
    """Register objects as state of the run for the duration of the block, under the names given.

    In the block, checkpoints are taken where the loops inside the outermost ``loop`` end, or the iterations of that
    loop where it has none inside: of the objects, the random generators and the variables that the loop changes. How
    often is measured, so that they cost at most a fifteenth of the run time (settings ``checkpoints`` and
    ``checkpoint_share``). They are written by a thread; a process that is killed loses the one that is being written.

    Models, optimizers and schedulers with ``state_dict``, NumPy arrays, scikit-learn estimators, containers, and
    objects with ``__getstate__`` or a plain ``__dict__`` are restored exactly.

    With ``resume=True`` a run that was started before under the same identity (``HINDSIGHT_RUN_ID``, launch key) goes
    on from its last checkpoint: iterations before it are not entered, and what is logged from there on takes the place
    of what earlier attempts logged there. Not in a job of several ranks, where it raises ``InputError``: checkpoints
    hold the state of the first rank.

    ``with checkpointing(model=net, optimizer=opt): …`` may be nested; inner blocks add to outer ones. ``BadName``
    without any object, ``NameCollision`` where an outer block has the name for another object.

    >>> import tracker
    >>> with tracker.checkpointing(weights=[1.0, 2.0]) as state:
    ...     sorted(state)
    ['weights']
    """
    if not objects:
        raise BadName("checkpointing() needs objects by name: checkpointing(model=net, optimizer=opt)")
    outer = _registered.get()
    if outer is not None:
        with _added(outer, objects):
            yield MappingProxyType(dict(outer))
        return
    blocks = Blocks(lambda: _make_keeper(objects, resume=resume))
    token = _registered.set(objects)
    set_watcher(blocks)
    try:
        yield MappingProxyType(dict(objects))
    finally:
        set_watcher(None)
        _registered.reset(token)
        if blocks.keeper is not None:
            blocks.keeper.finish()


@contextmanager
def _added(outer: dict[str, Any], objects: Mapping[str, Any]) -> Iterator[None]:
    for name, value in objects.items():
        if name in outer and outer[name] is not value:
            raise NameCollision(
                f"{name!r} is registered by an enclosing checkpointing() for another object: choose another name"
            )
    added = {name: value for name, value in objects.items() if name not in outer}
    outer.update(added)
    try:
        yield
    finally:
        for name in added:
            del outer[name]


def _make_keeper(objects: dict[str, Any], *, resume: bool) -> Keeper | None:
    """Who looks after the blocks: it restores them in a replay, and takes checkpoints in an ordinary run."""
    current_scope()[0].ready()  # starts the run, as a log would
    run = active_run()
    if run is not None and run.has_ranks and resume:
        raise InputError(
            "checkpointing(resume=True) in a job of several ranks: a checkpoint holds the state of the first rank, and "
            "the others would begin anew. Leave resume out, and let every rank save and load its state itself; "
            "tasks that are independent of each other can resume when each has a HINDSIGHT_RUN_ID of its own"
        )
    if run is None or run.is_child:
        return None
    found = order()
    if found is not None:
        return _restorer(found, objects, run) if found.run == run.id else None
    run.resumes = run.resumes or resume
    settings = run.settings
    if settings.checkpoints == "none" and not resume:
        return None
    from tracker.checkpoint.taking import Taker

    taker = Taker(run, objects, Policy(time.perf_counter, limit=settings.checkpoint_share, mode=settings.checkpoints))
    run.on_finish.append(taker.finish)
    last = _last_checkpoint(run) if resume else None
    if last is None:
        return taker
    from tracker.checkpoint.resuming import Resumer

    return Resumer(taker, Order(run=run.id, attempt=run.attempt, store="", scratch="", checkpoint=last))


def _last_checkpoint(run: Run) -> str | None:
    """The last one that a program can begin at; damaged ones are passed over."""
    for key in reversed(list_checkpoints(run.store, run.id)):
        with suppress(KeyNotFound, DamagedDocument):
            if read_manifest(run.store, key).can_begin:
                return key
    return None


def _restorer(found: Order, objects: dict[str, Any], run: Run) -> Keeper:
    from tracker.checkpoint.replaying import Restorer

    store = open_store(found.store, storage_options=found.storage_options, create=False)
    return Restorer(store, found, objects, counts=counts_of(run), stop=_end_process)


def _end_process() -> None:
    finish("finished")
    end_process()
