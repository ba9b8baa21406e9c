"""Captured output: what a program prints and logs, and that the program does not notice."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.config
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from tracker.record.output import OutputCapture

Lines = list[tuple[str, str | None, str]]

PRELUDE = """
import io, json, logging, os, signal, sys, threading, time
from tracker.record.output import OutputCapture
lines = []
capture = OutputCapture(lambda *line: lines.append(line))
def report():
    capture.stop()
    with open(sys.argv[1], "w") as file:
        json.dump({"lines": lines, "problems": capture.problems}, file)
"""


def run_script(
    tmp_path: Path, body: str, *, options: tuple[str, ...] = ()
) -> tuple[Lines, dict[str, int], bytes, bytes]:
    """Run a script in an interpreter of its own; its captured lines, problems, stdout and stderr."""
    import json

    script, answer = tmp_path / "script.py", tmp_path / "answer.json"
    script.write_text(PRELUDE + textwrap.dedent(body), encoding="utf-8")
    done = subprocess.run([sys.executable, *options, str(script), str(answer)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(answer.read_text())
    return [tuple(line) for line in found["lines"]], found["problems"], done.stdout, done.stderr


class Streams:
    """Real text files in the place of stdout and stderr, for the length of a ``with``."""

    def __init__(self, folder: Path) -> None:
        self.paths = {name: folder / name for name in ("stdout", "stderr")}

    def __enter__(self) -> Streams:
        self.saved = {name: getattr(sys, name) for name in self.paths}
        self.files = {name: path.open("w", encoding="utf-8", newline="\n") for name, path in self.paths.items()}
        for name, file in self.files.items():
            setattr(sys, name, file)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for name, file in self.files.items():
            setattr(sys, name, self.saved[name])
            with contextlib.suppress(ValueError):  # a test may have detached or closed it
                file.close()

    def text(self, name: str = "stdout") -> str:
        if not self.files[name].closed:
            self.files[name].flush()
        return self.paths[name].read_text(encoding="utf-8")


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    """Streams that are not installed yet: the test runner sets its own once more before the test itself."""
    return Streams(tmp_path)


@contextlib.contextmanager
def capturing(streams: Streams, emit: Any = None, **options: Any) -> Iterator[tuple[OutputCapture, Lines]]:
    """A running capture over these streams, with what it emitted."""
    lines: Lines = []
    with streams, OutputCapture(emit or (lambda *line: lines.append(line)), **options) as capture:
        yield capture, lines


def test_print_is_captured_and_written(streams: Streams) -> None:
    """Every byte still goes where it went, and each line is captured as soon as it is finished."""
    with capturing(streams) as (_, lines):
        print("a", 1)
        print("b", file=sys.stderr)
        sys.stdout.writelines(["c\n", "d\n"])

    assert lines == [("stdout", None, "a 1"), ("stderr", None, "b"), ("stdout", None, "c"), ("stdout", None, "d")]
    assert (streams.text(), streams.text("stderr")) == ("a 1\nc\nd\n", "b\n")


def test_the_stream_stays_the_same_object(streams: Streams) -> None:
    """Identity, type and attributes are untouched while capturing, and nothing is left on the stream afterwards."""
    with streams:
        before, number, attributes = sys.stdout, sys.stdout.fileno(), dict(vars(sys.stdout))
        with OutputCapture(lambda *line: None):
            sys.stdout.reconfigure(line_buffering=True)
            seen = (sys.stdout is before, isinstance(sys.stdout, io.TextIOWrapper), sys.stdout.fileno() == number)
            print("a")

        assert seen == (True, True, True)
        assert vars(before) == attributes
        assert vars(before.buffer) == {}
        assert before.line_buffering


def test_writes_to_the_buffer_are_captured_once(streams: Streams) -> None:
    """Bytes that bypass the text layer are captured too, and text on its way through the buffer not twice."""
    with capturing(streams) as (_, lines):
        print("text", flush=True)
        sys.stdout.buffer.write("bytes é\n".encode())
        sys.stdout.buffer.write(b"\xff cut \xc3")
        sys.stdout.buffer.write(b"\xa9\n")
        sys.stdout.flush()

    assert [text for _, _, text in lines] == ["text", "bytes é", "� cut é"]
    assert streams.paths["stdout"].read_bytes() == "text\nbytes é\n".encode() + b"\xff cut \xc3\xa9\n"


def test_a_wrapper_around_the_buffer_is_captured(streams: Streams) -> None:
    """Programs that put a new text layer on stdout's buffer are still heard."""
    with capturing(streams) as (_, lines):
        again = io.TextIOWrapper(sys.stdout.buffer, encoding="latin-1")
        again.write("é\n")
        again.detach()

    assert [text for _, _, text in lines] == ["�"]


