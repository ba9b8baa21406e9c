"""S3 through s3fs (aiobotocore): every way to find credentials, and safe after a fork."""

from __future__ import annotations

import builtins
import contextlib
import math
from collections.abc import Iterator
from typing import Any

from tracker.errors import StoreReadOnly, StoreUnavailable
from tracker.store.base import Info
from tracker.store.retry import RetryPolicy, Transient, persist
from tracker.store.s3 import TOKEN, Settings, plain_etag, refusal

_PART_BYTES = 16 << 20
_SINGLE_BYTES = 4 * _PART_BYTES  # larger payloads go in parts, so that a failure repeats a part and not all


class S3fsDriver:
    """One attempt at each operation, as one S3 request made by s3fs."""

    tokens = resumes = True

    def __init__(self, settings: Settings) -> None:
        import s3fs

        self._settings = settings
        config: dict[str, Any] = {"retries": {"total_max_attempts": 1, "mode": "standard"}}
        if settings.endpoint:
            # Servers other than AWS often lack the newer checksum trailers; TLS and our own hashes remain.
            config |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        config |= {"connect_timeout": settings.connect_timeout_s, "read_timeout": settings.read_timeout_s}
        options = {**settings.options, "config_kwargs": {**config, **(settings.options.get("config_kwargs") or {})}}
        self._system = s3fs.S3FileSystem(**options, skip_instance_cache=True, use_listings_cache=False)
        self._system.retries = 1  # we retry ourselves, bounded in time

    def get(self, key: str) -> bytes:
        return self._read(key)[0]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        try:
            return self._read(key, Range=f"bytes={start}-{start + length - 1}")[0][:length]
        except _BeyondEnd:
            return b""

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        try:
            data, answer = self._read(key, Range=f"bytes=-{length}")
        except _BeyondEnd:
            data = self.get(key)  # some servers refuse to give the last bytes of a shorter key
            return data, len(data)
        size = str(answer.get("ContentRange", "")).rpartition("/")[2]
        return data, int(size) if size.isdecimal() else len(data)

    def put(self, key: str, data: bytes | memoryview, *, only_new: bool, token: str) -> None:
        extra: dict[str, Any] = {"Metadata": {TOKEN: token}} if token else {}
        condition = {"IfNoneMatch": "*"} if only_new else {}
        if len(data) <= _SINGLE_BYTES:
            self._call("put_object", key, Body=bytes(data), **extra, **condition)
        else:
            self._put_parts(key, memoryview(data), extra, condition)

    def _put_parts(self, key: str, data: memoryview, extra: dict[str, Any], condition: dict[str, str]) -> None:
        upload = self._call("create_multipart_upload", key, **extra)["UploadId"]
        try:
            parts = [self._put_part(key, upload, data, number) for number in range(math.ceil(len(data) / _PART_BYTES))]
            self._call("complete_multipart_upload", key, UploadId=upload, MultipartUpload={"Parts": parts}, **condition)
        except BaseException:
            with contextlib.suppress(Exception):  # a leftover is invisible and expires; the first error matters
                self._call("abort_multipart_upload", key, UploadId=upload)
            raise

    def _put_part(self, key: str, upload: str, data: memoryview, number: int) -> dict[str, Any]:
        body = bytes(data[number * _PART_BYTES : (number + 1) * _PART_BYTES])
        sent = persist(
            lambda: self._call("upload_part", key, UploadId=upload, PartNumber=number + 1, Body=body),
            RetryPolicy(attempts=4, total_s=20.0),
            what=f"writing part {number + 1} of {key} in {self._settings.where}",
            fix="check the network",
        )
        return {"PartNumber": number + 1, "ETag": sent["ETag"]}

    def delete(self, keys: builtins.list[str]) -> None:
        objects = [{"Key": self._settings.prefix + key} for key in keys]
        if not objects:
            return
        with _translated(f"{len(keys)} keys", self._settings):
            answer = self._system.call_s3(
                "delete_objects", Bucket=self._settings.bucket, Delete={"Objects": objects, "Quiet": True}
            )
        for error in answer.get("Errors", []):
            raise refusal(500, error.get("Code", ""), error.get("Message", ""), key=keys[0], where=self._settings.where)

    def list(self, prefix: str, after: str) -> Iterator[Info]:
        for page in self._pages(prefix, {"StartAfter": self._settings.prefix + after} if after else {}):
            for entry in page.get("Contents", []):
                key = entry["Key"].removeprefix(self._settings.prefix)
                yield Info(key, entry["Size"], entry["LastModified"].timestamp(), plain_etag(entry.get("ETag")))

    def folders(self, prefix: str, after: str) -> Iterator[str]:
        start = {"StartAfter": f"{self._settings.prefix}{prefix}{after}"} if after else {}
        for page in self._pages(prefix, {"Delimiter": "/", **start}):
            for entry in page.get("CommonPrefixes", []):
                yield entry["Prefix"].removeprefix(self._settings.prefix + prefix).rstrip("/")

    def _pages(self, prefix: str, extra: dict[str, str]) -> Iterator[dict[str, Any]]:
        request = {"Bucket": self._settings.bucket, "Prefix": self._settings.prefix + prefix, **extra}
        while True:
            page = persist(
                lambda: self._list_page(prefix, request),
                RetryPolicy(attempts=4, total_s=20.0),
                what=f"listing {prefix} in {self._settings.where}",
                fix="check the network",
            )
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _list_page(self, prefix: str, request: dict[str, str]) -> dict[str, Any]:
        with _translated(prefix or "the listing", self._settings):
            page: dict[str, Any] = self._system.call_s3("list_objects_v2", **request)
            return page

    def info(self, key: str) -> Info:
        found = self._call("head_object", key)
        return Info(key, found["ContentLength"], found["LastModified"].timestamp(), plain_etag(found.get("ETag")))

    def token(self, key: str) -> str | None:
        token = self._call("head_object", key).get("Metadata", {}).get(TOKEN)
        return str(token) if token else None

    def _call(self, verb: str, key: str, **arguments: Any) -> dict[str, Any]:
        with _translated(key, self._settings):
            answer: dict[str, Any] = self._system.call_s3(
                verb, Bucket=self._settings.bucket, Key=self._settings.prefix + key, **arguments
            )
            return answer

    def _read(self, key: str, **arguments: Any) -> tuple[bytes, dict[str, Any]]:
        import fsspec.asyn

        answer = self._call("get_object", key, **arguments)
        with _translated(key, self._settings):
            data = fsspec.asyn.sync(self._system.loop, _read_body, answer["Body"])
        return data, answer


