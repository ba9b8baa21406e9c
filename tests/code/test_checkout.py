"""Any run's code comes back from the store alone, and a hostile store can write nowhere else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from tracker.code import shipping
from tracker.code.bundle import read_header
from tracker.code.checkout import checkout
from tracker.code.difference import code_diff, source_files
from tracker.code.snapshot import SnapshotSettings, take_snapshot
from tracker.errors import CodeError, DamagedObject, KeyNotFound, NotFound
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, CodeFile, Snapshot, encode
from tracker.store.open import open_store

if TYPE_CHECKING:
    from conftest import Repo

    Make = Callable[..., Repo]


def _history(repo: Repo, store: Store, count: int) -> list[CodeDocument]:
    documents = []
    for number in range(count):
        repo.write("train.py", f"step = {number}\n" * 50)
        documents.append(take_snapshot(repo.folder, store))
    return documents


def test_checkout_is_a_clean_repository(repo: Repo, store: Store, tmp_path: Path) -> None:
    """Git works in the folder: HEAD stands on the snapshot, nothing is changed, no remote, no hook."""
    repo.write("train.py", "changed\n")
    document = take_snapshot(repo.folder, store)

    result = checkout(store, document, tmp_path / "out")

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=result.folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert git("rev-parse", "HEAD") == document.commit == result.commit
    assert (git("status", "--porcelain"), git("remote"), git("fsck", "--strict")) == ("", "", "")
    assert not (result.folder / ".git" / "hooks").exists()


def test_every_version_of_a_long_chain_comes_back(
    repo: Repo, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles build on earlier ones, chains stay bounded, and each version is whole."""
    monkeypatch.setattr(shipping, "MAX_DEPTH", 3)
    for number in range(200):
        repo.write(f"lib/module{number}.py", os.urandom(200).hex())
    documents = _history(repo, store, 9)

    depths = [shipping.read_snapshot(store, document.snapshot or "").depth for document in documents]
    sizes = [store.info(keys.code_bundle(document.snapshot or "")).size_bytes for document in documents]

    assert depths == [0, 1, 2, 3, 1, 2, 3, 1, 2]
    assert max(sizes[1:]) < sizes[0] / 20
    for number, document in enumerate(documents):
        folder = checkout(store, document, tmp_path / f"out{number}").folder
        assert (folder / "train.py").read_text() == f"step = {number}\n" * 50


def test_a_change_of_everything_starts_a_new_full_bundle(repo: Repo, store: Store) -> None:
    """A thin bundle that shares little with the full one is not worth a chain."""
    _history(repo, store, 2)
    repo.write("src/net.py", os.urandom(20_000).hex())
    document = take_snapshot(repo.folder, store)

    assert shipping.read_snapshot(store, document.snapshot or "").depth == 0
    assert read_header(store.get(keys.code_bundle(document.snapshot or "")), name="x").needs == ()


def test_a_fresh_clone_builds_on_what_the_store_has(repo: Repo, store: Store, tmp_path: Path) -> None:
    """A worker that clones the repository anew sends only what it changed."""
    for number in range(50):
        repo.write(f"lib/module{number}.py", os.urandom(200).hex())
    repo.commit("second")
    first = take_snapshot(repo.folder, store)
    repo.git("clone", "-q", str(repo.folder), str(tmp_path / "clone"))
    (tmp_path / "clone" / "train.py").write_text("elsewhere\n")

    second = take_snapshot(tmp_path / "clone", store)

    assert read_header(store.get(keys.code_bundle(second.snapshot or "")), name="x").needs == (first.snapshot,)
    assert (checkout(store, second, tmp_path / "out").folder / "train.py").read_text() == "elsewhere\n"


