"""Who a run is: a new one, a further attempt of a launch, or the run of the process that started this worker."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import time
from contextlib import suppress
from typing import Any

import msgspec

from tracker.config import Settings
from tracker.errors import Corrupt, KeyExists, KeyNotFound, NotFound, StoreUnavailable, Unavailable
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import Launch, RunDocument, decode, encode

RUN_VARIABLE = "HINDSIGHT_RUN_ID"  # names the run of the next process that starts one
NAME_VARIABLE = "HINDSIGHT_NAME"
PARENT_VARIABLE = "HINDSIGHT_PARENT_RUN"  # the run that started this process
SHARD_VARIABLE = "HINDSIGHT_SHARD_OF"  # the attempt that workers of multiprocessing belong to
_HANDED = "hindsight-storage-options"
_CLAIMS = 3


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is started as."""

    project: str
    script: str
    name: str | None = None
    run: str | None = None
    launch_key: str | None = None
    attempt_key: str | None = None
    rank: int = 0  # above 0 another process opens the attempt
    parent: str | None = None
    tags: tuple[str, ...] = ()


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that another process has started, and in which this one writes a shard."""

    run: str
    attempt: str
    store: str
    project: str


def claim_id(store: Store, identity: Identity, spool: Store) -> str:
    """The id asked for, the id of an earlier attempt of the same launch, or a new one.

    ``spool``: where an earlier attempt may wait that was made while the store did not answer.
    """
    waiting = run_of_launch(spool, identity.launch_key) if identity.launch_key is not None else None
    return _claimed(store, identity.launch_key, identity.run or waiting or ids.new_id())


def claim_attempt(store: Store, identity: Identity, run: str, spool: Store, began: float | None = None) -> str:
    """A new id, or the one that the first of the ranks which share this attempt has chosen, in the store or the spool.

    Attempts supersede each other in the order of their ids, so it comes after those that there are, also when they were
    made by a clock ahead of ours.
    """
    before = ""
    if identity.run is not None or identity.launch_key is not None:
        before = max(filter(ids.is_id, store.folders(keys.attempts_folder(run))), default="")
    waiting = run_of_launch(spool, identity.attempt_key) if identity.attempt_key is not None else None
    return _claimed(store, identity.attempt_key, waiting or ids.later_id(before, at=began))


def membership(store: Store, identity: Identity, spool: Store) -> tuple[Membership, RunDocument]:
    """What the ranks of one job agree on through the store alone: nobody waits for anybody."""
    run = claim_id(store, identity, spool)
    attempt = claim_attempt(store, identity, run, spool)
    document = claim_document(store, identity, run, time.time())
    return Membership(run=run, attempt=attempt, store=store.url, project=identity.project), document


def counted(store: Store, spool: Store, launch_key: str, *, attempt: str) -> str:
    """The launch key, numbered where processes that ran before this one in the same try have it: also one for which the
    store did not answer, and whose claim waits in the spool.
    """
    for number in itertools.count(1):
        key, own = launch_key if number == 1 else f"{launch_key}#{number}", ids.new_id()
        name = f"{key}@{attempt}"
        # The spool first: what is shipped stands in the store before it is gone from there.
        if run_of_launch(spool, name) is None and _claimed(store, name, own) == own:
            return key
    raise AssertionError("numbers do not end")


def _claimed(store: Store, name: str | None, proposed: str) -> str:
    """The id that whoever came first proposed under this name."""
    if name is None:
        return proposed
    key = keys.launch_document(name)
    try:
        store.create(key, encode(Launch(launch_key=name, run=proposed)))
    except KeyExists:
        return decode(store.get(key), Launch, key=key).run
    return proposed


def run_of_launch(store: Store, launch_key: str) -> str | None:
    """The run that a launch key belongs to; ``None`` where nobody has recorded one, or the store does not answer."""
    key = keys.launch_document(launch_key)
    try:
        return decode(store.get(key), Launch, key=key).run
    except (NotFound, Unavailable, Corrupt):
        return None


def claim_document(store: Store, identity: Identity, run: str, now: float) -> RunDocument:
    """The run's document: written now, or found when this is a further attempt."""
    document = RunDocument(
        run=run,
        project=identity.project,
        created=now,
        script=identity.script,
        name=identity.name,
        launch_key=identity.launch_key,
        parent=identity.parent,
        tags=identity.tags,
    )
    key = keys.run_document(run)
    for _ in range(_CLAIMS):
        with suppress(KeyExists):
            store.create(key, encode(document))
            return document
        with suppress(KeyNotFound):  # its run is being removed at this moment
            return decode(store.get(key), RunDocument, key=key)
    raise StoreUnavailable(f"{key} of {store.url} comes and goes: is something else than Hindsight writing there?")


def take_variable(name: str) -> str | None:
    """A variable that is meant for one run: removed, so that processes which that run starts do not take it, too."""
    return os.environ.pop(name, None) or None


def invite_workers(run: str, attempt: str, settings: Settings, store_url: str) -> None:
    """Let processes that are started from here know whose they are."""
    os.environ[PARENT_VARIABLE] = run
    membership = Membership(run=run, attempt=attempt, store=settings.store or store_url, project=settings.project)
    os.environ[SHARD_VARIABLE] = msgspec.json.encode(membership).decode()
    if settings.storage_options:
        _hand_on(settings.storage_options)


def _hand_on(storage_options: dict[str, Any]) -> None:
    """Options go to workers with what ``multiprocessing`` itself tells them: others see the environment."""
    from multiprocessing.process import current_process

    with suppress(Exception):  # objects may refuse to be pickled in any way; a worker could not be given them
        # As bytes: what a worker cannot unpickle must not keep it from starting.
        _handed(current_process())[_HANDED] = pickle.dumps(storage_options)


def _handed(process: Any) -> dict[str, Any]:
    """What a process hands on to those that it starts; a private name of all versions of Python, or else nothing."""
    config = getattr(process, "_config", None)
    return config if isinstance(config, dict) else {}


def end_invitation() -> None:
    """The run has ended: processes started from now on belong to none."""
    os.environ.pop(PARENT_VARIABLE, None)
    os.environ.pop(SHARD_VARIABLE, None)
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        _handed(multiprocessing.current_process()).pop(_HANDED, None)


def handed_options() -> dict[str, Any] | None:
    """The storage options of the run that this spawned worker belongs to, where that was given some."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    data = None if multiprocessing is None else _handed(multiprocessing.current_process()).get(_HANDED)
    if data is None:
        return None
    with suppress(Exception):  # a class that this worker cannot import, or that cannot be made here
        options: dict[str, Any] = pickle.loads(data)  # what the process that started this one has told it
        return options
    return None


def invitation() -> Membership | None:
    """The attempt that this process should write a shard of, if it is a spawned worker of ``multiprocessing``."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    text = os.environ.get(SHARD_VARIABLE)
    if multiprocessing is None or text is None or multiprocessing.parent_process() is None:
        return None
    try:
        return msgspec.json.decode(text, type=Membership)
    except msgspec.MsgspecError:
        return None  # set by hand, or by another version