class _BeyondEnd(Exception):
    """A range that begins at or behind the end of the key."""


async def _read_body(body: Any) -> bytes:
    async with body:
        data: bytes = await body.read()
        return data


@contextlib.contextmanager
def _translated(key: str, settings: Settings) -> Iterator[None]:
    """Turn what botocore and aiohttp raise into the store's errors."""
    import aiohttp  # type: ignore[import-untyped,unused-ignore]
    from botocore import exceptions as boto  # type: ignore[import-untyped,unused-ignore]
    from botocore.parsers import ResponseParserError  # type: ignore[import-untyped,unused-ignore]

    try:
        yield
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.ProfileNotFound,
        boto.TokenRetrievalError,
    ) as exc:
        raise StoreReadOnly(
            f"{settings.where}: no credentials were found ({exc}); give key and secret in storage_options, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (a public bucket: storage_options={'anon': True})"
        ) from exc
    except (boto.HTTPClientError, boto.ConnectionError, boto.ResponseStreamingError, ResponseParserError) as exc:
        raise Transient(f"{type(exc).__name__}: {exc}") from exc
    except (boto.BotoCoreError, boto.ClientError) as exc:
        raise _refused(exc, exc, key, settings) from exc
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as exc:
        raise Transient(f"{type(exc).__name__}: {exc}") from exc
    except OSError as exc:
        raise _refused(exc.__cause__ or exc, exc, key, settings) from exc


def _refused(cause: BaseException, shown: BaseException, key: str, settings: Settings) -> Exception:
    """The error for what s3fs raised; the server's own answer is its cause."""
    response = getattr(cause, "response", None)
    if not isinstance(response, dict):
        return StoreUnavailable(f"{settings.where} cannot be used: {shown}; check the settings of this store")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    error = response.get("Error", {})
    if status == 416:
        return _BeyondEnd()
    return refusal(status, str(error.get("Code", "")), str(error.get("Message", "")), key=key, where=settings.where)
