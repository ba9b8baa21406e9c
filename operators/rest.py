"""Airflow's REST API, as far as replays need it: a client of the standard library."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tracker.errors import BadSetting, HindsightError, Unavailable

_TIMEOUT_S = 60.0
_PATIENCE_S = 60.0
_BROKEN_OFF = (json.JSONDecodeError, UnicodeDecodeError)  # of JSON that ends too early


@dataclass
class AirflowApi:
    """The API server at an address; a token is fetched when it is first needed, and again when it has expired."""

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._may_log_in = self.user is not None or self.token is None  # a token that was given is the only one

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> AirflowApi:
        """``HINDSIGHT_AIRFLOW_URL``, with ``…_TOKEN`` or ``…_USER`` and ``…_PASSWORD``."""
        environ = os.environ if environ is None else environ
        url = environ.get("HINDSIGHT_AIRFLOW_URL") or environ.get("AIRFLOW__API__BASE_URL")
        if not url:
            raise BadSetting("the executor airflow needs the address of Airflow's API server in HINDSIGHT_AIRFLOW_URL")
        user, password = environ.get("HINDSIGHT_AIRFLOW_USER"), environ.get("HINDSIGHT_AIRFLOW_PASSWORD")
        return cls(url.rstrip("/"), user, password, environ.get("HINDSIGHT_AIRFLOW_TOKEN"))

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> bool:
        """Start a run of a DAG under this id; ``False`` where it is there already."""
        body = {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf)}
        status, answer = self._ask("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)
        if status == 409:
            return False
        self._expect(status, answer, f"a run of {dag_id}")
        return True

    def check(self, dag_id: str) -> None:
        """``BadSetting`` where no run of this DAG would ever end: it is missing, or paused, as all new ones are."""
        status, answer = self._ask("GET", f"/api/v2/dags/{quote(dag_id)}")
        if status == 404:
            raise BadSetting(
                f"{self.url} is no API server of Airflow 3 with a DAG {dag_id!r}: put dags/hindsight_replay.py there"
            )
        self._expect(status, answer, f"the DAG {dag_id}")
        if answer["is_paused"]:
            raise BadSetting(f"the DAG {dag_id!r} of Airflow at {self.url} is paused, nothing would start: unpause it")

    def state(self, dag_id: str, run_id: str) -> str:
        """``queued``, ``running``, ``success`` or ``failed``."""
        status, answer = self._ask("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}")
        self._expect(status, answer, f"run {run_id} of {dag_id}")
        return str(answer["state"])

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """An answer; asked again for a while where the server is away or in trouble. Every request may come twice."""
        deadline, pause_s = time.monotonic() + _PATIENCE_S, 0.5
        while True:
            try:
                status, answer = self._ask_once(method, path, body)
                if status < 500 or time.monotonic() > deadline:
                    return status, answer
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 8.0)

    def _ask_once(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        status, answer = self._send(method, path, body, token=self.token or self._log_in())
        if status in (401, 403) and self._may_log_in:  # 403: of a server that was started anew, with another secret
            status, answer = self._send(method, path, body, token=self._log_in())
        return status, answer

    def _log_in(self) -> str:
        named = {"username": self.user, "password": self.password} if self.user else None
        status, answer = self._send("POST" if named else "GET", "/auth/token", named)
        if status == 404:
            raise BadSetting(f"at {self.url} is no API server of Airflow 3, which gives tokens: expected its address")
        self._expect(status, answer, "a token (HINDSIGHT_AIRFLOW_TOKEN, or …_USER and …_PASSWORD)")
        self.token = str(answer["access_token"])
        return self.token

    def _send(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            return _answer(request)
        except (OSError, http.client.HTTPException, *_BROKEN_OFF) as exc:
            raise Unavailable(f"Airflow at {self.url} does not answer: {type(exc).__name__}: {exc}") from exc

    def _expect(self, status: int, answer: Any, what: str) -> None:
        if status >= 500:
            raise Unavailable(f"Airflow at {self.url} cannot give {what}: {status} {answer!s:.300}")
        if status >= 400:
            raise HindsightError(f"Airflow at {self.url} refuses {what}: {status} {answer!s:.300}")


def _answer(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            body, kind = answer.read(), answer.headers.get("Content-Type", "application/json")
            if body and "json" not in kind.lower():
                raise BadSetting(
                    f"{request.full_url} answers with {kind!r} and not with JSON: it is no API server of Airflow 3, or "
                    "a proxy before it wants a login; expected the server's own address, or a token for the proxy"
                )
            return answer.status, json.loads(body or b"null")
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode("utf-8", "replace")
