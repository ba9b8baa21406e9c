"""Encryption, access lists and who pays: what stands in ``storage_options`` is in every request that it concerns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.s3.proxy import Proxy, proxy_to
from tests.servers import Server
from tracker.errors import BadSetting
from tracker.store.open import open_store

pytestmark = pytest.mark.s3

LARGE = b"x" * (65 << 20)  # goes in parts with either client
KMS = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "a-key", "BucketKeyEnabled": True}
KMS_HEADERS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "a-key",
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """A proxy that writes down the headers of what it forwards."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


def write(proxy: Proxy, server: Server, url: str, **options: Any) -> list[tuple[str, dict[str, str]]]:
    """Every verb once; the method and the headers of each request."""
    store = open_store(url, storage_options=replace(server, endpoint=proxy.endpoint).options(**options))
    store.put("a/small", b"x")
    store.create("a/created", b"x")
    store.put("a/large", LARGE)
    assert store.get("a/small") == b"x"
    assert store.folders() == ["a"]
    assert len(list(store.list("a/"))) == 3
    store.delete(["a/created"])
    return [(method, headers) for (method, _, _), headers in zip(proxy.seen, proxy.headers, strict=True)]


def begins_a_payload(proxy: Proxy) -> list[dict[str, str]]:
    """The headers of requests that make an object: a put, or the first of an upload in parts."""
    return [
        headers
        for (method, path, _), headers in zip(proxy.seen, proxy.headers, strict=True)
        if (method == "PUT" and "partNumber" not in path) or (method == "POST" and path.rstrip("=").endswith("uploads"))
    ]


@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_everything_is_encrypted_as_asked(moto_server: Server, proxy: Proxy, bucket: str, client: str) -> None:
    """The server is told for small and large payloads, and says afterwards that it did so."""
    write(proxy, moto_server, f"s3://{bucket}/encrypted-{client}", client=client, s3_additional_kwargs=KMS)

    made = begins_a_payload(proxy)
    assert len(made) >= 5
    assert all(headers.items() >= KMS_HEADERS.items() for headers in made)
    assert all("x-amz-server-side-encryption" in headers["authorization"] for headers in made)

    import s3fs

    system = s3fs.S3FileSystem(**moto_server.options(), skip_instance_cache=True)
    for name in ("a/small", "a/large", "format.json"):
        head = system.call_s3("head_object", Bucket=bucket, Key=f"encrypted-{client}/{name}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "a-key")


@pytest.mark.parametrize("client", ["auto"])
def test_an_access_list_goes_with_every_payload(moto_server: Server, proxy: Proxy, bucket: str, client: str) -> None:
    """A bucket of another account wants its owner to have the objects."""
    access = {"ACL": "bucket-owner-full-control"}
    write(proxy, moto_server, f"s3://{bucket}/access-{client}", client=client, s3_additional_kwargs=access)

    made = begins_a_payload(proxy)
    assert len(made) >= 5
    assert all(headers["x-amz-acl"] == access["ACL"] for headers in made)
    assert all("x-amz-acl" in headers["authorization"] for headers in made)


@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_who_asks_pays_for_every_request(moto_server: Server, proxy: Proxy, bucket: str, client: str) -> None:
    """Such a bucket refuses any request that does not say so."""
    sent = write(proxy, moto_server, f"s3://{bucket}/payer-{client}", client=client, requester_pays=True)

    assert {method for method, _ in sent} >= {"GET", "PUT", "POST", "HEAD"}
    assert all(headers["x-amz-request-payer"] == "requester" for _, headers in sent)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"s3_additional_kwargs": {"ACL": "private"}}, "s3_additional_kwargs.ACL"),
        ({"s3_additional_kwargs": {"SSECustomerKey": "hidden"}}, "s3_additional_kwargs.SSECustomerKey"),
        ({"use_ssl": True}, "use_ssl"),
        ({"config_kwargs": {"proxies": {}}}, "config_kwargs.proxies"),
        ({"client_kwargs": {"verify": "ca.pem"}}, "client_kwargs.verify"),
    ],
)
def test_what_a_chosen_client_cannot_do_is_not_left_out(more: dict[str, Any], name: str) -> None:
    """Whoever asks for encryption and for a client that lacks it hears of that, and nothing is sent."""
    options = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9", "client": "obstore", **more}

    with pytest.raises(BadSetting, match=name) as caught:
        open_store("s3://bucket/x", storage_options=options)

    assert "hidden" not in str(caught.value)
