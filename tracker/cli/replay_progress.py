"""How far a replay is: a bar for every run where somebody watches, a line for every slice elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from tracker.cli.failures import tell
from tracker.cli.texts import counted, duration_text
from tracker.replay.slicing import makespan

if TYPE_CHECKING:
    from tracker.replay.asking import Replay
    from tracker.replay.documents import SliceResult
    from tracker.store.base import Store

_MOST_BARS = 10
_STYLES = {"exact": "green", "close": "green", "diverged": "red", "failed": "red", "unverified": "yellow"}


def style_of(state: str) -> str:
    """The style of a fidelity or state."""
    return _STYLES.get(state, "")


def execute(store: Store, replay: Replay, *, executor: str, quiet: bool) -> None:
    """Execute what is left of a replay, and show how far it is."""
    from tracker.replay import asking

    if quiet:
        asking.execute(store, replay, executor=executor)
    elif not sys.stderr.isatty():
        asking.execute(store, replay, executor=executor, on_result=_Lines(replay).tell)
    elif replay.waiting:
        with Progress(TextColumn("{task.description}"), BarColumn(), _Note(), console=Console(stderr=True)) as progress:
            asking.execute(store, replay, executor=executor, on_result=_Bars(replay, progress).advance)


class _Lines:
    """One line for each slice, as it comes."""

    def __init__(self, replay: Replay) -> None:
        self._replay, self._count = replay, len(replay.waiting)
        self._done = 0

    def tell(self, result: SliceResult) -> None:
        self._done += 1
        answered = result.outcome in ("answered", "diverged")
        said = f"{result.fidelity}, {counted(result.values, 'value')}" if answered else result.outcome
        took = duration_text(result.duration_s)
        tell(f"{self._done} of {self._count}: run {result.run[-8:]} {said} in {took}")


class _Bars:
    """Bars for the runs that are executed, as far as there is room, and one for all of them with the time left."""

    def __init__(self, replay: Replay, progress: Progress) -> None:
        self._replay, self._progress = replay, progress
        self._clock = _Clock(replay)
        slices = {run.run: replay.plan.slices_of(run.run) for run in replay.plan.runs}
        waiting = set(replay.waiting)
        busy = [run for run, pieces in slices.items() if waiting.intersection(piece.number for piece in pieces)]
        self._bars: dict[str, TaskID] = {}
        for run in busy if 1 < len(busy) <= _MOST_BARS else ():
            done = sum(piece.number not in waiting for piece in slices[run])
            self._bars[run] = progress.add_task(run[-8:], total=len(slices[run]), completed=done, say=self._say(run))
        head = counted(len(busy), "run")
        self._all = progress.add_task(head.ljust(8), total=len(waiting), say=self._clock.text)

    def advance(self, result: SliceResult) -> None:
        self._clock.note(result)
        self._progress.advance(self._all)
        if result.run in self._bars:
            self._progress.advance(self._bars[result.run])

    def _say(self, run: str) -> Callable[[], Text]:
        planned = next(each for each in self._replay.plan.runs if each.run == run)
        count = len(self._replay.plan.slices_of(run))

        def say() -> Text:
            waiting = sum(piece.run == run for piece in self._clock.waiting.values())
            if not waiting:
                state = self._replay.state(planned)
                return Text(state, style_of(state))
            return Text(f"{count - waiting} of {count} slices" if count > 1 else "", "dim")

        return say


class _Clock:
    """The time that has gone and the time that is left: the plan's estimate, corrected by how long slices took."""

    def __init__(self, replay: Replay) -> None:
        self.waiting = {piece.number: piece for piece in replay.plan.slices if piece.number in set(replay.waiting)}
        self._workers = replay.plan.workers
        self._began = self._noted = time.monotonic()
        self._took = self._expected = 0.0
        self._left = self._estimate()

    def note(self, result: SliceResult) -> None:
        self._took += result.duration_s
        self._expected += self.waiting.pop(result.number).estimate_s
        self._noted, self._left = time.monotonic(), self._estimate()

    def text(self) -> Text:
        now = time.monotonic()
        left = self._left - (now - self._noted)
        gone = _minutes(now - self._began)
        if not self.waiting:
            return Text(gone, "dim")
        return Text(f"{gone}, about {_minutes(left)} left" if left >= 1 else f"{gone}, almost done", "dim")

    def _estimate(self) -> float:
        """Seconds for what has no result yet, were it to begin now."""
        factor = self._took / self._expected if self._expected and self._took else 1.0
        return factor * makespan(self.waiting.values(), self._workers)


def _minutes(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class _Note(ProgressColumn):
    """What a row says of itself now."""

    def render(self, task: Task) -> Text:
        said = task.fields["say"]()
        assert isinstance(said, Text)
        return said
