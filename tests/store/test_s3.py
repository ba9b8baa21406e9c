"""How an S3 address becomes a connection, and what a server's refusals mean."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.forking import run_in_child
from tests.servers import Server
from tracker.errors import (
    BadSetting,
    HindsightError,
    KeyExists,
    KeyNotFound,
    NotFound,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from tracker.store import remote, s3
from tracker.store.open import connect, open_store
from tracker.store.remote import RemoteStore, Unsupported
from tracker.store.retry import Transient

KEYS = {"key": "k", "secret": "s3cr3t-value"}
AWS = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*AWS, "AWS_CA_BUNDLE", "HINDSIGHT_S3_CLIENT"):
        monkeypatch.delenv(name, raising=False)


def driver_of(url: str, options: dict[str, Any]) -> str:
    """The class of the driver that a store would use here."""
    store = connect(url, storage_options=options)
    assert isinstance(store, RemoteStore)
    return type(store._driver).__name__


@pytest.mark.parametrize(
    ("endpoint", "server"),
    [
        ("http://Host.example:80/", " at http://host.example"),
        ("https://host.example:9000//", " at https://host.example:9000"),
        ("host.example:9000", " at https://host.example:9000"),
        ("https://s3.eu-central-1.amazonaws.com", ""),
        (None, ""),
    ],
)
def test_a_place_has_one_address_however_it_is_written(endpoint: str | None, server: str) -> None:
    """It also says which server it is on; the buckets of AWS have their names alone."""
    assert s3.parse("s3://bucket/a/", {**KEYS, "endpoint_url": endpoint}).address == f"s3://bucket/a{server}"


def test_a_url_is_a_bucket_and_a_prefix() -> None:
    """Slashes around the prefix do not matter."""
    settings = s3.parse("s3://bucket/a/b/", KEYS)

    assert (settings.bucket, settings.prefix) == ("bucket", "a/b/")
    assert s3.parse("s3://bucket", KEYS).prefix == ""


@pytest.mark.parametrize(
    "url", ["s3://", "s3:bucket", "s3:///prefix", "s3://key:hidden-secret@bucket/p", "s3://b/p?versionId=1"]
)
def test_other_urls_are_refused_without_showing_secrets(url: str) -> None:
    """What is not bucket and prefix is refused, and credentials in it are not repeated."""
    with pytest.raises(BadSetting, match="s3://bucket/prefix") as caught:
        connect(url)

    assert "hidden-secret" not in str(caught.value)


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint and region come from storage_options first, then from the AWS variables."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://environment")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    assert s3.parse("s3://b", {}).endpoint == "http://environment"
    assert s3.parse("s3://b", {}).region == "eu-central-1"
    assert s3.parse("s3://b", {"endpoint_url": "http://given"}).endpoint == "http://given"
    inner = {"client_kwargs": {"endpoint_url": "http://inner", "region_name": "us-west-2"}}
    assert (s3.parse("s3://b", inner).endpoint, s3.parse("s3://b", inner).region) == ("http://inner", "us-west-2")


def test_settings_show_no_secret() -> None:
    """Neither the settings nor the store print what opens the bucket."""
    options = {**KEYS, "token": "t0ken-value", "endpoint_url": "http://user:p4ss@127.0.0.1:9"}

    shown = (
        repr(s3.parse("s3://b", options))
        + s3.parse("s3://b", options).where
        + repr(connect("s3://b", storage_options=options))
    )

    assert "s3cr3t" not in shown
    assert "t0ken" not in shown
    assert "p4ss" not in s3.parse("s3://b", options).where


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({**KEYS, "endpoint_url": "http://127.0.0.1:9"}, "ObstoreDriver"),
        ({**KEYS, "client_kwargs": {"region_name": "eu-west-1"}}, "ObstoreDriver"),
        ({"anon": True, "endpoint_url": "http://127.0.0.1:9"}, "ObstoreDriver"),
        ({**KEYS}, "S3fsDriver"),  # no region: botocore follows AWS to it
        ({"endpoint_url": "http://127.0.0.1:9"}, "S3fsDriver"),  # no keys: botocore looks into profiles
        ({**KEYS, "endpoint_url": "http://127.0.0.1:9", "requester_pays": True}, "ObstoreDriver"),
        ({**KEYS, "endpoint_url": "http://127.0.0.1:9", "s3_additional_kwargs": {"ACL": "private"}}, "S3fsDriver"),
        ({**KEYS, "endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"s3": {}}}, "S3fsDriver"),
        ({**KEYS, "endpoint_url": "http://127.0.0.1:9", "client": "s3fs"}, "S3fsDriver"),
        ({**KEYS, "client": "obstore"}, "ObstoreDriver"),
    ],
)
def test_the_lighter_client_is_taken_where_it_understands_all(options: dict[str, Any], expected: str) -> None:
    """obstore serves what it can, s3fs the rest, and a choice by hand wins."""
    assert driver_of("s3://bucket", options) == expected


def test_the_client_can_be_chosen_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``HINDSIGHT_S3_CLIENT`` chooses, and a name that is none of them is refused."""
    monkeypatch.setenv("HINDSIGHT_S3_CLIENT", "s3fs")
    assert driver_of("s3://bucket", {**KEYS, "endpoint_url": "http://127.0.0.1:9"}) == "S3fsDriver"

    monkeypatch.setenv("HINDSIGHT_S3_CLIENT", "curl")
    with pytest.raises(BadSetting, match="curl"):
        connect("s3://bucket")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", KeyNotFound),
        (404, "NoSuchBucket", StoreUnavailable),
        (412, "PreconditionFailed", KeyExists),
        (403, "AccessDenied", StoreReadOnly),
        (401, "", StoreReadOnly),
        (400, "ExpiredToken", StoreReadOnly),
        (400, "InvalidToken", StoreReadOnly),
        (507, "", StoreFull),
        (400, "XMinioStorageFull", StoreFull),
        (501, "NotImplemented", Unsupported),
        (503, "SlowDown", Transient),
        (500, "InternalError", Transient),
        (409, "ConditionalRequestConflict", Transient),
        (400, "RequestTimeout", Transient),
        (None, "", Transient),
        (400, "AuthorizationHeaderMalformed", StoreUnavailable),
    ],
)
def test_answers_mean_what_the_caller_can_do(status: int | None, code: str, expected: type[Exception]) -> None:
    """Each refusal becomes the error that says what to do next, naming the key and the place."""
    found = s3.refusal(status, code, "told by the server", key="runs/x", where="s3://bucket")

    assert type(found) is expected
    if isinstance(found, HindsightError):
        assert "s3://bucket" in str(found)


