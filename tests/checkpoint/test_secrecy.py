"""Arguments with a secret somewhere inside are not kept, whatever form they would have had."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from tracker.checkpoint.invocations import CapturedCall
from tracker.store.ids import new_id
from tracker.store.open import open_store


@dataclass
class Database:
    host: str
    password: str = "hunter2"


class Client:
    """Of an ordinary class, which only pickle keeps."""

    def __init__(self, url: str = "https://me:hunter2@example.org/x") -> None:
        self.url = url


class Slotted:
    __slots__ = ("api_key",)

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key


class Reduced:
    """Says by itself what pickle writes."""

    def __reduce__(self) -> Any:
        return Client, ("token=hunter2",)


class SecretText:
    """As pydantic names its own."""

    __module__ = "pydantic.types"

    def __init__(self) -> None:
        self.x = "hunter2"


class Login(NamedTuple):
    user: str
    password: str


HOLDERS = [
    Database("db"),
    Client(),
    Slotted("hunter2"),
    Reduced(),
    SecretText(),
    Login("me", "hunter2"),
    {"deep": [{"db": Database("db")}]},
    [Client(), Client("plain")],
    functools.partial(print, auth_token="hunter2"),
    {b"api_key": b"hunter2"},
    [("Authorization", "hunter2")],
    {"postgres://me:hunter2@host/db": 1},
    {"password": ["hunter2"]},
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_form_of_an_argument_keeps_a_secret(holder: Any, tmp_path: Path) -> None:
    """Attributes, slots, fields, items, and what pickle would write; the argument is named as missing instead."""
    store = open_store(tmp_path / "store", create=True)
    call = CapturedCall.of({"self": holder, "lr": 0.5}, hidden=("self",), is_entry=True)

    document = call.write(store, new_id(), new_id())

    assert "holds a secret" in document.missing["self"]
    assert set(document.arguments) == {"lr"}
    everything = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"hunter2" not in everything + str(document.missing).encode()


class Model:
    def __init__(self) -> None:
        self.class_token, self.max_tokens, self.password = np.zeros(3), 5, None
        self.logger = logging.getLogger("model")


HARMLESS = [
    Model(),
    {"token": 3, "pad_token": "<pad>", "auth": {}},
    Client("https://x.org"),
    {"cookie": 2, "pat": 3, "password": 1},  # how often words occur
    Database("db", ""),
    {"current_token": "the", "id_to_token": {0: "the", 1: "cookie"}, "token_freqs": {"the": 2}},
    CountVectorizer().fit(["a cookie and a password"]),
]


@pytest.mark.parametrize("value", HARMLESS, ids=lambda value: type(value).__name__)
def test_what_only_sounds_like_a_secret_is_kept(value: Any) -> None:
    """Arrays, numbers, words and special tokens, patterns, and empty places."""
    call = CapturedCall.of({"value": value}, is_entry=True)

    assert (call.missing, set(call.trees)) == ({}, {"value"})


def test_half_a_secret_is_not_shown_either() -> None:
    """A description is cut where a password stands."""
    call = CapturedCall.of({"db": Database("h" * 160, "hunter2" * 10)}, is_entry=False)

    assert "hunter2" not in str(call.shown)