def test_detach_gives_the_real_buffer(streams: Streams) -> None:
    """``detach`` works as ever, and stopping afterwards does not fail."""
    with capturing(streams) as (capture, lines):
        buffer = sys.stdout.detach()
        buffer.write(b"a\n")
    buffer.close()

    assert lines == [("stdout", None, "a")]
    assert capture.problems == {}


def test_redirect_works_and_is_not_ours(streams: Streams) -> None:
    """What a program redirects into its own stream does not reach stdout, so it is not captured."""
    with capturing(streams) as (_, lines):
        with contextlib.redirect_stdout(io.StringIO()) as own:
            print("inside")
        print("outside")

    assert own.getvalue() == "inside\n"
    assert lines == [("stdout", None, "outside")]


def test_a_stream_that_was_installed_later_stays(streams: Streams) -> None:
    """Stopping never replaces a stream that somebody installed in the meantime; one that passes text on is heard."""

    class Tee:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def write(self, text: str) -> int:
            return int(self.stream.write(text))

    with capturing(streams) as (capture, lines):
        sys.stdout = tee = Tee(sys.stdout)  # type: ignore[assignment]
        print("through the tee")
        capture.stop()
        print("later")
        installed = sys.stdout

    assert installed is tee
    assert lines == [("stdout", None, "through the tee")]
    assert streams.text() == "through the tee\nlater\n"


def test_a_write_that_was_replaced_later_stays(streams: Streams) -> None:
    """Another tool that replaces ``write`` on the stream after us keeps its own, and ours falls silent."""
    with capturing(streams) as (capture, lines):
        ours = sys.stdout.write
        sys.stdout.write = theirs = lambda text: ours(text.upper())  # type: ignore[method-assign,assignment]
        print("a")
        capture.stop()
        print("b")
        installed = sys.stdout.write

    assert installed is theirs
    assert lines == [("stdout", None, "A")]
    assert streams.text() == "A\nB\n"


def test_starts_and_stops_leave_nothing_behind(streams: Streams) -> None:
    """Many captures one after the other and within each other, stopped in any order, each hear their own time only."""
    first, second = ([], [])
    with streams:
        outer = OutputCapture(lambda *line: first.append(line[2])).start().start()
        inner = OutputCapture(lambda *line: second.append(line[2])).start()
        print("both")
        outer.stop()
        print("inner")
        inner.stop()
        inner.stop()
        print("none")
        left = "write" in vars(sys.stdout)

    assert (first, second) == (["both"], ["both", "inner"])
    assert not left


def test_progress_bar_leaves_its_last_frame(streams: Streams) -> None:
    """A hundred redraws of a bar are one line."""
    with capturing(streams) as (_, lines):
        for _ in tqdm(range(100), mininterval=0, bar_format="{n}/{total}"):
            pass
        print("done", file=sys.stderr)

    assert lines == [("stderr", None, "100/100"), ("stderr", None, "done")]


def test_equal_lines_collapse_with_a_count(streams: Streams) -> None:
    """The first of many equal lines comes at once, the rest as one line with their number."""
    with capturing(streams) as (capture, lines):
        for _ in range(500):
            print("nan!")
        at_once = list(lines)
        print("twice\ntwice")
        capture.stop()

    assert at_once == [("stdout", None, "nan!")]
    assert [text for _, _, text in lines] == ["nan!", "[previous line repeated 499 more times]", "twice", "twice"]


def test_tick_emits_what_rests(streams: Streams) -> None:
    """An unfinished line and the count of repeats are emitted once a second passes without news."""
    with capturing(streams) as (capture, lines):
        print("a\na\na\nhalf", end="")
        capture.tick()
        early = [text for _, _, text in lines]
        capture.tick()
        print(" done")

    assert early == ["a"]
    assert [text for _, _, text in lines] == ["a", "[previous line repeated 2 more times]", "half", " done"]


def test_long_lines_keep_their_ends_and_say_so(streams: Streams) -> None:
    """Of an overlong line the limit's worth is kept, with the number of characters that were not."""
    with capturing(streams, max_line_bytes=20) as (capture, lines):
        print("x" * 1000)
        logging.getLogger("t").error("%s", "a" * 50 + "é" * 50)

    assert [text for _, _, text in lines] == [
        "x" * 20 + " … [980 characters were not kept]",
        "t: aaaaaaa … [88 characters were not kept] … ééééé",
    ]
    assert capture.lost == {"stdout.characters": 980, "logging.characters": 88}


