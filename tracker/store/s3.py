"""Stores on S3: which client library speaks, with which settings, and what its refusals mean.

Two libraries stand behind the same verbs. obstore imports in 10 ms (s3fs: 1.2 s) and takes a fifth of the processor
time per request, so it is the first choice; its threads do not survive a fork, and it knows fewer ways to find
credentials, so s3fs takes over in forked children and for every setting that obstore lacks.
``storage_options={"client": "s3fs"}`` or ``HINDSIGHT_S3_CLIENT`` choose by hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from tracker.errors import BadSetting, KeyExists, KeyNotFound, MissingExtra, StoreFull, StoreReadOnly, StoreUnavailable
from tracker.secrets import mask_text, mask_url
from tracker.store.remote import Driver, RemoteStore, Unsupported
from tracker.store.retry import RetryPolicy, Transient

TOKEN = "hindsight-token"  # metadata of a created key: which create call wrote it
CLIENTS = ("auto", "obstore", "s3fs")

_ETAG = re.compile(r'"?([0-9a-f]{32})"?')
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 509}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "EntityTooLarge"}
_WRONG_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
}
_DENIED = {*_WRONG_CREDENTIALS, "RequestTimeTooSkewed", "AccessDenied"}
_NAMES = ("key", "secret", "token", "username", "password", "anon", "endpoint_url", "client_kwargs", "config_kwargs")
_OPTIONS = {*_NAMES, "requester_pays", "s3_additional_kwargs"}
# Of s3_additional_kwargs. An ACL is none of them: obstore would send its header unsigned, which S3 refuses.
_ENCRYPTION = {"ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"}
_PORTS = {"http": 80, "https": 443}
_CLIENT = {"endpoint_url", "region_name", "aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
_CONFIG = {"connect_timeout", "read_timeout"}
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


@dataclass(frozen=True)
class Settings:
    """How to reach one prefix of one bucket; ``repr`` shows no secret."""

    bucket: str
    prefix: str  # "" or with a "/" behind it
    endpoint: str | None
    region: str | None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    anonymous: bool = False
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def where(self) -> str:
        """The address for messages: bucket, prefix and server."""
        server = f" at {mask_url(self.endpoint)}" if self.endpoint else ""
        return self.url + server

    @property
    def url(self) -> str:
        """Bucket and prefix, which another server may have, too."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def address(self) -> str:
        """What tells this place from every other, in one form however the server is written; none stands for AWS."""
        server = _server(self.endpoint or "")
        return f"{self.url} at {server}" if server else self.url


def open_s3(url: str, options: Mapping[str, Any], policy: RetryPolicy | None) -> RemoteStore:
    """The store of an ``s3://bucket/prefix`` URL; nothing is sent yet."""
    settings = parse(url, options)
    client = options.get("client") or os.environ.get("HINDSIGHT_S3_CLIENT") or "auto"
    if client not in CLIENTS:
        raise BadSetting(f"{client!r} is not a client for S3: expected one of {', '.join(CLIENTS)}")
    return RemoteStore(settings.url, lambda: _connect(settings, client), address=settings.address, policy=policy)


def _server(endpoint: str) -> str:
    parts = urlsplit(endpoint if "://" in endpoint or not endpoint else f"https://{endpoint}")
    scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
    if host.endswith((".amazonaws.com", ".api.aws")):  # a bucket has its name alone there, in whatever region
        return ""
    try:
        port = parts.port if parts.port != _PORTS.get(scheme) else None
    except ValueError as exc:
        raise BadSetting(f"{mask_url(endpoint)!r} is not the address of a server: {exc}") from exc
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}{f':{port}' if port else ''}{parts.path.rstrip('/')}" if host else mask_url(endpoint)


def parse(url: str, options: Mapping[str, Any]) -> Settings:
    """Settings from a URL, fsspec's storage options, and the usual AWS environment variables, in this order."""
    parts = urlsplit(url)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if "@" in bucket or parts.query:
        raise BadSetting(
            f"{mask_url(url)} carries credentials or a query: expected s3://bucket/prefix; "
            "credentials belong into storage_options or the environment"
        )
    if not bucket or ":" in bucket:
        raise BadSetting(f"{mask_url(url)!r} names no bucket: expected s3://bucket/prefix")
    inner, config, environ = options.get("client_kwargs") or {}, options.get("config_kwargs") or {}, os.environ
    return Settings(
        bucket=bucket,
        prefix=f"{prefix}/" if prefix else "",
        endpoint=options.get("endpoint_url")
        or inner.get("endpoint_url")
        or environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL"),
        region=inner.get("region_name") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        key=options.get("key") or options.get("username") or inner.get("aws_access_key_id"),
        secret=options.get("secret") or options.get("password") or inner.get("aws_secret_access_key"),
        token=options.get("token") or inner.get("aws_session_token"),
        anonymous=bool(options.get("anon")),
        connect_timeout_s=float(config.get("connect_timeout", 5.0)),
        read_timeout_s=float(config.get("read_timeout", 60.0)),
        options={name: value for name, value in options.items() if name != "client"},
    )


