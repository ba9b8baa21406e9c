"""Keeping secrets out of the store: masks for texts, command lines and mappings, and a test for file names.

Everything here is pure and errs on the side of hiding, with one exception that training code needs: names such as
``max_tokens``, ``tokenizer``, ``pad_token`` or ``forward_pass`` are not secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

MASK = "***"
_MAX_DEPTH = 64  # deeper nesting, a cycle for instance, is masked as a whole


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATOR = re.compile(r"[^A-Za-z0-9]+")
_PLAIN_VALUES = frozenset({"", "none", "null", "true", "false", "yes", "no", "on", "off", MASK})

# Joined names (letters and digits only, lower case) that hold a secret wherever these stand in them.
_JOINED = re.compile(
    r"password|passwd|passphrase|credential|authorization|connectionstring|clientsecret|airflowconn"
    r"|(?:api|access|secret|private|account|signing|encryption|auth|shared|master|fernet|deploy|storage|service"
    r"|ssecustomer|encryptioncustomer)key(?!board)"
    r"|(?:auth|access|refresh|bearer|session|security|oauth|identity)token(?!s|iz)"
)
_SECRET_WORDS = frozenset({"secret", "secrets", "pat", "jwt", "cookie", "cookies", "bearer", "otp", "dsn", "sas"})
_SECRET_LAST = frozenset({"auth", "conn", "apikey"})
# A word behind the secret one that makes the name a description of it: token_id, password_file, pass_count …
_DESCRIBES = _words(
    """
    id ids count counts length len type types size dim dims limit level index idx embedding embeddings budget
    dropout file path dir folder name policy ttl expiry expires expired enabled required field prompt stdin sock
    socket method mode ratio prob strategy merging mixing pooling mask masks loss acc accuracy shift position
    positions per rate rates weight weights pattern freq freqs frequency frequencies
    """
)
_HARMLESS_TOKENS = _words(
    """
    pad eos bos unk mask sep cls special image audio video start end stop next prev per new text word sub begin
    first last additional decoder num n max min loss each total input output prompt
    """
)
_HARMLESS_PASSES = _words(
    """
    forward backward single multi first second third one two three low high band last n num max min
    """
)
_NUMBER = re.compile(r"[-+]?\d+([._]\d+)*([eE][-+]?\d+)?")

# Lengths are bounded so that a hostile text cannot make a pattern run for ever.
# The second form of a user part is a password with a slash in it.
_URL_USER = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?P<user>[^\s/?#\"'<>]{0,2000}|[^\s/?#@:\[\]\"'<>]{0,200}:(?!\d+/)[^\s\"'<>]{0,200})@"
)
_NO_PASSWORD = frozenset(
    {"ssh://", "git+ssh://", "ssh+git://", "sftp://", "svn+ssh://", "rsync://", "hdfs://", "abfs://", "abfss://"}
)
_URL_QUERY = re.compile(
    r"(?P<name>[?&;#](?:amp;)?(?:[\w.%-]*(?:password|passwd|pwd|secret|token|signature|credential|apikey|api[_-]key|access[_-]?key"
    r"|accountkey|auth)[\w.%-]*|sig|key|code|sas|jwt)=)(?P<value>[^\s&;#\"'<>]+)",
    re.IGNORECASE,
)
_PAIR_NAME = re.compile(r"(?<![\w.-])(?P<name>-{0,2}[A-Za-z_][\w.-]*)[\"']?\s?[=:]\s?")
_PAIR_VALUE = re.compile(
    r"(?:(?:bearer|basic|negotiate|digest|token)[ \t]+)?"
    r"(?:(?P<bytes>[bru]{0,2})(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')|[^\s\"',;&}\]]+)",
    re.IGNORECASE,
)
_SCHEME_VALUE = re.compile(r"\b(?P<scheme>bearer|basic)\s+(?=\S{0,60}?[\d=])[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_KNOWN = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|\b(?:AKIA|ASIA|AROA|AIDA|ANPA|AGPA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{22,}|\bglpat-[\w-]{20,}"
    r"|\bxox[abeoprs]-[\w-]{10,}|\bsk-[\w-]{20,}|\b[srp]k_(?:live|test)_\w{16,}|\bhf_[A-Za-z0-9]{30,}"
    r"|\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\bnpm_[A-Za-z0-9]{36}|\bpypi-[\w-]{40,}|\bdckr_pat_[\w-]{20,}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",
    re.DOTALL,
)
# Looking for these first is a hundred times faster than the pattern, and most lines of output have none.
_KNOWN_HINTS = tuple(
    _words(
        """
        -----BEGIN AKIA ASIA AROA AIDA ANPA AGPA ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox sk- sk_ rk_ pk_ hf_
        AIza ya29. npm_ pypi- dckr_pat_ SG. eyJ
        """
    )
)


def is_secret_name(name: str, value: object = "?") -> bool:
    """Whether something of this name holds a secret; the value settles the doubtful names (``token=3`` is a number)."""
    verdict = _judge_name(name)
    if verdict == "never" or _is_plain(value):
        return False
    return verdict == "always" or not _is_number(value)


@lru_cache(maxsize=4096)  # the same few names stand in every line of a training's output
def _judge_name(name: str) -> Literal["never", "always", "unless a number"]:
    words = [word.lower() for part in _SEPARATOR.split(name) for word in _CAMEL.split(part) if word]
    if not words or words[-1] in _DESCRIBES:
        return "never"
    if _JOINED.search("".join(words)) or words[-1] in _SECRET_LAST or not _SECRET_WORDS.isdisjoint(words):
        return "always"
    if words[-1] in {"pwd", "pw"}:
        return "always" if len(words) > 1 else "never"  # PWD alone is the working directory
    return "unless a number" if _is_token(words) or _is_pass(words) else "never"


def _is_token(words: Sequence[str]) -> bool:
    if "token" not in words:
        return any(word.endswith("token") and word[:-5] not in _HARMLESS_TOKENS for word in words)
    place = words.index("token")
    before, after = words[max(0, place - 1) : place], words[place + 1 : place + 2]
    return _HARMLESS_TOKENS.isdisjoint(before) and _DESCRIBES.isdisjoint(after)


def _is_pass(words: Sequence[str]) -> bool:
    return words[-1] in {"pass", "pgpass"} and _HARMLESS_PASSES.isdisjoint(words)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool) or (isinstance(value, str) and value.lower() in _PLAIN_VALUES)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)


def mask_url(text: str) -> str:
    """The text with credentials removed from its URLs: user parts, and query values that sign or open."""
    if "://" in text:
        text = _URL_USER.sub(_mask_user, text)
    return _URL_QUERY.sub(rf"\g<name>{MASK}", text) if "=" in text else text


def _mask_user(match: re.Match[str]) -> str:
    scheme, user = match["scheme"], match["user"]
    if not user or (":" not in user and scheme.lower() in _NO_PASSWORD):
        return match[0]
    return f"{scheme}{MASK}@"


def mask_text(text: str) -> str:
    """The text with URL credentials, known key forms, ``Bearer …`` and ``password=…`` pairs masked."""
    text = mask_url(text)
    if any(hint in text for hint in _KNOWN_HINTS):
        text = _KNOWN.sub(MASK, text)
    lowered = text.lower()
    if "bearer" in lowered or "basic" in lowered:
        text = _SCHEME_VALUE.sub(rf"\g<scheme> {MASK}", text)
    return _mask_pairs(text) if "=" in text or ":" in text else text


def _mask_pairs(text: str) -> str:
    pieces: list[str] = []
    done = 0
    for found in _PAIR_NAME.finditer(text):
        if found.start() < done:
            continue  # inside a value that was masked
        value = _PAIR_VALUE.match(text, found.end())
        if value is None or value[0].startswith("//"):
            continue
        kind = value["bytes"] or ""  # of b'…', as headers stand in logs
        quote = value[0][len(kind)] if value[0][len(kind)] in "\"'" else ""
        if is_secret_name(found["name"], value[0][len(kind) :].strip("\"'")):
            pieces += [text[done : value.start()], kind, quote, MASK, quote]
            done = value.end()
    return "".join([*pieces, text[done:]])


def mask_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """The command line with secrets masked: ``--password x``, ``--password=x``, ``password=x`` and inside values."""
    masked: list[str] = []
    hide_next = False
    for argument in argv:
        is_option = argument.startswith("-") and len(argument) > 1 and not _is_number(argument)
        if hide_next and not is_option and is_secret_name(masked[-1], argument):
            masked.append(MASK)
            hide_next = False
            continue
        hide_next = is_option and "=" not in argument and is_secret_name(argument)
        masked.append(mask_text(argument))
    return tuple(masked)


def mask_mapping(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """A copy of the mapping with secret values masked at every depth; keys and harmless values are kept as they are."""
    return {key: _mask_item(key, value, 1) for key, value in mapping.items()}


def mask_value(value: Any) -> Any:
    """The value with secrets masked: texts, bytes, and the items of mappings, lists, tuples and sets."""
    return _mask_value(value, 0)


def _mask_item(key: object, value: Any, depth: int) -> Any:
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    if isinstance(key, str) and is_secret_name(key, value) and value not in ({}, [], ()):
        return MASK
    return _mask_value(value, depth)


def _mask_value(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, bytes):
        return mask_text(value.decode("latin-1")).encode("latin-1")
    if isinstance(value, Mapping):
        return {key: _mask_item(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return (value[0], _mask_item(value[0], value[1], depth + 1))  # a header: ("Authorization", "…")
    if isinstance(value, list | tuple | set | frozenset):
        items = [_mask_value(item, depth + 1) for item in value]
        return items if isinstance(value, list) else (tuple(items) if isinstance(value, tuple) else set(items))
    return value


_SOURCE_SUFFIXES = _words(
    """
    .py .pyi .pyx .ipynb .md .rst .c .h .cc .cpp .cu .go .rs .js .ts .java .sh .html .css .sql .r .jl .pub .crt
    .cer .csr
    """
)
_SECRET_FILES = _words(
    """
    .netrc _netrc .pypirc .npmrc .yarnrc.yml .pgpass .my.cnf .mylogin.cnf .envrc .htpasswd .dockercfg
    .dockerconfigjson .git-credentials .boto .s3cfg .rclone.conf rclone.conf .vault-token .terraformrc
    credentials.tfrc.json kubeconfig kaggle.json adbkey .pgpass.conf credentials credentials.json
    credentials.yaml credentials.yml credentials.toml credentials.ini credentials.csv credentials.db secrets
    secret secrets.json secrets.yaml secrets.yml secrets.toml secrets.ini secret.json secret.yaml secret.yml
    secret.toml client_secret.json service_account.json service-account.json
    application_default_credentials.json token.json tokens.json .token id_rsa id_dsa id_ecdsa id_ecdsa_sk
    id_ed25519 id_ed25519_sk identity.asc
    """
)
_SECRET_SUFFIXES = _words(
    """
    .key .p12 .pfx .jks .jceks .keystore .kdbx .kdb .ppk .p8 .pkcs12 .asc .gpg .ovpn .agekey .keytab .tfvars
    .mobileprovision
    """
)
_SECRET_NAMES = re.compile(
    r"(client_secret|service[-_]?account)[^/]*\.json|(id_(rsa|dsa|ecdsa|ed25519))[-_.][^/]*|.*[-_.]credentials(\.(json|csv|ini))?"
)
_HINT = re.compile("id_|cred|service|client_s")
_SECRET_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".docker", ".azure", ".gcloud"})
_EXAMPLES = frozenset(
    {"example", "examples", "sample", "template", "tmpl", "dist", "default", "defaults", "schema", "j2"}
)
_PUBLIC = frozenset(
    {
        "public",
        "pub",
        "ca",
        "cacert",
        "cacerts",
        "cert",
        "certs",
        "certificate",
        "chain",
        "fullchain",
        "bundle",
        "roots",
        "crl",
    }
)
_PUBLIC_SIGNATURES = frozenset({".asc", ".gpg"})


def looks_secret(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name usually holds secrets: ``.env``, keys, credentials of well-known tools.

    Only the name is judged. Examples (``.env.example``), public halves (``id_rsa.pub``, ``public.pem``, ``cacert.pem``)
    and source code (``credentials.py``) are not secrets.
    """
    path = os.fspath(path)
    folders, _, name = path.replace(os.sep, "/").lower().rpartition("/")
    dot = name.rfind(".")
    suffix = name[dot:] if dot > 0 else ""
    if suffix in _SOURCE_SUFFIXES or not name:
        return False
    if name in _SECRET_FILES or _is_dotenv(name) or (_HINT.search(name) and _SECRET_NAMES.fullmatch(name)):
        return not _is_example(name)
    if suffix == ".pem" or suffix in _SECRET_SUFFIXES:
        return not _is_example(name) and _is_private_half(name, suffix)
    return bool(folders) and not _SECRET_FOLDERS.isdisjoint(folders.split("/")) and not _is_example(name)


def secret_paths(paths: Iterable[str]) -> list[str]:
    """Those of many paths that look like secrets; quick where nearly all are source code."""
    return [path for path in paths if path[path.rfind(".") :] not in _SOURCE_SUFFIXES and looks_secret(path)]


def _is_example(name: str) -> bool:
    return not _EXAMPLES.isdisjoint(_SEPARATOR.split(name))


def _is_dotenv(name: str) -> bool:
    return name == ".env" or name.startswith((".env.", ".env-", ".env_")) or (name.endswith(".env") and len(name) > 4)


def _is_private_half(name: str, suffix: str) -> bool:
    words = set(_SEPARATOR.split(name))
    if suffix in _PUBLIC_SIGNATURES:
        return not words.isdisjoint({"private", "secret", "secring", "priv", "key"}) and words.isdisjoint(
            {"public", "pub"}
        )
    if not words.isdisjoint({"private", "priv"}):
        return True
    return words.isdisjoint(_PUBLIC) or (suffix != ".pem" and suffix != ".key")
