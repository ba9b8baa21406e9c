"""``arg``: hyper-parameters of a run, settable from outside and recorded."""

from __future__ import annotations

import ast
import builtins
import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from tracker.config import project_arguments
from tracker.errors import BadSetting, InputError
from tracker.record.context import current_scope
from tracker.record.recorder import Recorder
from tracker.record.replaying import replayed_arguments
from tracker.record.values import check_name, plain, stored
from tracker.secrets import is_secret_name

KWARGS_VARIABLE = "HINDSIGHT_KWARGS"
REPLAYED = "the replayed run"
_MISSING = object()
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def arg(
    name: str,
    default: Any = _MISSING,
    *,
    type: Callable[[str], Any] | None = None,
    choices: Collection[Any] | None = None,
) -> Any:
    """The value of an argument of this run, recorded under its name; starts a run when none is open.

    Looked up in this order: ``--kwargs name=value …`` on the command line, ``HINDSIGHT_KWARGS`` (a JSON object;
    ``hindsight run -a`` sets it) and ``HINDSIGHT_ARG_NAME`` in the environment, ``[tool.hindsight.args]`` in
    pyproject.toml, the default. Texts are converted by ``type``, else to the type of the default. ``sys.argv`` is read
    and never changed. A value whose name looks like a secret is returned and recorded as ``***``.

    ``BadSetting`` when a text does not convert or the value is not among ``choices``; ``InputError`` when nothing gives
    a value.

    >>> import tracker
    >>> tracker.arg("batch_size", 32)
    32
    """
    scope = current_scope()
    recorder = scope[0]
    name = check_name(name, "the name of an argument")
    recorder.ready()
    replayed = replayed_arguments(recorder.shard.run if recorder.shard else None)
    if name in replayed:
        value, source = replayed[name], REPLAYED
    else:
        value, source = _look_up(name, default, recorder.shard.root if recorder.shard else None)
    value = _typed(name, value, source, default, type)
    if choices is not None and value not in choices:
        raise BadSetting(
            f"argument {name!r} is {value!r} (from {source}): expected one of {', '.join(map(repr, choices))}"
        )
    note_argument(recorder, name, "***" if is_secret_name(name, value) else value)
    return value


def note_argument(recorder: Recorder, name: str, shown: Any) -> None:
    """Record an argument, unless this run has it with the same value."""
    known = recorder.arguments.get(name, _MISSING)
    if known is not _MISSING and repr(known) == repr(plain(shown)):  # by repr, because nan is not nan
        return
    if recorder.record(recorder.root, name, shown, {}, role="argument"):
        recorder.arguments[name] = stored(shown)


def _look_up(name: str, default: Any, root: Path | None) -> tuple[Any, str]:
    """The value and where it came from; texts of the outside world are not converted yet."""
    sources = (
        ("the command line", lambda: parse_kwargs(sys.argv)),
        (KWARGS_VARIABLE, _from_variable),
        (f"HINDSIGHT_ARG_{name.upper()}", lambda: _from_own_variable(name)),
        ("pyproject.toml", lambda: project_arguments(root)),
    )
    for source, load in sources:
        values = load()
        if name in values:
            return values[name], source
    if default is _MISSING:
        raise InputError(f"argument {name!r} has no value: give arg() a default, or pass --kwargs {name}=VALUE")
    return default, "the default"


def parse_kwargs(argv: Sequence[str]) -> dict[str, str]:
    """The ``name=value`` words that follow ``--kwargs`` on a command line; everything else is the user's own.

    >>> parse_kwargs(["train.py", "--iter", "5", "--kwargs", "lr=5e-4", "batch_size=64", "--verbose"])
    {'lr': '5e-4', 'batch_size': '64'}
    """
    found: dict[str, str] = {}
    inside = False
    for word in argv[1:]:
        if word == "--kwargs":
            inside = True
        elif inside:
            key, equals, text = word.partition("=")
            inside = bool(equals) and not word.startswith("-")
            if inside:
                found[key] = text
    return found


def unasked(argv: Sequence[str], asked: Collection[str]) -> str | None:
    """What was given with ``--kwargs`` and had no effect, as a sentence; ``None`` where all of it had.

    >>> unasked(["train.py", "--kwargs", "lr=1", "epoch=3"], {"lr", "epochs"})
    "--kwargs gave 'epoch', which no arg() asked for; asked for were 'epochs', 'lr'"
    """
    given = [name for name in parse_kwargs(argv) if name not in asked]
    known = f"; asked for were {', '.join(map(repr, sorted(asked)))}" if asked else ""
    if given:
        return f"--kwargs gave {', '.join(map(repr, given))}, which no arg() asked for{known}"
    after = argv[argv.index("--kwargs") + 1 :] if "--kwargs" in argv and asked else []
    if after and "=" not in after[0]:
        return f"--kwargs is followed by {after[0]!r}: expected name=value, so it set nothing{known}"
    return None


def _from_variable() -> dict[str, Any]:
    text = os.environ.get(KWARGS_VARIABLE)
    if not text:
        return {}
    try:
        values = json.loads(text)
    except ValueError as exc:
        raise BadSetting(f'{KWARGS_VARIABLE} is not JSON ({exc}): expected an object such as {{"lr": 0.001}}') from exc
    if not isinstance(values, dict):
        raise BadSetting(f'{KWARGS_VARIABLE} holds {values!r}: expected a JSON object such as {{"lr": 0.001}}')
    return values


def _from_own_variable(name: str) -> dict[str, str]:
    text = os.environ.get(f"HINDSIGHT_ARG_{name.upper()}")
    return {} if text is None else {name: text}


def _typed(name: str, value: Any, source: str, default: Any, convert: Callable[[str], Any] | None) -> Any:
    if convert is None and source == "the default":
        return value
    if convert is not None and source == REPLAYED and not isinstance(value, str):
        return value  # it was converted before it was recorded
    try:
        if convert is not None:
            return value if value is default else convert(value)
        return _as_default(value, default)
    except (ValueError, TypeError, SyntaxError) as exc:
        wanted = getattr(convert, "__name__", None) or builtins.type(default).__name__
        raise BadSetting(f"argument {name!r} is {value!r} (from {source}): expected {wanted} ({exc})") from exc


def _as_default(value: Any, default: Any) -> Any:
    """A value from outside in the type of the default; without one, a literal where it reads as one."""
    if isinstance(default, bool):
        return _as_bool(value)
    if isinstance(default, int):
        return _as_int(value)
    if isinstance(default, float):
        return float(value)
    if isinstance(default, str):
        return value if isinstance(value, str) else json.dumps(value)
    literal = _as_literal(value) if isinstance(value, str) else value
    if isinstance(default, list | tuple | dict | set):
        if isinstance(default, dict) != isinstance(literal, dict) or not isinstance(literal, list | tuple | dict | set):
            raise ValueError("the text is no such literal")
        return builtins.type(default)(literal)
    return literal


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise ValueError("expected true or false")
    return text in _TRUE


def _as_int(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value, 0)
        except ValueError:
            value = float(value)
    if int(value) != value:
        raise ValueError("it is not a whole number")
    return int(value)


def _as_literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return json.loads(text)
    except ValueError:
        return text
