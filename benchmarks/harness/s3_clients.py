"""The commands that bring a folder to an S3 server: ours and those of the peers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.s3_server import KEY, SECRET, program

# What its documentation advises for S3, and the quickest of it: one listing, sizes alone compared, more at a time.
_RCLONE = ("--fast-list", "--size-only", "--transfers", "16", "--checkers", "16")


def command_of(subject: str, store: Path, endpoint: str, *, merge: bool = False) -> tuple[list[str], dict[str, str]]:
    """The words of a subject's command and its environment; with ``merge`` what is there already stays."""
    return _COMMANDS[subject](store, endpoint, merge)


def aws_environment(endpoint: str) -> dict[str, str]:
    """What leads a client of S3 to the server."""
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    return keys | {"AWS_ENDPOINT_URL": endpoint}


def _hindsight(store: Path, endpoint: str, merge: bool) -> tuple[list[str], dict[str, str]]:
    variables = aws_environment(endpoint) | {"XDG_CACHE_HOME": str(Path("cache").resolve())}
    return [sys.executable, "-m", "tracker", "sync", str(store), "s3://bucket"], variables


def _rclone(store: Path, endpoint: str, merge: bool) -> tuple[list[str], dict[str, str]]:
    remote = {"TYPE": "s3", "PROVIDER": "Rclone", "ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET}
    variables = {f"RCLONE_CONFIG_THERE_{name}": value for name, value in remote.items()}
    variables |= {"RCLONE_CONFIG": os.devnull, "RCLONE_CONFIG_THERE_ENDPOINT": endpoint}
    return [program("rclone"), "copy" if merge else "sync", str(store), "there:bucket", *_RCLONE], variables


def _awscli(store: Path, endpoint: str, merge: bool) -> tuple[list[str], dict[str, str]]:
    words = ["--endpoint-url", endpoint, "s3", "sync", "--only-show-errors", str(store), "s3://bucket"]
    variables = {"AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}
    return [program("aws"), *words], aws_environment(endpoint) | variables


_COMMANDS = {"hindsight": _hindsight, "rclone": _rclone, "awscli": _awscli}