def test_long_streams_keep_beginning_and_end_and_say_so(streams: Streams) -> None:
    """Beyond the limit of a stream only its last lines are kept, the loss is counted and shown."""
    with capturing(streams, max_total_bytes=6, tail_bytes=6) as (capture, lines):
        for number in range(100, 200):
            print(number)

    assert [text for _, _, text in lines] == [
        "100",
        "101",
        "[stdout is over 6 bytes: from here on only its end is kept]",
        "[96 lines (288 bytes) of stdout were not kept]",
        "198",
        "199",
    ]
    assert capture.lost == {"stdout.lines": 96, "stdout.bytes": 288}


def test_text_that_is_not_utf8_is_kept(streams: Streams) -> None:
    """A lone surrogate, as file names can have, is captured in a form that can be stored."""
    with capturing(streams) as (_, lines):
        sys.stderr.reconfigure(errors="surrogateescape")
        print("name-\udcff", file=sys.stderr)

    assert lines == [("stderr", None, "name-\\udcff")]


def test_log_records_come_once_with_level_and_traceback(streams: Streams) -> None:
    """A record is captured from logging and not again from the handler's stream."""
    with capturing(streams) as (_, lines):
        handler = logging.StreamHandler(sys.stderr)
        log = logging.getLogger("train.loop")
        log.addHandler(handler)
        try:
            log.warning("loss %s", 1.5)
            try:
                raise KeyError("x")
            except KeyError:
                log.exception("\x1b[31mfailed\x1b[0m")
        finally:
            log.removeHandler(handler)

    assert lines[0] == ("logging", "WARNING", "train.loop: loss 1.5")
    assert lines[1][:2] == ("logging", "ERROR")
    assert lines[1][2].startswith("train.loop: failed\nTraceback (most recent call last):\n")
    assert lines[1][2].endswith("KeyError: 'x'")
    assert len(lines) == 2
    assert streams.text("stderr").startswith("loss 1.5\n")


def test_records_below_the_level_are_captured_from_their_stream(streams: Streams) -> None:
    """Nothing is lost between the two ways: what is not captured as a record is captured as text."""
    log = logging.getLogger("quiet")
    with capturing(streams, logging_level=logging.ERROR) as (_, lines):
        log.addHandler(handler := logging.StreamHandler(sys.stderr))
        log.warning("text")
        log.error("record")
    log.removeHandler(handler)

    assert lines == [("stderr", None, "text"), ("logging", "ERROR", "quiet: record")]


def test_a_record_that_cannot_be_formatted_is_a_problem_and_no_error(tmp_path: Path) -> None:
    """Wrong arguments of a log call do not reach the program through us."""
    captured, problems, _, stderr = run_script(
        tmp_path,
        """
        capture.start()
        logging.getLogger("wrong").warning("%d", "text")
        print("goes on")
        report()
        """,
    )

    assert captured == [("stdout", None, "goes on")]
    assert problems == {"TypeError: %d format: a real number is required, not str": 1}
    assert b"--- Logging error ---" in stderr


def test_logging_configuration_is_not_disturbed(tmp_path: Path) -> None:
    """``basicConfig`` and ``dictConfig`` work as without us, the last-resort handler too, and no record is missed."""
    captured, problems, _, stderr = run_script(
        tmp_path,
        """
        capture.start()
        logging.getLogger("early").warning("last resort")
        logging.basicConfig(level=logging.INFO, format="B %(message)s")
        logging.info("basic")
        import logging.config
        logging.config.dictConfig({"version": 1, "handlers": {}, "root": {"level": "DEBUG"}})
        logging.getLogger().debug("dict")
        own = logging.getLogger("own")
        own.propagate = False
        own.info("does not propagate")
        report()
        assert not hasattr(logging.Logger.callHandlers, "original")
        """,
    )

    assert [text for _, _, text in captured] == ["early: last resort", "basic", "dict", "own: does not propagate"]
    assert problems == {}
    assert stderr == b"last resort\nB basic\n"


def test_emit_that_fails_does_not_reach_the_program(streams: Streams) -> None:
    """An error in recording is counted and the program goes on."""

    def emit(stream: str, level: str | None, text: str) -> None:
        raise OSError("disk full")

    with capturing(streams, emit) as (capture, _):
        print("a")
        print("b")

    assert capture.problems == {"OSError: disk full": 2}
    assert streams.text() == "a\nb\n"