def test_plain_git_reads_the_bundles(repo: Repo, store: Store, tmp_path: Path) -> None:
    """Without Hindsight, `git fetch` of the bundles in order brings the code back."""
    documents = _history(repo, store, 3)
    plain = tmp_path / "plain"
    subprocess.run(["git", "init", "-q", str(plain)], check=True)

    for document in documents:
        bundle = store.local_path(keys.code_bundle(document.snapshot or ""))
        spec = "+refs/hindsight/*:refs/hindsight/*"
        subprocess.run(["git", "-C", str(plain), "fetch", "-q", str(bundle), spec], check=True)
    shown = subprocess.run(
        ["git", "-C", str(plain), "show", f"{documents[2].commit}:train.py"], capture_output=True, check=True
    )

    assert shown.stdout == b"step = 2\n" * 50


def test_bases_that_are_gone_from_the_clone_do_no_harm(repo: Repo, store: Store, tmp_path: Path) -> None:
    """When the user prunes our refs, the next snapshot is sent whole."""
    _history(repo, store, 2)
    for line in repo.git("for-each-ref", "--format=%(refname)", "refs/hindsight").splitlines():
        repo.git("update-ref", "-d", line)
    repo.git("prune", "--expire=now")
    repo.write("train.py", "after pruning\n")

    document = take_snapshot(repo.folder, store)

    assert document.problem is None
    assert (checkout(store, document, tmp_path / "out").folder / "train.py").read_text() == "after pruning\n"


@pytest.mark.parametrize("address", ["memory://code", "store with spaces"])
def test_other_stores(repo: Repo, tmp_path: Path, address: str) -> None:
    """A snapshot does not care where it is kept."""
    store = open_store(address if ":" in address else tmp_path / address)
    documents = _history(repo, store, 2)

    assert (checkout(store, documents[1], tmp_path / "out").folder / "train.py").read_text() == "step = 1\n" * 50


def test_a_folder_that_is_not_empty_is_left_alone(repo: Repo, store: Store) -> None:
    """Nothing of the user's is overwritten."""
    document = take_snapshot(repo.folder, store)

    with pytest.raises(CodeError, match="not an empty folder"):
        checkout(store, document, repo.folder)