@pytest.mark.s3
@pytest.mark.parametrize("client", ["obstore", "s3fs"])
class TestAgainstAServer:
    """What people meet first when the address is not quite right."""

    def test_a_bucket_that_does_not_exist(self, moto_server: Server, client: str) -> None:
        """The message names the bucket and the remedy."""
        with pytest.raises((StoreUnavailable, NotFound), match=r"no-such-bucket.*create it"):
            open_store("s3://no-such-bucket/x", storage_options=moto_server.options(client=client))

    def test_nobody_answers(self, client: str) -> None:
        """A closed port gives an error within seconds, with the remedy and without the secret."""
        options = {**KEYS, "endpoint_url": "http://127.0.0.1:9", "client": client}

        with pytest.raises(StoreUnavailable, match="hindsight doctor") as caught:
            open_store("s3://bucket/x", storage_options=options)

        assert "s3cr3t" not in str(caught.value)

    def test_reading_creates_nothing(self, moto_server: Server, bucket: str, client: str) -> None:
        """``create=False`` finds no store and writes none."""
        options = moto_server.options(client=client)
        for _ in range(2):
            with pytest.raises(NotFound, match="no store"):
                open_store(f"s3://{bucket}/never/{client}", storage_options=options, create=False)


@pytest.mark.s3
@pytest.mark.parametrize("client", ["auto", "s3fs"])
def test_keys_that_others_put_there_do_not_hide_ours(
    moto_server: Server, bucket: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that no store has, with empty or dotted parts or marking folders, are left out of listings."""
    import s3fs

    url = f"s3://{bucket}/odd/{client}"
    store = open_store(url, storage_options=moto_server.options(client=client))
    store.put("runs/a/run.json", b"{}")
    raw = s3fs.S3FileSystem(**moto_server.options(), skip_instance_cache=True)
    for odd in ("runs//b", "runs/../c", "runs/./d", "runs/a/", "/e", "back\\slash"):
        raw.call_s3("put_object", Bucket=bucket, Key=f"odd/{client}/{odd}", Body=b"odd")

    assert [info.key for info in store.list()] == ["format.json", "runs/a/run.json"]
    assert [info.key for info in store.list("runs/")] == ["runs/a/run.json"]
    assert store.folders("runs/") == ["a"]
    for piece in range(1, 6):  # also as the last of a piece
        monkeypatch.setattr(remote, "PIECE_KEYS", piece)
        assert [info.key for info in store.list()] == ["format.json", "runs/a/run.json"]
        assert [info.key for info in store.list(after="runs//b")] == ["runs/a/run.json"]


@pytest.mark.s3
def test_the_environment_is_enough(moto_server: Server, bucket: str) -> None:
    """A process with the usual AWS variables needs no options, and imports no s3fs for it."""
    script = (
        "import sys; from tracker.store.open import open_store; "
        f"store = open_store('s3://{bucket}/from/environment'); store.put('a/b', b'x'); "
        "assert store.get('a/b') == b'x' and 's3fs' not in sys.modules and 'tenacity' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", script], check=True, env={"PATH": "/usr/bin", **moto_server.environment()})


@pytest.mark.s3
def test_a_forked_child_cannot_insist_on_obstore(moto_server: Server, bucket: str) -> None:
    """Where obstore was used before a fork, the child is told so at once instead of hanging."""
    store = open_store(f"s3://{bucket}/forked", storage_options=moto_server.options(client="obstore"))

    def read() -> int:
        try:
            store.get("format.json")
        except StoreUnavailable as exc:
            return 42 if "spawn" in str(exc) else 1
        return 2

    assert run_in_child(read) == 42
    assert store.get("format.json")