def test_emit_that_prints_and_logs_does_not_recurse(streams: Streams) -> None:
    """What recording itself writes is not recorded, only counted."""

    recorded: Lines = []

    def emit(*line: Any) -> None:
        recorded.append(line)
        print("recording", line)
        logging.getLogger("emit").error("recording")

    with capturing(streams, emit) as (capture, _):
        print("a")

    assert recorded == [("stdout", None, "a")]
    assert sum(capture.problems.values()) > 0
    assert "recording" in streams.text()


def test_lines_of_threads_keep_their_context(streams: Streams) -> None:
    """Whoever records a line of another thread does so in that thread's context."""
    name: ContextVar[str] = ContextVar("name", default="main")
    seen: list[tuple[str, str]] = []

    def work(number: int) -> None:
        name.set(str(number))
        for step in range(200):
            sys.stdout.write(f"{number}:{step}\n")

    with OutputCapture(lambda stream, level, text: seen.append((name.get(), text))) as capture:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(seen) == 1600
    assert all(text.startswith(context + ":") for context, text in seen)
    assert capture.problems == {}


def test_a_thread_that_records_does_not_stop_others(streams: Streams) -> None:
    """While one thread is held up in recording, another one can print and goes on; its line is recorded later."""
    held, go, seen = threading.Event(), threading.Event(), []

    def emit(stream: str, level: str | None, text: str) -> None:
        seen.append(text)
        held.set()
        assert go.wait(30)

    with capturing(streams, emit) as (capture, _):
        thread = threading.Thread(target=print, args=("first",))
        thread.start()
        assert held.wait(30)
        print("second")
        before = list(seen)
        go.set()
        thread.join()

    assert before == ["first"]
    assert seen == ["first", "second"]
    assert capture.problems == {}


def test_signal_handlers_may_print(tmp_path: Path) -> None:
    """A handler that prints while the main thread is printing neither deadlocks nor loses its own line."""
    captured, problems, stdout, _ = run_script(
        tmp_path,
        """
        fired = 0
        def handler(number, frame):
            global fired
            fired += 1
            print(f"signal {fired}")
        signal.signal(signal.SIGALRM, handler)
        capture.start()
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        step = 0
        while fired < 200:
            step += 1
            sys.stdout.write(f"step {step}\\n")
        signal.setitimer(signal.ITIMER_REAL, 0)
        report()
        """,
    )

    written = stdout.count(b"signal")
    recorded = sum(text.count("signal") for _, _, text in captured)
    assert written > 20  # the stream itself forgets lines that are printed while it is being flushed
    assert written <= recorded + sum(problems.values())
    assert set(problems) <= {"text that was written while a line was being recorded is not kept"}


