"""S3 servers for tests: real HTTP processes on free ports of 127.0.0.1, stopped by their process id."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY, SECRET = "hindsight-tests", "hindsight-tests-secret"


@dataclass(frozen=True)
class Server:
    """A running S3 server."""

    endpoint: str
    pid: int

    def options(self, **more: Any) -> dict[str, Any]:
        """Storage options, in fsspec's words, that reach this server."""
        return {"key": KEY, "secret": SECRET, "endpoint_url": self.endpoint, **more}

    def environment(self) -> dict[str, str]:
        """The environment variables that reach this server."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def moto(log: Path) -> Iterator[Server]:
    """moto's server: an S3 that honours ``If-None-Match`` and forgets everything when it stops."""
    program = [sys.executable, str(Path(__file__).with_name("moto_process.py"))]
    with _served(lambda port: [*program, "-H", "127.0.0.1", "-p", str(port)], log) as server:
        yield server


@contextlib.contextmanager
def rclone(folder: Path, log: Path) -> Iterator[Server]:
    """rclone's S3 server over a folder: it silently ignores ``If-None-Match``."""
    program = find_rclone()
    assert program is not None
    fixed = [program, "serve", "s3", str(folder), "--auth-key", f"{KEY},{SECRET}", "--config", os.devnull]
    with _served(lambda port: [*fixed, "--addr", f"127.0.0.1:{port}"], log) as server:
        yield server


def find_rclone() -> str | None:
    """The rclone program beside this interpreter or on the path."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone")


@contextlib.contextmanager
def _served(command: Any, log: Path) -> Iterator[Server]:
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(command(port), stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(f"http://127.0.0.1:{port}/", process, log)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError as exc:
            exc.close()
            return  # it answers, and that is all we ask
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"no server at {url}:\n{log.read_text(errors='replace')[-2000:]}")


def new_bucket(server: Server, name: str = "") -> str:
    """Create a bucket, by default with a name that no other test has."""
    import s3fs

    name = name or f"bucket-{secrets.token_hex(8)}"
    system = s3fs.S3FileSystem(**server.options(), skip_instance_cache=True)
    system.call_s3("create_bucket", Bucket=name)
    return name