def _connect(settings: Settings, client: str) -> Driver:
    from tracker.store import s3_obstore

    forked = s3_obstore.belongs_to_parent()
    strange = _strange_to_obstore(settings)
    if client == "obstore" and strange:
        raise BadSetting(
            f"the S3 client obstore does not know {', '.join(strange)}, and what was asked for must not be left out "
            "silently: choose the client auto or s3fs, or take these out of storage_options"
        )
    if client == "obstore" or (client == "auto" and not forked and not strange and _obstore_suffices(settings)):
        if forked:
            raise StoreUnavailable(
                f"{settings.where} cannot be reached from this forked process: the S3 client obstore was used before "
                "the fork; choose the client s3fs (or auto), or start processes with the method 'spawn'"
            )
        _require("obstore")
        return s3_obstore.ObstoreDriver(settings)
    _require("s3fs")
    from tracker.store.s3_s3fs import S3fsDriver

    return S3fsDriver(settings)


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise MissingExtra(f"{package} is needed for stores on S3: pip install 'hindsight-tracker[s3]'")


def _strange_to_obstore(settings: Settings) -> list[str]:
    """The names in storage options that only s3fs understands."""
    parts = {
        "": (settings.options, _OPTIONS),
        "client_kwargs.": (settings.options.get("client_kwargs"), _CLIENT),
        "config_kwargs.": (settings.options.get("config_kwargs"), _CONFIG),
        "s3_additional_kwargs.": (settings.options.get("s3_additional_kwargs"), _ENCRYPTION),
    }
    return [f"{part}{name}" for part, (given, known) in parts.items() for name in given or {} if name not in known]


def _obstore_suffices(settings: Settings) -> bool:
    """Whether obstore is there and finds what it needs; it finds no profiles and no region by itself."""
    environ = os.environ
    trusted = not environ.get("AWS_CA_BUNDLE") or str(settings.endpoint).startswith("http:")
    has_keys = (
        settings.anonymous or settings.key or ("AWS_PROFILE" not in environ and any(environ.get(k) for k in _KEYS))
    )
    return bool(find_spec("obstore") and trusted and has_keys and (settings.region or settings.endpoint))


def plain_etag(told: str | None) -> str:
    """What a server calls the bytes of a key; empty for what was uploaded in parts, which others may cut elsewhere."""
    match = _ETAG.fullmatch(told or "")
    return match[1] if match else ""


def refusal(status: int | None, code: str, text: str, *, key: str, where: str) -> Exception:
    """The error for an answer of a server: its HTTP status, its S3 error code, and its message."""
    reason = f"{code or status or 'no answer'}: {_first_line(text)}"
    if code == "NoSuchBucket":
        return StoreUnavailable(f"{where}: the bucket does not exist; create it, or correct the name ({reason})")
    if status == 404:
        return KeyNotFound(f"there is no {key} in {where}")
    if status == 412:
        return KeyExists(f"{key} exists already in {where}; a key is created only once")
    if status == 507 or code in _FULL:
        return StoreFull(f"{where} takes no more bytes for {key} ({reason}); free some space or raise the quota")
    if status in {401, 403} or code in _DENIED:  # credentials that have expired are refused with 400
        return StoreReadOnly(f"{where} refuses {key} ({reason}); {_permission_fix(code)}")
    if status in {501, 405} or code == "NotImplemented":
        return Unsupported(f"{where} has no such operation for {key} ({reason})")
    if status is None or status in _TRANSIENT or code in {"RequestTimeout", "SlowDown", "IncompleteBody", "BadDigest"}:
        return Transient(reason)
    return StoreUnavailable(f"{where} refuses {key} ({reason}); check the region, the address and the server")


def _permission_fix(code: str) -> str:
    if code == "RequestTimeTooSkewed":
        return "set the clock of this machine"
    if code in _WRONG_CREDENTIALS:
        return "the credentials are wrong or expired: renew key and secret in storage_options or the environment"
    return "ask for s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on this prefix"


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return mask_text(lines[0])[:300] if lines else "no message"
