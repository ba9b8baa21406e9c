"""S3 through obstore (Rust): quick to import and light, but not after a fork that followed its first use."""

from __future__ import annotations

import builtins
import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from tracker.errors import KeyNotFound, StoreUnavailable
from tracker.secrets import mask_text
from tracker.store.base import Info
from tracker.store.remote import Driver
from tracker.store.s3 import TOKEN, Settings, plain_etag, refusal

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|^[^\n]*\(code: (\w+)\)$", re.MULTILINE)  # the second of a key in a bulk delete
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_SINGLE_BYTES = 16 << 20

_IN_REPLY = ("DeleteObjects request failed", "Server returned error response")  # errors that came with status 200
_NETWORK = (*_IN_REPLY, "HTTP error", "error sending", "error decoding", "timed out", "connection", "body error")

_started_in: int | None = None  # the process whose threads serve obstore


def belongs_to_parent() -> bool:
    """Whether a parent process used obstore before this one was forked, so that its threads are missing here.

    Using it here would hang, and disturb the connections of the parent, with which the event queue is shared.
    """
    return _started_in not in {None, os.getpid()}


class ObstoreDriver:
    """One attempt at each operation, as one S3 request made by obstore."""

    tokens = resumes = True

    def __init__(self, settings: Settings) -> None:
        global _started_in
        _started_in = os.getpid()
        self._settings = settings
        self._once = _client(settings, max_retries=0)
        self._patient = _client(settings, max_retries=4)  # for uploads in parts and listings, of many requests each

    def get(self, key: str) -> bytes:
        import obstore

        with _translated(key, self._settings):
            return bytes(obstore.get(self._once, self._path(key)).bytes())

    def get_range(self, key: str, start: int, length: int) -> bytes:
        import obstore

        try:
            with _translated(key, self._settings):
                return bytes(obstore.get_range(self._once, self._path(key), start=start, length=length))
        except _BeyondEnd:
            return b""
        except _NotPartial:
            return self.get(key)[start : start + length]

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        import obstore

        try:
            with _translated(key, self._settings):
                answer = obstore.get(self._once, self._path(key), options={"range": {"suffix": length}})
                return bytes(answer.bytes()), int(answer.meta["size"])
        except (_BeyondEnd, _NotPartial):
            data = self.get(key)  # some servers refuse to give the last bytes of a shorter key
            return data, len(data)

    def put(self, key: str, data: bytes | memoryview, *, only_new: bool, token: str) -> None:
        import obstore

        in_parts = len(data) > _SINGLE_BYTES
        if in_parts and only_new and self._has(key):  # a look, because obstore completes no upload on a condition
            raise refusal(412, "", "", key=key, where=self._settings.where)
        with _translated(key, self._settings):
            obstore.put(
                self._patient if in_parts else self._once,
                self._path(key),
                memoryview(data).cast("B"),
                mode="create" if only_new and not in_parts else "overwrite",
                use_multipart=in_parts,
                chunk_size=8 << 20,
                max_concurrency=4,
                **({"attributes": {TOKEN: token}} if token else {}),
            )

    def delete(self, keys: builtins.list[str]) -> None:
        import obstore

        if keys:
            with _translated(f"{len(keys)} keys", self._settings):
                obstore.delete(self._once, [self._path(key) for key in keys])

    def list(self, prefix: str, after: str) -> Iterator[Info]:
        told: set[str] = set()
        try:
            for info in self._listed(prefix, after):
                told.add(info.key)
                yield info
        except _OddKey:
            yield from (info for info in _other_driver(self._settings).list(prefix, after) if info.key not in told)

    def _listed(self, prefix: str, after: str) -> Iterator[Info]:
        import obstore

        offset = self._path(after) if after else None
        with _translated(prefix or "the listing", self._settings):
            for page in obstore.list(self._patient, self._path(prefix) or None, offset=offset, chunk_size=1000):
                yield from map(self._info, page)

    def folders(self, prefix: str, after: str) -> Iterable[str]:
        import obstore

        if after:
            return self._folders_after(prefix, after)
        try:
            with _translated(prefix or "the listing", self._settings):
                found = obstore.list_with_delimiter(self._patient, self._path(prefix) or None)
        except _OddKey:
            return _other_driver(self._settings).folders(prefix, after)
        return [folder.rstrip("/").rpartition("/")[2] for folder in found["common_prefixes"]]

    def _folders_after(self, prefix: str, after: str) -> Iterable[str]:
        """obstore lists folders only from the beginning, so these are taken from the keys behind the place."""
        import obstore

        start = len(self._path(prefix))
        try:
            with _translated(prefix or "the listing", self._settings):
                offset = self._path(prefix + after)
                pages = obstore.list(self._patient, self._path(prefix) or None, offset=offset, chunk_size=1000)
                rests = (entry["path"][start:] for page in pages for entry in page)
                return list(dict.fromkeys(rest.partition("/")[0] for rest in rests if "/" in rest))
        except _OddKey:
            return _other_driver(self._settings).folders(prefix, after)

    def info(self, key: str) -> Info:
        import obstore

        with _translated(key, self._settings):
            return self._info(obstore.head(self._once, self._path(key)))

    def _has(self, key: str) -> bool:
        try:
            self.info(key)
        except KeyNotFound:
            return False
        return True

    def token(self, key: str) -> str | None:
        import obstore

        with _translated(key, self._settings):
            token = obstore.get(self._once, self._path(key), options={"head": True}).attributes.get(TOKEN)
        return str(token) if token else None

    def _path(self, key: str) -> str:
        return self._settings.prefix + key

    def _info(self, entry: Any) -> Info:
        key = entry["path"].removeprefix(self._settings.prefix)
        return Info(key, entry["size"], entry["last_modified"].timestamp(), plain_etag(entry["e_tag"]))


