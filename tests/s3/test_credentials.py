"""What opens a store is nowhere to be found: not in the store, not in the spool, and in no output, log or error."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from tests import servers
from tests.s3.proxy import Proxy, proxy_to
from tests.servers import Server
from tracker.errors import HindsightError
from tracker.store.doctor import examine
from tracker.store.open import connect, open_store

pytestmark = pytest.mark.s3

TOKEN = "s3ssion-t0ken-of-somebody"
CUSTOMER_KEY = "c0stomer-key-of-exactly-32-bytes"  # with which the server encrypts; sent in base64
HIDDEN = (servers.SECRET, TOKEN, CUSTOMER_KEY, base64.b64encode(CUSTOMER_KEY.encode()).decode())
TRAIN = """
import logging
logging.basicConfig(level=logging.DEBUG)
import tracker
tracker.arg("lr", 0.1)
tracker.log("loss", 0.5)
tracker.commit()
tracker.log("accuracy", 0.9)
"""


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """A proxy in front of moto's server."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


def environment(folder: Path, url: str, server: Server, client: str) -> dict[str, str]:
    """Credentials in storage options for one client, and in the variables of AWS for the other."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("HINDSIGHT_", "AWS_", "XDG_"))}
    own = {"HOME": str(folder / "home"), "HINDSIGHT_STORE": url, "HINDSIGHT_SPOOL": str(folder / "spool")}
    if client == "obstore":
        own["HINDSIGHT_STORAGE_OPTIONS"] = json.dumps(server.options(token=TOKEN))
    else:
        encrypted = {"s3_additional_kwargs": {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY}}
        own |= server.environment() | {"AWS_SESSION_TOKEN": TOKEN, "HINDSIGHT_STORAGE_OPTIONS": json.dumps(encrypted)}
    return kept | own | {"HINDSIGHT_S3_CLIENT": client}


def plain(segment: bytes) -> bytes:
    """What stands in a segment, which is compressed."""
    return str(pyarrow.parquet.read_table(io.BytesIO(segment)).to_pylist()).encode()


@pytest.mark.slow
@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_credentials_stay_where_they_were_given(
    moto_server: Server, proxy: Proxy, bucket: str, tmp_path: Path, client: str
) -> None:
    """A script that logs everything, every command that talks to the store, and the same while it does not answer."""
    url = f"s3://{bucket}/credentials-{client}"
    variables = environment(tmp_path, url, replace(moto_server, endpoint=proxy.endpoint), client)
    (tmp_path / "train.py").write_text(TRAIN)

    def said(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=240
        )
        return done.stdout + done.stderr

    said("train.py")  # what a program lets other libraries print is its own affair; what is kept of it is ours
    commands = (["runs", "--json"], ["sync", url, "copy", "--json"], ["recover", "--json"])
    texts = [said("-m", "tracker", *command) for command in commands]
    proxy.fail_from(0)
    texts += [said("-m", "tracker", *command) for command in (["runs"], ["sync", url, "copy"])]

    assert json.loads(texts[1])["complete"]
    store = open_store(url, storage_options=moto_server.options())
    kept = [store.get(info.key) for info in store.list()]
    kept += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    kept += [plain(data) for data in kept if data.startswith(b"PAR1")]
    assert len(kept) > 10
    for secret in HIDDEN:
        assert not [text for text in texts if secret in text]
        assert not [data for data in kept if secret.encode() in data]


@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_no_refusal_repeats_what_was_refused(moto_server: Server, proxy: Proxy, bucket: str, client: str) -> None:
    """Errors with their causes, and the doctor's findings, name the store and not what opens it."""
    proxy.fail("error", "GET", "", times=1000)
    proxied = replace(moto_server, endpoint=proxy.endpoint).options(token=TOKEN, client=client)
    nobody = proxied | {"endpoint_url": f"http://127.0.0.1:{servers.free_port()}"}
    texts = []
    for options in (proxied, nobody):
        with pytest.raises(HindsightError) as caught:
            open_store(f"s3://{bucket}/refused", storage_options=options)
        texts += [str(caught.getrepr(style="long")), repr(connect(f"s3://{bucket}/x", storage_options=options))]
        texts += [repr(check) for check in examine(f"s3://{bucket}/refused", options)]

    assert not [text for text in texts for secret in HIDDEN if secret in text]


@pytest.mark.parametrize(
    "url", ["s3://{}:{}@bucket/x", "s3://bucket/x?X-Amz-Security-Token={}{}", "ftp://{}:{}@host/x"]
)
def test_addresses_with_credentials_are_shown_without_them(url: str) -> None:
    """Refused or not, the text does not repeat them."""
    address = url.format("user", TOKEN)
    try:
        texts = [connect(address).url, repr(connect(address))]
    except HindsightError as exc:
        texts = [str(exc)]
    texts += [repr(check) for check in examine(address)] if address.startswith("s3") else []

    assert not [text for text in texts if TOKEN in text]
