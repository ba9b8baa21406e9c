"""A proxy between a store and an S3 server that fails on purpose, at the level of HTTP.

It forwards whole requests, byte for byte, so that signatures stay valid. Each planned fault applies to the next
requests that match it, and everything that was done is written down.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal[
    "slow-down", "error", "cut-request", "lost-reply", "hang", "stale-list", "cut-reply", "keep-keys", "slow-keys"
]


@dataclass
class Fault:
    """What goes wrong, for which requests (method and path), and how often."""

    kind: Kind
    method: str
    path: str  # a regular expression that the path, without the query, contains
    times: int = 1

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and re.search(self.path, urlsplit(path).path) is not None


@dataclass
class Proxy:
    """A running proxy: its address, the faults that are still planned, and the requests it saw."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, what happened
    headers: list[dict[str, str]] = field(default_factory=list)  # of the same requests, names in lower case
    released: threading.Event = field(default_factory=threading.Event)  # lets hanging answers go
    listings: dict[str, Any] = field(default_factory=dict)
    hidden: str = ""  # keys that contain this are not in stale listings; without it they are the ones before
    stale: int = 0  # listings that were answered otherwise than they should have been
    lock: threading.Lock = field(default_factory=threading.Lock)
    planned: tuple[int, Kind] | None = None  # how many requests until the one that fails
    away_after: int | None = None  # how many requests until none is answered

    def fail(self, kind: Kind, method: str, path: str, times: int = 1) -> None:
        """Plan a fault for the next matching requests."""
        self.faults.append(Fault(kind, method, path, times))

    def fail_at(self, number: int, kind: Kind) -> None:
        """Plan a fault for one request, counted from 0 and from now on, whatever it is."""
        self.planned = (number, kind)

    def fail_from(self, number: int) -> None:
        """Answer no request any more, but the first ``number`` from now on."""
        self.away_after = number

    def come_back(self) -> None:
        """Answer again."""
        self.away_after = None

    def count_faults(self) -> int:
        """How many requests went wrong; a stale listing that shows all that there is did not."""
        return self.stale + sum(1 for _, _, what in self.seen if what not in ("forwarded", "stale-list"))

    def take(self, method: str, path: str) -> Kind | None:
        """The fault for this request, counted as used."""
        with self.lock:
            if self.away_after is not None:
                self.away_after -= 1
                return "error" if self.away_after < 0 else None
            if self.planned is not None:
                number, kind = self.planned
                self.planned = (number - 1, kind) if number else None
                return None if number else kind
            for fault in self.faults:
                if fault.matches(method, path):
                    fault.times -= 1
                    return fault.kind
        return None

    def count(self, method: str, path: str) -> int:
        """How many matching requests arrived here."""
        return sum(1 for m, p, _ in self.seen if m == method and re.search(path, urlsplit(p).path))


@contextlib.contextmanager
def proxy_to(endpoint: str) -> Iterator[Proxy]:
    """A proxy in front of a server, on a free port of 127.0.0.1, in threads of this process."""
    upstream = urlsplit(endpoint).netloc
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    server.proxy, server.upstream = proxy, upstream  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_any(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        fault = proxy.take(self.command, self.path)
        with proxy.lock:
            proxy.seen.append((self.command, self.path, fault or "forwarded"))
            proxy.headers.append({name.lower(): value for name, value in self.headers.items()})
        if fault == "cut-request":
            self._read_half()
            return self._hang_up()
        body = self._read_body()
        if fault == "slow-down":
            return self._answer(503, _error("SlowDown", "Please reduce your request rate."))
        if fault == "full":
            return self._answer(507, _error("InsufficientStorage", "There is no space left."))
        if fault == "error":
            return self._answer(500, _error("InternalError", "We encountered an internal error."))
        if fault in {"keep-keys", "slow-keys"}:
            return self._answer(200, _kept("SlowDown" if fault == "slow-keys" else "ServiceUnavailable", body))
        if fault == "hang":
            proxy.released.wait(60)
            return self._hang_up()
        return self._forward(proxy, fault, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any  # noqa: N815

    def _forward(self, proxy: Proxy, fault: Kind | None, body: bytes) -> None:
        status, headers, reply = self._ask_upstream(body)
        if fault == "lost-reply":
            return self._hang_up()
        if "list-type=2" in self.path:
            with proxy.lock:
                old = proxy.listings.get(self.path, (status, headers, reply))
                proxy.listings[self.path] = (status, headers, reply)
                if fault == "stale-list":
                    shown = (status, headers, _without(reply, proxy.hidden)) if proxy.hidden else old
                    proxy.stale += shown[2] != reply
                    status, headers, reply = shown
        return self._answer(status, reply, headers, cut=fault == "cut-reply")

    def _ask_upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)  # type: ignore[attr-defined]
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers or [("Content-Type", "application/xml")]:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"} or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut:
            self.wfile.write(body[: len(body) // 2])
            return self._hang_up()
        if self.command != "HEAD":
            self.wfile.write(body)
        return None

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            raise NotImplementedError("chunked requests")
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _read_half(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that gave up
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal; ``Proxy.seen`` has it all."""


def _kept(code: str, request: bytes) -> bytes:
    """The answer to a bulk delete that took place for no key."""
    said = f"<Code>{code}</Code><Message>Not now.</Message>".encode()
    kept = (b"<Error><Key>%s</Key>%s</Error>" % (key, said) for key in re.findall(rb"<Key>([^<]*)</Key>", request))
    return b'<?xml version="1.0"?><DeleteResult>%s</DeleteResult>' % b"".join(kept)


def _without(listing: bytes, hidden: str) -> bytes:
    """A listing without the keys and folders that contain a text."""
    entry = rb"<(Contents|CommonPrefixes)>.*?</\1>"
    return re.sub(entry, lambda found: b"" if hidden.encode() in found[0] else found[0], listing, flags=re.DOTALL)


def _error(code: str, message: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
