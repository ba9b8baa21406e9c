"""Settings: arguments of ``init`` > ``HINDSIGHT_*`` environment > ``[tool.hindsight]`` in pyproject.toml > defaults."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tracker.errors import BadSetting

Channel = Literal["code", "environment", "packages", "host", "output", "logging", "system", "inputs"]
CHANNELS: tuple[Channel, ...] = ("code", "environment", "packages", "host", "output", "logging", "system", "inputs")
PREFIX = "HINDSIGHT_"
DEFAULT_STORE = ".hindsight"
# Variables that carry identity or arguments and are no settings.
_NOT_SETTINGS = {"RUN_ID", "NAME", "PARENT_RUN", "SHARD_OF", "KWARGS", "LAUNCH_KEY"}
_ARGUMENT_PREFIX = "ARG_"


Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Bytes = Annotated[int, msgspec.Meta(ge=0)]
JournalBytes = Annotated[int, msgspec.Meta(ge=4096, le=1 << 30)]
TextBytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]

_OBJECTS = {
    "storage_options": '{"anon": true}',
    "slurm": '{"partition": "gpu"}',
    "retention": '{"keep_last": 20}',
}  # with an example


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. Sizes are bytes, times seconds."""

    store: str = ""  # empty: .hindsight in the project's folder
    storage_options: dict[str, Any] = {}
    project: str = ""  # empty: the name of the project's folder
    spool: str = ""  # where journals of a remote store wait; empty: hindsight/spool in the user's state folder
    capture: tuple[str, ...] = CHANNELS
    flush_interval_s: Seconds = 5.0  # how often a remote store gets segments
    fsync: Literal["none", "interval", "each"] = "none"
    fsync_interval_s: Seconds = 1.0
    journal_bytes: JournalBytes = 4 << 20  # size of one journal file, after a few smaller ones
    journal_limit_bytes: Bytes = 4 << 30  # all unsealed journals of one process
    on_full: Literal["wait", "drop", "raise"] = "drop"  # when the limit is hit or the disk is full
    on_error: Literal["raise", "warn"] = "raise"  # what log does with a value or name it cannot take
    max_text_bytes: TextBytes = 1 << 20  # one logged text, bytes or nested value
    max_output_bytes: Bytes = 64 << 20  # captured output of one attempt
    heartbeat_s: Seconds = 10.0
    system_interval_s: Seconds = 10.0
    snapshot_file_bytes: Bytes = 10 << 20  # larger files stay out of a code snapshot
    input_hash_bytes: Bytes = 64 << 20  # larger input files are noted without a hash
    checkpoints: Literal["adaptive", "all", "none"] = "adaptive"  # at which block exits they are taken
    checkpoint_share: Share = 1 / 15  # of the run time that they may cost, where adaptive
    slurm: dict[str, Any] = {}  # partition, time (minutes), … of the jobs that replays submit, and their folder
    retention: dict[str, Any] = {}  # keep_last, keep_best, keep_younger, keep_tagged, checkpoints, grace of `gc`
    environment_allow: tuple[str, ...] = ()  # further environment variables to record, with * as wildcard


def load_settings(
    root: Path | None = None, *, environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force for a project folder. ``BadSetting`` names the source and the value that cannot be used."""
    merged: dict[str, Any] = {}
    for source, values in (
        ("pyproject.toml", _from_pyproject(root)),
        ("the environment", _from_environment(os.environ if environ is None else environ)),
        ("the call", {key: value for key, value in (overrides or {}).items() if value is not None}),
    ):
        merged.update({key: _convert(key, value, source) for key, value in values.items()})
    settings = Settings(**merged)
    unknown = set(settings.capture) - set(CHANNELS)
    if unknown:
        raise BadSetting(f"capture has {sorted(unknown)}: expected some of {', '.join(CHANNELS)}")
    return settings


def project_arguments(root: Path | None) -> dict[str, Any]:
    """``[tool.hindsight.args]`` of the project: defaults of arguments that ``arg`` looks up by name."""
    found = _tool_table(root).get("args", {})
    if not isinstance(found, dict):
        raise BadSetting(f"[tool.hindsight.args] in pyproject.toml is {found!r}: expected a table of name = value")
    return found


def _tool_table(root: Path | None) -> dict[str, Any]:
    path = (root or Path.cwd()) / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("hindsight", {})
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise BadSetting(f"{path} cannot be read as TOML: {exc}") from exc
    if not isinstance(table, dict):
        raise BadSetting(f"tool.hindsight in {path} is {table!r}: expected a table")
    return table


def _from_pyproject(root: Path | None) -> dict[str, Any]:
    return {key: value for key, value in _tool_table(root).items() if key != "args"}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in environ.items():
        name = variable.removeprefix(PREFIX)
        if name == variable or name in _NOT_SETTINGS or name.startswith(_ARGUMENT_PREFIX):
            continue
        key = name.lower()
        if key not in Settings.__struct_fields__:
            continue  # a variable of another tool, or of a newer version
        found[key] = _parse_text(key, text)
    return found


def _parse_text(key: str, text: str) -> Any:
    if key in {"capture", "environment_allow"}:
        return [part.strip() for part in text.split(",") if part.strip()]
    if key in _OBJECTS:
        try:
            return msgspec.json.decode(text)
        except msgspec.MsgspecError as exc:
            raise BadSetting(
                f"{PREFIX}{key.upper()} is not JSON ({exc}): expected an object such as {_OBJECTS[key]}"
            ) from exc
    return text


def _convert(key: str, value: Any, source: str) -> Any:
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    if key not in fields:
        near = difflib.get_close_matches(key, fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; settings are {', '.join(sorted(fields))}"
        raise BadSetting(f"{source} sets {key!r}, which is no setting{hint}")
    if key in {"store", "spool"} and isinstance(value, os.PathLike):
        value = os.fspath(value)
    try:
        return msgspec.convert(value, fields[key], strict=False)
    except msgspec.ValidationError as exc:
        shown = "…" if key == "storage_options" else repr(value)
        raise BadSetting(f"{source} sets {key} to {shown}: {exc}") from exc
