"""The sections of ``hindsight show``, each a few aligned lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracker.cli.console import Column, pairs, print_table, say, status_style, title
from tracker.cli.show_replay import find_later, print_later
from tracker.cli.texts import counted, duration_text, local_time, safe_line, shorten, size_text, value_text, zone_name
from tracker.read.catalog import AttemptView, RunView
from tracker.read.output import Line
from tracker.store.documents import CodeDocument, EndDocument, Host, InputFile, LoopTiming, StartDocument

_MOST = 20
_LONGEST = 400


def print_run(view: RunView) -> None:
    """All sections that have something to say."""
    say(f"run {view.short} · {view.project} · {view.status}", f"bold {status_style(view.status)}")
    pairs(list(_identity(view)))
    if len(view.attempts) > 1:
        title("attempts")
        _print_attempts(view)
    _print_values("arguments", view.arguments)
    _print_values("results (last values outside all loops)", view.summary)
    ends = [attempt.end for attempt in view.attempts if attempt.end is not None]
    _print_loops(ends)
    print_later(find_later(view))
    if view.code is not None:
        title("code")
        pairs(list(_code(view.code)))
    if view.start is not None:
        _print_environment(view.start)
    _print_inputs([file for end in ends for file in end.inputs])
    _print_losses(ends)
    _print_error(view)


def _identity(view: RunView) -> Iterator[tuple[str, str]]:
    yield "id", view.run
    if view.name:
        yield "name", shorten(view.name, _LONGEST)
    yield "script", shorten(_command(view), _LONGEST)
    yield "started", f"{local_time(view.started)} {zone_name()}"
    if view.duration is not None:
        yield "duration", duration_text(view.duration) + ("" if view.ended else " so far")
    if view.parent:
        yield "parent", view.parent
    if view.document.launch_key:
        yield "launch", shorten(view.document.launch_key, _LONGEST)
    if view.start is not None and view.start.orchestrator:
        about = [f"{name}={value_text(value, 80)}" for name, value in view.start.orchestrator.items()]
        yield "started by", shorten(" ".join(about), _LONGEST)
    if view.tags:
        yield "tags", shorten(", ".join(view.tags), _LONGEST)
    if view.pinned:
        yield "pinned", "yes: no policy of retention removes it"
    yield "store", view.store.url


def _command(view: RunView) -> str:
    import shlex

    if view.start is None:
        return view.script
    if view.start.entry.function is not None:
        return f"{view.script} · {view.start.entry.function.partition(':')[2]}"
    return " ".join([view.script, shlex.join(view.start.entry.argv)]).strip()


def _print_attempts(view: RunView) -> None:
    tries = view.attempts
    print_table(
        [
            Column("  #", [f"  {each.number}" for each in tries]),
            Column("attempt", [each.attempt for each in tries], rank=2),
            Column(f"started ({zone_name()})", [local_time(each.started) for each in tries]),
            Column("duration", [_duration(each) for each in tries], right=True),
            Column("status", [each.status for each in tries], style=status_style),
            Column("host", [each.start.host.name if each.start and each.start.host else "" for each in tries], rank=1),
        ]
    )


def _duration(attempt: AttemptView) -> str:
    return duration_text((attempt.ended - attempt.started).total_seconds()) if attempt.ended else ""


def _print_values(head: str, values: Mapping[str, Any]) -> None:
    if values:
        title(head)
        pairs([(shorten(name, 60), value_text(value, _LONGEST)) for name, value in list(values.items())[: 5 * _MOST]])
        _print_more(len(values), 5 * _MOST, "value")


def _print_more(count: int, shown: int, noun: str) -> None:
    if count > shown:
        say(f"  … {counted(count - shown, f'further {noun}')}: --json has all", "dim")


def _print_loops(ends: list[EndDocument]) -> None:
    timings: dict[str, LoopTiming] = {}
    for end in ends:
        timings.update(end.timings)
    if timings:
        title("loops")
        measured = list(timings.items())
        print_table(
            [
                Column("  loop", [f"  {path}" for path, _ in measured]),
                Column("iterations", [f"{each.iterations:,}" for _, each in measured], right=True),
                Column("mean", [duration_text(each.mean_s) for _, each in measured], right=True),
                Column("± std", [duration_text(each.std_s) for _, each in measured], right=True, rank=1),
                Column("total", [duration_text(each.total_s) for _, each in measured], right=True),
            ]
        )


def _code(code: CodeDocument) -> Iterator[tuple[str, str]]:
    if code.problem:
        yield "problem", code.problem
    if code.head is not None:
        changed = ", with uncommitted changes" if code.dirty else ""
        yield "commit", f"{code.head[:12]} on {code.branch or 'no branch'}{changed}"
    if code.snapshot is not None:
        yield "snapshot", code.snapshot
    if code.remote:
        yield "remote", code.remote
    for path, commit in code.modules.items():
        yield "inside", f"{path} at {commit[:13]}"
    for path, reason in list(code.left_out.items())[:_MOST]:
        yield "left out", shorten(f"{path}: {reason}", _LONGEST)
    if len(code.left_out) > _MOST:
        yield "left out", f"… and {len(code.left_out) - _MOST} more: --json has all"


def _print_environment(start: StartDocument) -> None:
    facts = []
    if start.packages is not None:
        facts.append(("python", f"{start.packages.python}, {counted(len(start.packages.distributions), 'package')}"))
    if start.host is not None:
        facts.append(("host", _host(start.host)))
    if start.root:
        facts.append(("folder", start.root))
    if start.environment:
        names = ", ".join(sorted(start.environment))
        facts.append(("variables", shorten(f"{len(start.environment)}: {names}", 150)))
    if facts:
        title("environment")
        pairs(facts)


def _host(host: Host) -> str:
    gpus = [gpu.name for gpu in host.gpus]
    parts = [host.name, host.system, counted(host.cpus, "CPU"), f"{size_text(host.memory_bytes)} memory", *gpus]
    return ", ".join(part for part in parts if part)


def _print_inputs(inputs: list[InputFile]) -> None:
    if inputs:
        title("inputs")
        pairs(
            [
                (shorten(each.path, 60), f"{size_text(each.size_bytes)}  {(each.digest or '')[:16]}")
                for each in inputs[:_MOST]
            ]
        )
        _print_more(len(inputs), _MOST, "file")


def _print_losses(ends: list[EndDocument]) -> None:
    losses = [(reason, counted(count, "record")) for end in ends for reason, count in end.dropped.items() if count]
    if losses:
        title("not kept")
        pairs(losses)


def _print_error(view: RunView) -> None:
    end = view.attempts[-1].end if view.attempts else None
    if end is None or (end.error is None and not end.exit_code):
        return
    title("error")
    if end.traceback is None:
        say(f"  {end.error or f'exit code {end.exit_code}'}", "red")
        return
    for line in end.traceback.rstrip().splitlines():
        say(f"  {safe_line(line)}", "red" if not line.startswith(" ") else "")


def print_output(view: RunView, lines: list[Line], total: int) -> None:
    """The last lines that were captured."""
    if not lines:
        return
    title(f"output ({'all' if len(lines) == total else 'last'} {counted(len(lines), 'line')})")
    for line in lines:
        mark = f"{line.level} " if line.level else ""
        say(f"  {mark}{shorten(safe_line(line.text), _LONGEST)}", "dim" if line.stream == "stdout" else "")
    if total > len(lines):
        say(f"  {total - len(lines):,} more: hindsight show {view.short} --output", "dim")