def _client(settings: Settings, *, max_retries: int) -> Any:
    from obstore.store import S3Store

    encryption = settings.options.get("s3_additional_kwargs") or {}
    config = {
        "access_key_id": settings.key,
        "secret_access_key": settings.secret,
        "session_token": settings.token,
        "endpoint": settings.endpoint,
        "region": settings.region or "us-east-1",
        "skip_signature": settings.anonymous or None,
        "request_payer": settings.options.get("requester_pays") or None,
        "server_side_encryption": encryption.get("ServerSideEncryption"),
        "sse_kms_key_id": encryption.get("SSEKMSKeyId"),
        "sse_bucket_key_enabled": encryption.get("BucketKeyEnabled"),
    }
    return S3Store(
        settings.bucket,
        config={name: value for name, value in config.items() if value is not None},
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
            "read_timeout": timedelta(seconds=settings.read_timeout_s),
            "timeout": timedelta(seconds=max(300.0, settings.read_timeout_s)),
        },
        retry_config={"max_retries": max_retries, "retry_timeout": timedelta(seconds=20)},
    )


class _BeyondEnd(Exception):
    """A range that begins at or behind the end of the key."""


class _NotPartial(Exception):
    """A server that answers a range with the whole key."""


class _OddKey(Exception):
    """A key among those listed that obstore cannot represent, such as ``a//b``; it then lists nothing at all."""


def _other_driver(settings: Settings) -> Driver:
    """s3fs, which lists what obstore refuses."""
    from importlib.util import find_spec

    if find_spec("s3fs") is None:
        raise StoreUnavailable(
            f"{settings.where} holds keys with empty or dotted parts, which cannot be listed without s3fs: "
            "delete these keys, or pip install s3fs"
        )
    from tracker.store.s3_s3fs import S3fsDriver

    return S3fsDriver(settings)


@contextlib.contextmanager
def _translated(key: str, settings: Settings) -> Iterator[None]:
    """Turn what obstore raises into the store's errors; the server's answer stands in its text."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, PreconditionError) as exc:
        raise refusal(412, "", str(exc), key=key, where=settings.where) from exc
    except (BaseError, FileNotFoundError) as exc:
        raise _refused(exc, key, settings) from exc
    except ValueError as exc:
        if "Could not parse path" in str(exc):
            raise _OddKey from exc
        raise


def _refused(exc: Exception, key: str, settings: Settings) -> Exception:
    text = str(exc)
    if "non-partial response" in text:
        return _NotPartial()
    if "invalid path" in text:
        return _OddKey()
    status, code, message = _STATUS.search(text), _CODE.search(text), _MESSAGE.search(text)
    number = int(status[1]) if status else (404 if isinstance(exc, FileNotFoundError) else None)
    if number is None and not any(sign in text for sign in _NETWORK):
        return StoreUnavailable(
            f"{settings.where} cannot be used: {mask_text(text.splitlines()[0])}; check its settings"
        )
    if number == 416:
        return _BeyondEnd()
    detail = message[1] if message else text
    return refusal(number, (code[1] or code[2]) if code else "", detail, key=key, where=settings.where)
