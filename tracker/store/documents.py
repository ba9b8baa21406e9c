"""The JSON documents of a store, as immutable structs (layout: docs/design/0001).

Times are Unix seconds (float), durations seconds, sizes bytes. Unknown fields are ignored, so documents of newer minor
versions stay readable.
"""

from __future__ import annotations

import base64
import math
import os
import threading
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from tracker.errors import DamagedDocument
from tracker.store.processes import Writer

FORMAT_NUMBER = 1

Status = Literal["running", "finished", "failed", "killed", "preempted", "lost"]
"""How a run or attempt stands; ``lost``: no sign of life and no end, and nobody can know more."""


UnixSeconds = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]
"""A time of the calendar, up to the year 9999; a document with another one is damaged."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """``format.json``: what every reader and writer of the store must know first."""

    format: int = FORMAT_NUMBER
    created: UnixSeconds
    writer: str
    conditional_put: bool
    probed_at: str = ""  # where that was found out; a store that moved is probed again


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The run that a launch key belongs to."""

    launch_key: str
    run: str


class RunDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``run.json``: who a run is; written once."""

    run: str
    project: str
    created: UnixSeconds
    script: str
    name: str | None = None
    launch_key: str | None = None
    parent: str | None = None
    tags: tuple[str, ...] = ()


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``marks/<mark>.json`` of a run: one change of its tags or its pin. The later one wins; ids sort by time."""

    run: str
    mark: str
    at: UnixSeconds
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    pinned: bool | None = None  # None: as it was


class Removal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``removed/<run>.json``: the run was removed from this store on purpose, and no sync brings it back."""

    run: str
    removed: UnixSeconds
    reason: str = ""
    launch_key: str | None = None  # whose pointer goes with the run


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``holds/<hold>.json``: a writer found these keys and is about to name them; ``everything``: it may find any."""

    hold: str
    created: UnixSeconds
    writer: Writer | None = None
    keys: tuple[str, ...] = ()
    everything: bool = False


class Sweep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``sweeps/<sweep>.json``: payloads that nothing needs are being deleted; without ``keys`` it may be any."""

    sweep: str
    created: UnixSeconds
    writer: Writer | None = None
    keys: tuple[str, ...] | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to execute to run this again: a script with its command line, or a function."""

    kind: Literal["script", "module", "function", "notebook", "interactive"]
    script: str | None = None  # relative to the project's root where it lies below it
    argv: tuple[str, ...] = ()  # without interpreter and script
    working_directory: str = "."  # relative to the project's root where it lies below it
    function: str | None = None  # "package.module:qualified.name"


class Packages(msgspec.Struct, frozen=True, kw_only=True):
    """Installed distributions by name, with their versions."""

    python: str
    implementation: str
    executable: str
    distributions: dict[str, str]


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator as its driver names it."""

    name: str
    memory_bytes: int | None = None
    driver: str | None = None


class Host(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine of an attempt."""

    name: str
    system: str
    machine: str
    cpus: int
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()


class StartDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``start.json``: what an attempt was started with. Secrets are masked before they get here."""

    run: str
    attempt: str
    started: UnixSeconds
    entry: Entry
    pid: int
    writer: str
    root: str | None = None  # the project's folder on the machine that ran it
    environment: dict[str, str] = {}
    packages: Packages | None = None
    host: Host | None = None
    orchestrator: dict[str, Any] = {}  # identity in the engine that started it
    ordinal: int = 0  # how many runs the process had started before


class CodeDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``code.json``: the snapshot of an attempt's code, or why there is none."""

    snapshot: str | None = None  # names code/<snapshot>.json
    commit: str | None = None  # the snapshot's commit; None for a folder without git
    head: str | None = None  # the user's HEAD commit, None before the first commit
    branch: str | None = None
    dirty: bool = False
    remote: str | None = None  # without credentials
    left_out: dict[str, str] = {}  # path -> reason (size, secret, …)
    problem: str | None = None
    subfolder: str = "."  # where the project stands below the snapshot's top folder
    modules: dict[str, str] = {}  # repositories inside it: path -> their own HEAD commit, "+" behind it when dirty


class CodeFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a folder without git; its content is the object of that digest."""

    path: str  # with "/"; base64 of the bytes where they are not UTF-8
    digest: str
    size_bytes: int
    kind: Literal["file", "executable", "link"] = "file"  # a link's content is its target
    is_base64: bool = False


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``code/<snapshot>.json``: says that a snapshot is complete, and what it is made of.

    A ``git`` snapshot is named by its commit and lies in the git bundle beside this document; that bundle's own header
    names the commits it builds on, each the name of another snapshot. ``depth`` counts them.
    """

    snapshot: str
    kind: Literal["git", "files"]
    created: UnixSeconds
    size_bytes: int
    depth: int = 0
    root: str | None = None  # the full bundle that the chain begins with; None for that one itself
    files: tuple[CodeFile, ...] = ()


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """``lease.json``: a sign of life, renewed every ``interval_s`` seconds by its owner."""

    writer: Writer
    renewed: UnixSeconds
    interval_s: float
    interrupted: bool = False  # the batch system announced its end, or started it again


class InputFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file below the project's root that the run read."""

    path: str
    size_bytes: int
    modified: float
    digest: str | None = None  # BLAKE3 hex; None above the size limit


class LoopTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds per iteration of one loop path, over all its iterations in this attempt."""

    iterations: int
    total_s: float
    mean_s: float
    std_s: float


class EndDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``end.json``: how an attempt ended. Absent while it runs and after a kill, until a recovery writes it."""

    status: Status
    ended: UnixSeconds
    exit_code: int | None = None
    error: str | None = None  # the last line of the traceback
    traceback: str | None = None
    records: int = 0
    dropped: dict[str, int] = {}  # reason -> number of records that were not kept
    arguments: dict[str, Any] = {}
    summary: dict[str, Any] = {}  # last run-level value of every metric
    timings: dict[str, LoopTiming] = {}  # by path, "epoch.step"
    inputs: tuple[InputFile, ...] = ()
    recovered: bool = False


class RankFailure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``failure.json``: a rank of an attempt has failed that is not the one which writes the attempt's end."""

    rank: int
    ended: UnixSeconds
    exit_code: int | None = None
    error: str | None = None
    traceback: str | None = None


DocumentType = TypeVar("DocumentType", bound=msgspec.Struct)

_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}
_lock = threading.Lock()


# What users logged stands in these fields; JSON itself has no NaN, no bytes and no lone surrogates.
_LOGGED = {"EndDocument": ("arguments", "summary")}


def encode(document: msgspec.Struct) -> bytes:
    """The document as indented JSON, for people who look into a store."""
    logged = {name: _marked(getattr(document, name)) for name in _LOGGED.get(type(document).__name__, ())}
    return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(document, **logged)), indent=1)


def decode(data: bytes, kind: type[DocumentType], *, key: str) -> DocumentType:
    """The document in ``data``; ``DamagedDocument`` names the key and what is wrong."""
    try:
        found = _decoder(kind).decode(data)
        logged = {name: _unmarked(getattr(found, name)) for name in _LOGGED.get(kind.__name__, ())}
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:  # of the text, or of what it marks
        raise DamagedDocument(
            f"{key} is not a readable {kind.__name__}: {exc}; `hindsight verify` lists the damage"
        ) from exc
    return msgspec.structs.replace(found, **logged) if logged else found


def _decoder(kind: type[DocumentType]) -> msgspec.json.Decoder[DocumentType]:
    """The decoder of a kind, made by one thread: msgspec crashes when two threads look at a type for the first time."""
    found = _decoders.get(kind)
    if found is None:
        with _lock:
            found = _decoders[kind] = msgspec.json.Decoder(kind)
    return found


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)  # another thread may have held it at that moment


def _marked(value: Any) -> Any:
    """The value with ``{"$float": "nan"}`` and ``{"$bytes": base64}`` where JSON has no form for it.

    A dict that looks like that itself, its only key beginning with ``$``, gets a further ``$`` there.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        mark = "$" if len(value) == 1 and next(iter(value)).startswith("$") else ""
        return {mark + _marked(key): _marked(item) for key, item in value.items()}
    return value


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        key, item = next(iter(value.items()))
        if key == "$float" and isinstance(item, str):
            return float(item)
        if key == "$bytes" and isinstance(item, str):
            return base64.b64decode(item)
        if key.startswith("$$"):
            return {key[1:]: _unmarked(item)}
    return {key: _unmarked(item) for key, item in value.items()}