def test_runs_without_code_and_stores_without_the_snapshot(repo: Repo, store: Store, tmp_path: Path) -> None:
    """What is missing is said, and no folder is left behind."""
    other = open_store(tmp_path / "other")
    repo.write("src/net.py", os.urandom(5000).hex())
    documents = _history(repo, store, 2)
    base, thin = (document.snapshot or "" for document in documents)
    for key in (keys.code_document(thin), keys.code_bundle(thin)):
        other.put(key, store.get(key))

    with pytest.raises(NotFound, match="capturing code was switched off"):
        checkout(store, CodeDocument(), tmp_path / "out")
    with pytest.raises(KeyNotFound):
        checkout(open_store(tmp_path / "empty"), documents[0], tmp_path / "out")
    with pytest.raises(KeyNotFound, match=f"needs {base}"):
        checkout(other, documents[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["cut", "header", "flipped"])
def test_damaged_bundles_are_noticed(repo: Repo, store: Store, tmp_path: Path, damage: str) -> None:
    """A bundle that is cut short or changed gives an error of ours and no half-written folder."""
    document = take_snapshot(repo.folder, store)
    key = keys.code_bundle(document.snapshot or "")
    data = bytearray(store.get(key))
    if damage == "cut":
        del data[-30:]
    elif damage == "header":
        data[:10] = b"#!/bin/sh\n"
    else:
        data[-40] ^= 1
    store.put(key, bytes(data))

    with pytest.raises(DamagedObject):
        checkout(store, document, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _forge(repo: Repo, store: Store, entries: list[tuple[str, str, str]]) -> str:
    """Put a snapshot into the store whose top tree has these entries: mode, name, object."""
    body = b"".join(
        f"{mode} ".encode() + os.fsencode(name) + b"\0" + bytes.fromhex(digest) for mode, name, digest in entries
    )
    target = repo.folder / "tree"
    target.write_bytes(body)
    tree = repo.git("hash-object", "-t", "tree", "-w", "--literally", "tree")
    commit = repo.git("commit-tree", "-m", "evil", tree)
    packed = subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q"],
        cwd=repo.folder,
        input=f"{commit}\n".encode(),
        capture_output=True,
        check=True,
    ).stdout
    store.put(keys.code_bundle(commit), f"# v2 git bundle\n{commit} refs/x\n\n".encode() + packed)
    store.put(
        keys.code_document(commit),
        encode(Snapshot(snapshot=commit, kind="git", created=0.0, size_bytes=len(packed))),
    )
    return commit


@pytest.mark.parametrize("name", ["../evil", "..", ".git", ".GIT", "/tmp/evil", "a/../../evil", "."])
def test_hostile_names_in_a_bundle_are_refused(repo: Repo, store: Store, tmp_path: Path, name: str) -> None:
    """Trees whose names lead out of the folder or into .git write nothing at all."""
    repo.write("payload", "evil\n")
    blob = repo.git("hash-object", "-w", "payload")
    commit = _forge(repo, store, [("100644", name, blob)])

    with pytest.raises((DamagedObject, CodeError)):
        checkout(store, commit, tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "out").exists()
    assert not (tmp_path / "deep" / "evil").exists()


def test_files_are_not_written_through_links_of_a_bundle(repo: Repo, store: Store, tmp_path: Path) -> None:
    """A tree that holds a link out and a folder of the same name cannot reach what the link leads to."""
    outside = tmp_path / "outside"
    outside.mkdir()
    repo.write("payload", "evil\n")
    repo.write("target", str(outside))
    blob, target = (repo.git("hash-object", "-w", name) for name in ("payload", "target"))
    inner = (
        subprocess.run(
            ["git", "mktree"],
            cwd=repo.folder,
            input=f"100644 blob {blob}\tfile\n".encode(),
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .strip()
    )
    commit = _forge(repo, store, [("120000", "a", target), ("40000", "a", inner)])

    try:
        checkout(store, commit, tmp_path / "out")
    except (CodeError, DamagedObject):
        assert not (tmp_path / "out").exists()

    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "links",
    [
        {"a": "/etc"},
        {"a": "../.."},
        {"b/c": "../../x"},
        {"s/t": "..", "evil": "s/t/.."},
        {"x": "y", "y": "/etc/passwd"},
    ],
)
def test_links_that_lead_out_are_refused_however_they_do_it(
    make_repo: Make, store: Store, tmp_path: Path, links: dict[str, str]
) -> None:
    """Absolute links, dots, and chains of links are followed as the system follows them."""
    repo = make_repo()
    for path, target in links.items():
        (repo.folder / path).parent.mkdir(exist_ok=True)
        (repo.folder / path).symlink_to(target)

    result = checkout(store, take_snapshot(repo.folder, store), tmp_path / "out")

    assert result.refused
    inside = os.path.realpath(result.folder)
    for path in result.folder.rglob("*"):
        assert os.path.realpath(path).startswith(inside)


@pytest.mark.parametrize(
    "paths",
    [
        ["../evil"],
        ["/tmp/evil"],
        [".git/config"],
        ["a/./b"],
        ["a//b"],
        ["link", "link/evil"],
        ["link", "link/link"],
        ["link", "link/x/link"],
        [""],
    ],
)
def test_hostile_lists_of_files_are_refused(store: Store, tmp_path: Path, paths: list[str]) -> None:
    """A snapshot of a folder without git is held to the same rules."""
    (tmp_path / "outside").mkdir()
    content = os.fsencode(tmp_path / "outside")
    digest = blake3(content).hexdigest()
    store.put(keys.object_key(digest), content)
    kinds = ["link" if path.endswith("link") else "file" for path in paths]
    files = tuple(
        CodeFile(path=path, digest=digest, size_bytes=len(content), kind=kind)  # type: ignore[arg-type]
        for path, kind in zip(paths, kinds, strict=True)
    )
    document = Snapshot(snapshot="files-x", kind="files", created=0.0, size_bytes=0, files=files)
    store.put(keys.code_document("files-x"), encode(document))

    with pytest.raises(DamagedObject):
        checkout(store, "files-x", tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "out").exists()
    assert not (tmp_path / "deep" / "evil").exists()
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_project_folder_outside_the_snapshot_is_refused(repo: Repo, store: Store, tmp_path: Path) -> None:
    """The document of a run cannot point the caller somewhere else either."""
    document = take_snapshot(repo.folder, store)
    forged = CodeDocument(snapshot=document.snapshot, subfolder="../../etc")

    with pytest.raises(DamagedObject, match="not below the snapshot"):
        checkout(store, forged, tmp_path / "out")


def test_diff_between_two_runs(repo: Repo, store: Store) -> None:
    """The unified diff names what changed, was added and was removed; the same code gives nothing."""
    first = take_snapshot(repo.folder, store)
    repo.write("train.py", "print('second')\n")
    repo.write("new.py", "x\n")
    (repo.folder / "src" / "net.py").unlink()
    second = take_snapshot(repo.folder, store)

    text = code_diff(store, first, second)

    assert "-print('first')\n+print('second')\n" in text
    assert "+++ b/new.py" in text
    assert "deleted file mode 100644" in text
    assert code_diff(store, first, first) == ""


def test_diff_looks_into_repositories_inside(repo: Repo, make_repo: Make, store: Store) -> None:
    """A change in a submodule is shown with its path."""
    library = make_repo("library")
    repo.git("submodule", "add", "-q", str(library.folder), "lib")
    first = take_snapshot(repo.folder, store)
    repo.write("lib/src/net.py", "layers = 3\n")
    second = take_snapshot(repo.folder, store)

    text = code_diff(store, first, second)

    assert "--- a/lib/src/net.py" in text
    assert "+layers = 3" in text


def test_diff_between_git_and_a_plain_folder(repo: Repo, store: Store, tmp_path: Path) -> None:
    """Code from a repository and from a folder without one can be compared."""
    first = take_snapshot(repo.folder, store)
    plain = tmp_path / "plain"
    (plain / "src").mkdir(parents=True)
    (plain / "train.py").write_text("print('first')")
    (plain / "src" / "net.py").write_text("layers = 2\n")
    (plain / "data.bin").write_bytes(b"\0\1")
    second = take_snapshot(plain, store)

    text = code_diff(store, first, second)

    assert second.commit is None
    assert "-print('first')\n+print('first')\n\\ No newline at end of file\n" in text
    assert "Binary files /dev/null and b/data.bin differ" in text
    assert "net.py" not in text


def test_source_files_are_read_without_a_checkout(repo: Repo, store: Store) -> None:
    """The files of a version, with modes and exact bytes, in one call."""
    repo.write("data.bin", b"\0\xff\n")
    repo.write("run.sh", "x").chmod(0o755)

    files = source_files(store, take_snapshot(repo.folder, store))

    assert set(files) == {"train.py", "src/net.py", "data.bin", "run.sh"}
    assert files["data.bin"].content == b"\0\xff\n"
    assert (files["run.sh"].mode, files["train.py"].mode) == ("100755", "100644")


def test_settings_of_the_machine_do_not_reach_a_checkout(repo: Repo, store: Store, tmp_path: Path) -> None:
    """Templates with hooks, filters and line-end settings of the user who checks out are not used."""
    mark = tmp_path / "mark"
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    (template / "post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (template / "post-checkout").chmod(0o755)
    repo.write(".gitattributes", "*.py filter=evil\n")
    document = take_snapshot(repo.folder, store)
    for setting in (
        ("init.templateDir", str(template.parent)),
        ("core.hooksPath", str(template)),
        ("core.autocrlf", "true"),
        ("filter.evil.smudge", f"touch {mark}; cat"),
    ):
        repo.git("config", "--global", *setting)

    result = checkout(store, document, tmp_path / "out")

    assert (result.folder / "train.py").read_bytes() == b"print('first')\n"
    assert not mark.exists()


def test_settings_can_ask_for_a_secret(repo: Repo, store: Store) -> None:
    """A pattern in the settings brings in what would be left out, and another leaves out more."""
    repo.write("dev.env", "A=1")
    settings = SnapshotSettings(include=("dev.env",), exclude=("src/",))

    document = take_snapshot(repo.folder, store, settings=settings)

    assert set(repo.files(document.commit or "")) == {"train.py", "dev.env"}