def test_interrupts_do_not_stop_the_capture(streams: Streams) -> None:
    """A KeyboardInterrupt that leaves the lock locked costs no output: the next tick opens it."""
    with capturing(streams) as (capture, lines):
        assert capture._recording.acquire(blocking=False)
        print("a")
        waiting = list(lines)
        capture.tick()
        print("b")

    assert waiting == []
    assert [text for _, _, text in lines] == ["a", "b"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_captures_its_own_lines_only(tmp_path: Path) -> None:
    """The child neither repeats what the parent began nor hangs on a lock that a thread of the parent holds."""
    captured, _, stdout, _ = run_script(
        tmp_path,
        """
        import warnings
        warnings.simplefilter("ignore")
        release, held = threading.Event(), threading.Event()
        def slow(stream, level, text):
            if text == "hold":
                held.set()
                release.wait()
            lines.append((stream, level, text))
        capture = OutputCapture(slow).start()
        sys.stdout.write("begun by the parent")
        sys.stdout.flush()
        thread = threading.Thread(target=lambda: sys.stderr.write("hold\\n"))
        thread.start()
        held.wait()
        pid = os.fork()
        if not pid:
            lines.clear()
            print("child")
            report()
            os._exit(0)
        os.waitpid(pid, 0)
        release.set()
        thread.join()
        """,
    )

    assert captured == [("stdout", None, "child")]
    assert stdout.startswith(b"begun by the parent")


@pytest.mark.parametrize("options", [(), ("-u",), ("-X", "utf8")])
def test_the_bytes_of_a_program_are_the_same(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A program writes byte for byte the same with and without us, whatever mix of layers and flushes it uses."""
    body = """
        {}
        print("a", end="")
        sys.stdout.flush()
        sys.stdout.buffer.write(b"b\\xff\\n")
        sys.stdout.buffer.flush()
        print("c\\r\\nd é", flush=True)
        sys.stdout.writelines(["e\\n", "f"])
        sys.stdout.flush()
        os.write(1, b"g\\n")
        print("to stderr", file=sys.stderr)
        report()
        """
    without, with_us = tmp_path / "without", tmp_path / "with"
    without.mkdir()
    with_us.mkdir()
    nothing = run_script(without, body.format(""), options=options)
    captured = run_script(with_us, body.format("capture.start()"), options=options)

    assert nothing[2:] == captured[2:]
    texts = [text for stream, _, text in captured[0] if stream == "stdout"]
    assert texts == ["ab�", "c", "d é", "e", "f"]


def test_an_uncaught_exception_is_captured(tmp_path: Path) -> None:
    """The traceback that the interpreter prints for a crash is there when the capture stops at exit."""
    script = tmp_path / "crash.py"
    script.write_text(
        PRELUDE + "import atexit\natexit.register(report)\ncapture.start()\nraise SystemError('broken')\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script, tmp_path / "answer.json"], capture_output=True, timeout=60)

    assert done.returncode == 1
    assert b"SystemError: broken" in done.stderr
    assert "SystemError: broken" in (tmp_path / "answer.json").read_text()


@pytest.mark.slow
def test_works_inside_pytest_with_every_capture_mode(tmp_path: Path) -> None:
    """pytest's own capturing keeps working around us, and ours inside of it."""
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
        from tracker.record.output import OutputCapture

        def test_capsys(capsys):
            lines = []
            with OutputCapture(lambda *line: lines.append(line)):
                print("sys")
            assert capsys.readouterr().out == "sys\\n"
            assert lines == [("stdout", None, "sys")]

        def test_capfd(capfd):
            lines = []
            capture = OutputCapture(lambda *line: lines.append(line)).start()
            print("fd")
            assert capfd.readouterr().out == "fd\\n"
            with capfd.disabled():
                print("disabled")
            capture.stop()
            assert lines[0] == ("stdout", None, "fd")

        def test_caplog(caplog):
            import logging
            lines = []
            with OutputCapture(lambda *line: lines.append(line)):
                logging.getLogger("x").error("e")
            assert caplog.messages == ["e"]
            assert lines == [("logging", "ERROR", "x: e")]
        """)
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for mode in ("fd", "sys", "tee-sys", "no"):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            f"--capture={mode}",
            ".",
        ]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_stream_that_cannot_be_tapped_is_a_problem(streams: Streams) -> None:
    """A stream whose methods cannot be replaced works on uncaptured, and that is said."""

    class Fixed:
        __slots__ = ()

        def write(self, text: str) -> int:
            return streams.files["stdout"].write(text)

    with streams:
        sys.stdout = Fixed()  # type: ignore[assignment]
        with OutputCapture(lambda *line: pytest.fail("nothing can be heard"), stderr=False) as capture:
            print("a")

    assert streams.text() == "a\n"
    (problem,) = capture.problems
    assert problem.startswith("stdout cannot be listened to (Fixed)")


def test_one_stream_that_serves_as_both_is_captured_once(streams: Streams) -> None:
    """Where stderr is stdout, its lines are captured as those of stdout."""
    lines: Lines = []
    with streams:
        sys.stderr = sys.stdout
        with OutputCapture(lambda *line: lines.append(line)):
            print("once", file=sys.stderr)

    assert lines == [("stdout", None, "once")]


def test_missing_streams_are_fine(streams: Streams) -> None:
    """A process without stdout, like a service, captures the rest."""
    lines: Lines = []
    with streams:
        sys.stdout = None  # type: ignore[assignment]
        with OutputCapture(lambda *line: lines.append(line)) as capture:
            print("nowhere")
            print("somewhere", file=sys.stderr)

    assert (lines, capture.problems) == ([("stderr", None, "somewhere")], {})


def test_notebooks_keep_their_streams(tmp_path: Path) -> None:
    """In IPython the streams are not touched; log records are captured."""
    captured, _, stdout, _ = run_script(
        tmp_path,
        """
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        capture.start()
        assert "write" not in vars(sys.stdout) and "write" not in vars(sys.stderr)
        print("shown")
        logging.getLogger("cell").error("kept")
        report()
        """,
    )

    assert captured == [("logging", "ERROR", "cell: kept")]
    assert b"shown" in stdout


def test_pending_shows_the_bar(streams: Streams) -> None:
    """The present frame of a progress bar can be shown while it runs; signals stay the program's."""
    before = signal.getsignal(signal.SIGINT)
    with capturing(streams) as (capture, _):
        print("\r50%", end="")
        capture.tick()

    assert capture.pending() == {"stdout": "50%"}
    assert signal.getsignal(signal.SIGINT) is before
