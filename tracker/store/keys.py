"""Every key of a store is built, parsed and checked here, and nowhere else (layout: docs/design/0001)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from blake3 import blake3

from tracker.errors import BadKey
from tracker.store.ids import ID_LENGTH, is_id

FORMAT = "format.json"
RUNS = "runs/"
OBJECTS = "objects/"
CODE = "code/"
REPLAYS = "replays/"
REMOVED = "removed/"
HOLDS = "holds/"
SWEEPS = "sweeps/"
RUN_PATH = "@run"
OUTPUT_PATH = "@output"
SYSTEM_LOOP = "@system"
INDEX = "index/"  # derived from the runs; may be deleted at any moment
INDEX_FORMAT = "index/format.json"
INDEX_RUNS = "index/runs/"
INDEX_DATA = "index/data/"
INDEX_CHANGED = "index/changed/"

_SHARD = re.compile(r"[0-9a-hjkmnp-tv-z]{26}(_[0-9a-hjkmnp-tv-z]{8})?")
_SEGMENT = re.compile(r"(?P<shard>[0-9a-z_]+)-(?P<first>\d{10,19})-(?P<last>\d{10,19})(\.(?P<part>\d{1,4}))?\.parquet")
_JOURNAL = re.compile(r"(?P<shard>[0-9a-z_]+)-(?P<first>\d{10,19})\.journal")
_SAFE_PART = r"""(?!\.{1,2}(?:/|\Z))[^/\\:"<>|?*\x00-\x1f\x7f]+"""
_SAFE_KEY = re.compile(f"{_SAFE_PART}(?:/{_SAFE_PART})*")
_HASH = re.compile(r"[0-9a-f]{64}")
_TABLE = re.compile(r"[0-9a-f]{16}")
_MAX_PART_CHARS, _CUT_PART_CHARS = 200, 150
_MAX_KEY_BYTES = 900  # S3 takes 1024; the prefix of the store needs some of it


def check(key: str) -> str:
    """Return the key when it is safe, else raise ``BadKey``.

    Safe: relative, ``/`` between parts, no empty part, ``.``, ``..``, back-slash, colon or control character, at most
    900 bytes. Whatever reads a key out of a store passes it through here before it touches a path.
    """
    too_long = len(key) * 4 > _MAX_KEY_BYTES and len(key.encode("utf-8", "surrogatepass")) > _MAX_KEY_BYTES
    if too_long or not _SAFE_KEY.fullmatch(key) or not key.isprintable():
        raise BadKey(f"{key!r} is not a key: expected parts joined by '/', without '..', back-slashes or colons")
    return key


def folder_of(key: str) -> str:
    """The folder that the first two parts of a key name: that of a run or a replay, or one of objects."""
    return "/".join(key.split("/", 2)[:2]) + "/"


def run_folder(run: str) -> str:
    """``runs/<run>/``"""
    if not is_id(run):
        raise BadKey(f"{run!r} is not a run id")
    return f"{RUNS}{run}/"


def run_document(run: str) -> str:
    return f"{run_folder(run)}run.json"


def attempts_folder(run: str) -> str:
    return f"{run_folder(run)}attempts/"


def attempt_document(run: str, attempt: str, name: str) -> str:
    """Key of ``start``, ``code``, ``invocation``, ``lease``, ``end`` or ``failure`` of an attempt."""
    if name not in {"start", "code", "invocation", "lease", "end", "failure"} or not is_id(attempt):
        raise BadKey(f"{name!r} of attempt {attempt!r} is not a document of an attempt")
    return f"{attempts_folder(run)}{attempt}/{name}.json"


def marks_folder(run: str) -> str:
    """``runs/<run>/marks/``: changes of a run's tags and of its pin."""
    return f"{run_folder(run)}marks/"


def mark_document(run: str, mark: str) -> str:
    return f"{marks_folder(run)}{_id(mark, 'a mark')}.json"


def removal_document(run: str) -> str:
    """Key of what says that a run was removed here."""
    return f"{REMOVED}{_id(run, 'a run')}.json"


def hold_document(hold: str) -> str:
    """Key of what a writer is about to name."""
    return f"{HOLDS}{_id(hold, 'a hold')}.json"


def sweep_document(sweep: str) -> str:
    """Key of what says that unneeded payloads are being deleted."""
    return f"{SWEEPS}{_id(sweep, 'a sweep')}.json"


def _id(text: str, what: str) -> str:
    if not is_id(text):
        raise BadKey(f"{text!r} is not the id of {what}")
    return text


def launch_document(launch_key: str) -> str:
    """Key of the pointer from a launch key to its run."""
    return f"launches/{blake3(launch_key.encode()).hexdigest()}.json"


def object_key(digest: str) -> str:
    """Key of the object with this BLAKE3 hash (64 hex digits)."""
    if not _HASH.fullmatch(digest):
        raise BadKey(f"{digest!r} is not a BLAKE3 hash: expected 64 lower-case hex digits")
    return f"{OBJECTS}{digest[:2]}/{digest}"


def code_document(snapshot: str) -> str:
    return check(f"{CODE}{snapshot}.json")


def code_bundle(snapshot: str) -> str:
    return check(f"{CODE}{snapshot}.bundle")


def journal_folder(run: str) -> str:
    return f"{run_folder(run)}journal/"


def data_folder(run: str) -> str:
    return f"{run_folder(run)}data/"


def checkpoints_folder(run: str) -> str:
    """``runs/<run>/checkpoints/``"""
    return f"{run_folder(run)}checkpoints/"


def checkpoint_document(run: str, attempt: str, number: int) -> str:
    """Key of the manifest of a checkpoint, numbered from 0 in the order in which its attempt took them."""
    if not is_id(attempt) or not 0 <= number < 10**10:
        raise BadKey(f"checkpoint {number!r} of attempt {attempt!r} has no key")
    return f"{checkpoints_folder(run)}{attempt}/{number:010d}.json"


def replay_folder(replay: str) -> str:
    """``replays/<replay>/``"""
    if not is_id(replay):
        raise BadKey(f"{replay!r} is not a replay id")
    return f"{REPLAYS}{replay}/"


def replay_plan(replay: str) -> str:
    return f"{replay_folder(replay)}plan.json"


def replay_result(replay: str, number: int) -> str:
    """Key of what became of a slice."""
    return f"{replay_folder(replay)}slices/{int(number):06d}.json"


def watch_folder(repository: str, branch: str) -> str:
    """The folder of what is known of a branch whose new log statements are asked."""
    digest = blake3(f"{repository}\0{branch}".encode()).hexdigest()
    return f"watches/{digest}/"


def watch_document(repository: str, branch: str, look: str) -> str:
    """Key of what was asked after one look at a branch."""
    if not is_id(look):
        raise BadKey(f"{look!r} is not the id of a look at a branch")
    return f"{watch_folder(repository, branch)}{look}.json"


def change_marker(run: str, marker: str) -> str:
    """Key that says that a run has changed, or is about to, since it was read for the index."""
    if not is_id(run) or not is_id(marker):
        raise BadKey(f"{marker!r} is not the id of a change of run {run!r}")
    return f"{INDEX_CHANGED}{run}/{marker}"


def index_runs(batch: str) -> str:
    """Key of the rows of a batch of the index: one for each run."""
    if not is_id(batch):
        raise BadKey(f"{batch!r} is not the id of a batch of the index")
    return f"{INDEX_RUNS}{batch}.parquet"


def index_data(path: str, table: str, batch: str, number: int) -> str:
    """Key of the records of many runs under one loop path; ``table`` hashes what their columns have in common."""
    if not _TABLE.fullmatch(table) or not is_id(batch) or not 0 <= number < 10**6:
        raise BadKey(f"table {table!r}, part {number!r} of batch {batch!r} of the index has no key")
    return check(f"{INDEX_DATA}{path}/{batch}-{table}-{number:06d}.parquet")


def path_part(loops: Iterable[str]) -> str:
    """The folder name of a loop path: ``("epoch", "step")`` gives ``epoch.step``; no loop gives ``@run``.

    One that would be too long for a file system is cut and ends with ``~`` and a hash; segments hold the whole path.
    """
    part = ".".join(_quote(name) for name in loops) or RUN_PATH
    if len(part) <= _MAX_PART_CHARS:
        return part
    return f"{part[:_CUT_PART_CHARS].rstrip('%. ')}~{blake3(part.encode()).hexdigest()[:16]}"


def _quote(name: str) -> str:
    text = quote(name, safe="@ ()+,=~!")
    return text.replace(".", "%2E")


@dataclass(frozen=True, order=True)
class SegmentKey:
    """The name of a segment says which frames of which shard it covers; both ordinals are inclusive."""

    run: str
    path: str
    shard: str
    first: int
    last: int
    part: int = 0

    def __str__(self) -> str:
        part = f".{self.part}" if self.part else ""
        return f"{data_folder(self.run)}{self.path}/{self.shard}-{self.first:010d}-{self.last:010d}{part}.parquet"

    @property
    def attempt(self) -> str:
        return self.shard[:ID_LENGTH]

    def covers(self, other: SegmentKey) -> bool:
        """Whether ``other`` adds nothing to this segment (a segment covers itself)."""
        return (
            (self.run, self.path, self.shard) == (other.run, other.path, other.shard)
            and self.first <= other.first
            and self.last >= other.last
        )

    @classmethod
    def parse(cls, key: str) -> SegmentKey | None:
        """The parsed key, or ``None`` when the key is not that of a segment."""
        parts = check(key).split("/")
        if len(parts) != 5 or parts[0] != "runs" or parts[2] != "data" or not is_id(parts[1]):
            return None
        match = _SEGMENT.fullmatch(parts[4])
        if not match or not _SHARD.fullmatch(match["shard"]):
            return None
        return cls(parts[1], parts[3], match["shard"], int(match["first"]), int(match["last"]), int(match["part"] or 0))


@dataclass(frozen=True, order=True)
class JournalKey:
    """The name of a journal says whose it is and the ordinal of its first slot."""

    run: str
    shard: str
    first: int

    def __str__(self) -> str:
        return f"{journal_folder(self.run)}{self.shard}-{self.first:010d}.journal"

    @property
    def attempt(self) -> str:
        return self.shard[:ID_LENGTH]

    @classmethod
    def parse(cls, key: str) -> JournalKey | None:
        """The parsed key, or ``None`` when the key is not that of a journal."""
        parts = check(key).split("/")
        if len(parts) != 4 or parts[0] != "runs" or parts[2] != "journal" or not is_id(parts[1]):
            return None
        match = _JOURNAL.fullmatch(parts[3])
        if not match or not _SHARD.fullmatch(match["shard"]):
            return None
        return cls(parts[1], match["shard"], int(match["first"]))
