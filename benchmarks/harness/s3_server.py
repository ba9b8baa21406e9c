"""An S3 server for a benchmark, and a relay in front of it that counts requests."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY, SECRET = "hindsight-benchmark", "hindsight-benchmark-secret"


def program(name: str) -> str:
    """A program of this interpreter's environment."""
    return str(Path(sys.executable).with_name(name))


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """``rclone serve s3`` over a folder, on a free port: the quickest S3 server that a package index has."""
    folder.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program("rclone"), "serve", "s3", str(folder), "--auth-key", f"{KEY},{SECRET}", "--config", os.devnull]
    with Path("server.log").open("wb") as log:
        process = subprocess.Popen([*command, "--addr", f"127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"the S3 server did not start: {Path('server.log').read_text(errors='replace')[-200:]}")


@dataclass
class Counted:
    """How many requests went through, by method; ``endpoint`` is where to send them."""

    endpoint: str = ""
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.requests.values())


@contextlib.contextmanager
def counting(endpoint: str) -> Iterator[Counted]:
    """A relay that forwards whole requests byte for byte, so that signatures stay valid."""
    counted, lock = Counted(), threading.Lock()

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            with lock:
                counted.requests[self.command] = counted.requests.get(self.command, 0) + 1
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
            with contextlib.closing(upstream):
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in {"connection", "expect"}:
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                self._answer(answer.status, answer.getheaders(), answer.read())

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in {"content-length", "transfer-encoding", "connection"} or self.command == "HEAD":
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    counted.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield counted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
