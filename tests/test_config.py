"""Settings: where they come from, and that one which cannot be used is named with its source."""

from __future__ import annotations

import math
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

import tracker
from tracker.config import CHANNELS, Settings, load_settings, project_arguments
from tracker.errors import BadSetting, StoreReadOnly
from tracker.record.spool import without_home


def test_the_nearest_source_wins(tmp_path: Path) -> None:
    """Call, environment, pyproject, default."""
    (tmp_path / "pyproject.toml").write_text('[tool.hindsight]\nstore = "a"\nproject = "a"\nfsync = "each"\n')
    environ = {"HINDSIGHT_STORE": "b", "HINDSIGHT_PROJECT": "b", "HINDSIGHT_UNKNOWN": "x", "HINDSIGHT_RUN_ID": "y"}

    found = load_settings(tmp_path, environ=environ, overrides={"store": "c", "heartbeat_s": None})

    assert found == Settings(store="c", project="b", fsync="each")


def test_texts_of_the_environment_are_converted(tmp_path: Path) -> None:
    """Numbers, lists and JSON."""
    environ = {
        "HINDSIGHT_JOURNAL_BYTES": "65536", "HINDSIGHT_HEARTBEAT_S": "0.5", "HINDSIGHT_CAPTURE": "code, output",
        "HINDSIGHT_STORAGE_OPTIONS": '{"anon": true}', "HINDSIGHT_ENVIRONMENT_ALLOW": "",
        "HINDSIGHT_SLURM": '{"partition": "gpu", "time": 60}',
    }  # fmt: skip

    found = load_settings(tmp_path, environ=environ)

    assert (found.journal_bytes, found.heartbeat_s, found.capture) == (65536, 0.5, ("code", "output"))
    assert (found.storage_options, found.environment_allow) == ({"anon": True}, ())
    assert found.slurm == {"partition": "gpu", "time": 60}
    assert load_settings(tmp_path, environ={"HINDSIGHT_CAPTURE": ""}).capture == ()
    assert load_settings(tmp_path, environ={}).capture == CHANNELS


BAD: list[tuple[str, Any]] = [
    ("journal_bytes", "many"), ("journal_bytes", 0), ("fsync", "maybe"), ("on_full", "explode"), ("heartbeat_s", 0),
    ("heartbeat_s", math.nan), ("flush_interval_s", -1), ("max_text_bytes", 1 << 40), ("capture", ["everything"]),
    ("store", 5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, name: str, value: Any) -> None:
    """The message has the name of the setting."""
    with pytest.raises(BadSetting, match=name):
        load_settings(tmp_path, environ={}, overrides={name: value})


def test_a_typo_gets_the_nearest_name(tmp_path: Path) -> None:
    """In a call; a variable of another program is passed over."""
    with pytest.raises(BadSetting, match="did you mean 'journal_bytes'"):
        load_settings(tmp_path, environ={"HINDSIGHT_JURNAL_BYTES": "1"}, overrides={"jurnal_bytes": 1})


def test_secrets_in_storage_options_are_not_shown(tmp_path: Path) -> None:
    """Neither as JSON that does not parse nor as a value of another type."""
    for value in ('{"secret": "hunter2"', '["hunter2"]'):
        with pytest.raises(BadSetting) as caught:
            load_settings(tmp_path, environ={"HINDSIGHT_STORAGE_OPTIONS": value})
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["[tool.hindsight", "tool.hindsight = 5", "\xff"])
def test_a_pyproject_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    """With the file and the place."""
    (tmp_path / "pyproject.toml").write_bytes(text.encode("latin-1"))

    with pytest.raises(BadSetting, match=r"pyproject\.toml"):
        load_settings(tmp_path, environ={})


def test_arguments_of_the_project_are_a_table(tmp_path: Path) -> None:
    """They are no settings, and anything but a table is refused."""
    (tmp_path / "pyproject.toml").write_text("[tool.hindsight.args]\nlr = 0.5\n")
    assert project_arguments(tmp_path) == {"lr": 0.5}
    assert load_settings(tmp_path, environ={}) == Settings()

    (tmp_path / "pyproject.toml").write_text("[tool.hindsight]\nargs = 5\n")
    with pytest.raises(BadSetting, match="expected a table of name = value"):
        project_arguments(tmp_path)


def test_a_spool_of_a_user_without_a_home_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that others may write to, or a link, could send records elsewhere."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = without_home()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert without_home() == folder

    folder.chmod(0o755)  # as earlier versions made it
    assert without_home() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    with pytest.raises(StoreReadOnly, match=f"`chmod 700 {folder}`.*HINDSIGHT_SPOOL"):
        without_home()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(StoreReadOnly, match="not this user's alone"):
        without_home()


def test_a_spool_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The message has the folder and the setting that chooses another."""
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="setting spool") as caught:
        tracker.init(store="memory://spool", spool=tmp_path / "file" / "spool", capture=())
    assert type(caught.value).__module__ == "tracker.errors"
