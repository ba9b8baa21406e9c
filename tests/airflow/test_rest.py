"""The client of Airflow's API, and servers that answer badly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tracker.operators.rest import AirflowApi

from tracker.errors import BadSetting

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server that answers every request like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    """As one does where a proxy in between is started again."""
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = b'{"state": "running"}'
        seen.append(request.path)
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) if len(seen) > 1 else 5])

    with serving(answer) as url:
        assert AirflowApi(url, token="given").state("training", "first") == "running"
    assert seen == ["/api/v2/dags/training/dagRuns/first"] * 2


def test_a_page_instead_of_an_answer_is_told_at_once() -> None:
    """As of a proxy in between that wants a login: asking again would not help."""
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        request.send_response(200)
        request.send_header("Content-Type", "text/html; charset=utf-8")
        request.end_headers()
        request.wfile.write(b"<html>Who are you?</html>")

    with serving(answer) as url, pytest.raises(BadSetting, match=r"text/html.*no API server of Airflow 3"):
        AirflowApi(url, token="given").state("training", "first")
    assert len(seen) == 1


@pytest.mark.parametrize("token", [None, "given"])
def test_another_server_is_told(token: str | None) -> None:
    """Airflow 2, for example, has neither these pages nor those tokens."""
    with (
        serving(lambda request: request.send_error(404)) as url,
        pytest.raises(BadSetting, match="no API server of Airflow 3"),
    ):
        AirflowApi(url, token=token).check("training")
