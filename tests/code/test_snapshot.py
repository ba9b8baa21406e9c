"""Snapshots hold what ran, in every kind of repository, and change nothing of the user's."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tracker.code.checkout import checkout
from tracker.code.snapshot import SnapshotSettings, start_snapshot, take_snapshot
from tracker.store.base import Store
from tracker.store.open import open_store

if TYPE_CHECKING:
    from conftest import Repo

    Watch = Callable[[Repo], Callable[[], None]]
    Make = Callable[..., Repo]


def test_snapshot_has_changes_new_files_and_no_ignored_ones(repo: Repo, store: Store, unchanged: Watch) -> None:
    """Edited, staged, new and deleted files stand as they are on disk; ignored ones do not."""
    repo.write(".gitignore", "*.log\n")
    repo.write("old.py", "gone\n")
    repo.commit("second")
    (repo.folder / "old.py").unlink()
    repo.write("train.py", "print('staged')\n")
    repo.git("add", "train.py")
    repo.write("train.py", "print('edited')\n")
    repo.write("new.py", "fresh\n")
    repo.write("debug.log", "noise\n")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store)

    compare()
    assert document.commit is not None
    assert repo.files(document.commit) == {
        ".gitignore": "*.log",
        "train.py": "print('edited')",
        "src/net.py": "layers = 2",
        "new.py": "fresh",
    }
    assert (document.dirty, document.branch, document.head) == (True, "main", repo.git("rev-parse", "HEAD"))
    assert document.problem is None


def test_clean_tree_is_clean_and_shares_one_snapshot(repo: Repo, store: Store, unchanged: Watch) -> None:
    """Equal files give the same snapshot, whoever takes it, and nothing new is written."""
    compare = unchanged(repo)

    first = take_snapshot(repo.folder, store)
    keys = sorted(info.key for info in store.list("code/"))
    second = take_snapshot(repo.folder, store)

    compare()
    assert not first.dirty
    assert first == second
    assert keys == sorted(info.key for info in store.list("code/"))
    assert len(keys) == 2


def test_hooks_do_not_run(repo: Repo, store: Store, tmp_path: Path, unchanged: Watch) -> None:
    """Hooks that would leave a mark and fail are neither run nor in the way, wherever they stand."""
    mark = tmp_path / "mark"
    repo.add_hooks(mark)
    shutil.copytree(repo.folder / ".git" / "hooks", tmp_path / "hooks")
    repo.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    repo.git("config", "core.fsmonitor", str(tmp_path / "hooks" / "fsmonitor-watchman"))
    repo.write("train.py", "changed\n")

    document = take_snapshot(repo.folder, store)
    shown = mark.read_text() if mark.exists() else ""

    assert document.problem is None
    assert document.dirty
    assert shown == ""


def test_no_identity_and_no_commit_yet(make_repo: Make, store: Store, unchanged: Watch) -> None:
    """A repository that has no commit, and a user without name and address, are no obstacle."""
    repo = make_repo(commit=False)
    repo.write("train.py", "start\n")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store)

    compare()
    assert (document.head, document.branch, document.dirty, document.problem) == (None, "main", True, None)
    assert repo.files(document.commit or "") == {"train.py": "start"}


def test_detached_head(repo: Repo, store: Store, unchanged: Watch) -> None:
    """A detached HEAD has no branch and stays where it is."""
    repo.git("checkout", "-q", "--detach")
    repo.write("train.py", "changed\n")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store)

    compare()
    assert document.branch is None
    assert document.head == repo.git("rev-parse", "HEAD")
    assert document.problem is None


def test_linked_worktree(repo: Repo, store: Store, tmp_path: Path, unchanged: Watch) -> None:
    """A linked worktree is captured with its own files, branch and index, and the main one is left alone."""
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "train.py").write_text("side\n")
    compare = unchanged(repo)

    document = take_snapshot(tmp_path / "side", store)

    compare()
    assert (document.branch, document.dirty, document.problem) == ("side", True, None)
    assert repo.files(document.commit or "")["train.py"] == "side"


def test_project_in_a_subfolder(repo: Repo, store: Store, tmp_path: Path) -> None:
    """The whole repository is captured, and the document says where the project stands in it."""
    repo.write("exp/one/run.py", "x\n")
    repo.write("exp/one/.hindsightignore", "/big\n")
    repo.write("exp/one/big/data.bin", "0")

    document = take_snapshot(repo.folder / "exp" / "one", store)
    result = checkout(store, document, tmp_path / "out")

    assert document.subfolder == "exp/one"
    assert (result.project / "run.py").read_text() == "x\n"
    assert (result.folder / "train.py").exists()
    assert document.left_out == {"exp/one/big/data.bin": "left out by .hindsightignore or the settings"}


def test_project_that_a_surrounding_repository_ignores(repo: Repo, store: Store, tmp_path: Path) -> None:
    """A home folder under git that ignores everything is not the project's repository."""
    repo.write(".gitignore", "*\n")
    repo.write("work/run.py", "x\n")

    document = take_snapshot(repo.folder / "work", store)

    assert document.commit is None
    assert document.snapshot is not None
    assert (checkout(store, document, tmp_path / "out").folder / "run.py").read_text() == "x\n"


def test_large_and_secret_files_stay_out_and_are_listed(repo: Repo, store: Store) -> None:
    """What is too large or looks like a secret is named with the reason, unless it was asked for."""
    repo.write("weights.bin", b"0" * 5000)
    repo.write("init.bin", b"1" * 5000)
    repo.write(".env", "TOKEN=1")
    repo.write("ci.env", "A=1")
    repo.write(".hindsightignore", "scratch/\n!init.bin\n!ci.env\n")
    repo.write("scratch/x.py", "x")

    document = take_snapshot(repo.folder, store, settings=SnapshotSettings(max_file_bytes=4000))

    assert document.left_out == {
        "weights.bin": "5,000 bytes are more than 4,000",
        ".env": "looks like a secret",
        "scratch/x.py": "left out by .hindsightignore or the settings",
    }
    kept = set(repo.files(document.commit or ""))
    assert {"init.bin", "ci.env"} <= kept
    assert not kept & set(document.left_out)


def test_tracked_secret_stays_out_and_the_tree_is_still_clean(repo: Repo, store: Store, unchanged: Watch) -> None:
    """A secret that was committed is not copied into the store either; a large file that git has is."""
    repo.write("deploy/id_rsa", "-----BEGIN")
    repo.write("table.csv", b"0" * 5000)
    repo.commit("second")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store, settings=SnapshotSettings(max_file_bytes=4000))

    compare()
    assert document.left_out == {"deploy/id_rsa": "looks like a secret"}
    assert not document.dirty
    assert "table.csv" in repo.files(document.commit or "")


def test_large_change_of_a_tracked_file_is_left_out_and_not_replaced_by_the_old_one(repo: Repo, store: Store) -> None:
    """Old content under the name of a changed file would be wrong in silence."""
    repo.write("train.py", b"#" * 5000)

    document = take_snapshot(repo.folder, store, settings=SnapshotSettings(max_file_bytes=4000))

    assert list(document.left_out) == ["train.py"]
    assert document.dirty
    assert set(repo.files(document.commit or "")) == {"src/net.py"}


def test_more_new_files_than_the_budget(repo: Repo, store: Store) -> None:
    """Beyond the budget code goes before data, and the rest is listed."""
    for number in range(5):
        repo.write(f"data/{number}.bin", b"0" * 100)
    repo.write("deep/er/est/module.py", "x")

    document = take_snapshot(repo.folder, store, settings=SnapshotSettings(max_new_files=3))

    kept = set(repo.files(document.commit or ""))
    assert "deep/er/est/module.py" in kept
    assert len(kept) == 2 + 3
    assert set(document.left_out.values()) == {"beyond 3 new files"}
    assert len(document.left_out) == 3


@pytest.mark.parametrize(
    "name", [b"a b.py", b"new\nline.py", b"tab\t.py", b'quote".py', b"odd\xff\xfe.py", "grüße.py".encode()]
)
def test_odd_file_names(repo: Repo, store: Store, tmp_path: Path, name: bytes) -> None:
    """Names with spaces, line ends, quotes and bytes that are not UTF-8 come back as they were."""
    path = os.path.join(os.fsencode(repo.folder), name)
    with open(path, "wb") as file:
        file.write(b"x")

    document = take_snapshot(repo.folder, store)
    result = checkout(store, document, tmp_path / "out")

    assert document.problem is None
    assert name in os.listdir(os.fsencode(result.folder))


def test_links_and_executable_bits(repo: Repo, store: Store, tmp_path: Path) -> None:
    """Links stay links, also to nothing and out of the tree; executables stay executable."""
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (repo.folder / "inside").symlink_to("src/net.py")
    (repo.folder / "dangling").symlink_to("nowhere")
    (repo.folder / "data").symlink_to(tmp_path)

    document = take_snapshot(repo.folder, store)
    result = checkout(store, document, tmp_path / "out")

    assert os.access(result.folder / "run.sh", os.X_OK)
    assert os.readlink(result.folder / "inside") == "src/net.py"
    assert os.readlink(result.folder / "dangling") == "nowhere"
    assert result.refused == {"data": f"a link that leads out of the folder, to {tmp_path}"}
    assert os.readlink(checkout(store, document, tmp_path / "kept", outside_links=True).folder / "data") == str(
        tmp_path
    )


def test_special_and_unreadable_files_do_not_stop_it(repo: Repo, store: Store) -> None:
    """A socket, a pipe and a tracked file that became a folder or a pipe are passed over."""
    os.mkfifo(repo.folder / "pipe")
    repo.write("was_file", "x")
    repo.write("was_pipe", "x")
    repo.commit("second")
    (repo.folder / "was_file").unlink()
    repo.write("was_file/now.py", "folder\n")
    (repo.folder / "was_pipe").unlink()
    os.mkfifo(repo.folder / "was_pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(repo.folder)
        listener.bind("socket")

        document = take_snapshot(repo.folder, store)

    assert document.problem is None
    assert set(repo.files(document.commit or "")) == {"train.py", "src/net.py", "was_file/now.py"}
    assert document.left_out == {"was_pipe": "neither a file nor a link"}


def test_same_size_edit_within_the_clock_tick_is_seen(repo: Repo, store: Store) -> None:
    """Git trusts file times only against the time of its index, so the copied index must keep that time."""
    for text in ("aaaa\n", "bbbb\n", "cccc\n"):
        path = repo.write("racy.py", text)
        repo.git("add", "racy.py")
        times = path.stat()
        repo.write("racy.py", text.upper())
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.utime(repo.folder / ".git" / "index", ns=(times.st_atime_ns, times.st_mtime_ns))

        document = take_snapshot(repo.folder, store)

        assert repo.files(document.commit or "")["racy.py"] == text.upper().strip()


def test_files_that_git_was_told_not_to_look_at(repo: Repo, store: Store, unchanged: Watch) -> None:
    """The exact code counts, also behind assume-unchanged and skip-worktree."""
    repo.git("update-index", "--assume-unchanged", "train.py")
    repo.git("update-index", "--skip-worktree", "src/net.py")
    repo.write("train.py", "hidden edit\n")
    repo.write("src/net.py", "hidden too\n")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store)

    compare()
    assert repo.files(document.commit or "") == {"train.py": "hidden edit", "src/net.py": "hidden too"}
    assert document.dirty


def test_conflicts_and_intent_to_add(repo: Repo, store: Store, unchanged: Watch) -> None:
    """In the middle of a merge the files are taken as they lie there, markers and all."""
    repo.git("checkout", "-q", "-b", "other")
    repo.write("train.py", "theirs\n")
    repo.commit("theirs")
    repo.git("checkout", "-q", "main")
    repo.write("train.py", "ours\n")
    repo.commit("ours")
    repo.git("merge", "other", check=False)
    repo.write("later.py", "soon\n")
    repo.git("add", "-N", "later.py")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store)

    compare()
    files = repo.files(document.commit or "")
    assert "<<<<<<<" in files["train.py"]
    assert files["later.py"] == "soon"


def test_index_lock_of_a_concurrent_git(repo: Repo, store: Store, unchanged: Watch) -> None:
    """A git command of the user that holds the index does not stop a snapshot, and is not disturbed."""
    repo.write(".git/index.lock", "theirs")
    repo.write("train.py", "changed\n")
    before = (repo.folder / ".git" / "index").read_bytes()

    document = take_snapshot(repo.folder, store)

    assert document.problem is None
    assert repo.files(document.commit or "")["train.py"] == "changed"
    assert (repo.folder / ".git" / "index.lock").read_text() == "theirs"
    assert (repo.folder / ".git" / "index").read_bytes() == before


def test_environment_of_a_hook(repo: Repo, make_repo: Make, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_DIR, GIT_INDEX_FILE and settings of another repository in the environment lead nowhere."""
    other = make_repo("other")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.folder / ".git" / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/nowhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "broken")

    document = take_snapshot(repo.folder, store)

    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name)
    assert document.problem is None
    assert document.head == repo.git("rev-parse", "HEAD")
    assert "refs/hindsight" not in other.git("for-each-ref")


def test_separate_git_folder_of_the_environment(
    make_repo: Make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A work tree whose repository is named only by GIT_DIR and GIT_WORK_TREE is captured."""
    repo = make_repo()
    (repo.folder / ".git").rename(tmp_path / "elsewhere.git")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repo.folder))
    repo.write("train.py", "changed\n")

    document = take_snapshot(repo.folder, store)

    assert document.branch == "main"
    assert repo.files(document.commit or "")["train.py"] == "changed"


def test_sha256_repository(make_repo: Make, store: Store, tmp_path: Path, unchanged: Watch) -> None:
    """Repositories with SHA-256 objects are captured and checked out like others."""
    repo = make_repo(options=("--object-format=sha256",))
    repo.write("train.py", "changed\n")
    compare = unchanged(repo)

    first = take_snapshot(repo.folder, store)
    repo.write("train.py", "again\n")
    second = take_snapshot(repo.folder, store)

    assert len(first.commit or "") == 64
    assert first.problem is None
    assert second.problem is None
    assert (checkout(store, second, tmp_path / "out").folder / "train.py").read_text() == "again\n"
    repo.write("train.py", "changed\n")
    compare()


def test_shallow_clone(repo: Repo, make_repo: Make, store: Store, tmp_path: Path) -> None:
    """A clone without history is enough."""
    repo.write("train.py", "second\n")
    repo.commit("second")
    repo.git("clone", "-q", "--depth=1", f"file://{repo.folder}", str(tmp_path / "shallow"))
    (tmp_path / "shallow" / "new.py").write_text("x\n")

    document = take_snapshot(tmp_path / "shallow", store)

    assert document.problem is None
    assert (checkout(store, document, tmp_path / "out").folder / "new.py").read_text() == "x\n"


def test_partial_clone_does_not_fetch(repo: Repo, store: Store, tmp_path: Path) -> None:
    """Objects that a partial, sparse clone never fetched are listed; nobody asks the remote for them."""
    repo.write("data/big.txt", "far away\n")
    repo.commit("second")
    repo.git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "partial"
    repo.git("clone", "-q", "--filter=blob:none", "--sparse", f"file://{repo.folder}", str(clone))
    shutil.rmtree(repo.folder)
    (clone / "new.py").write_text("x\n")

    document = take_snapshot(clone, store)
    result = checkout(store, document, tmp_path / "out")

    assert document.problem is None
    assert document.left_out["data/big.txt"] == "not fetched in this partial clone"
    assert (result.folder / "train.py").exists()
    assert (result.folder / "new.py").exists()


def test_filters_never_run(repo: Repo, store: Store, tmp_path: Path, unchanged: Watch) -> None:
    """A required filter that is missing, or would reach the network, is neither run nor missed."""
    mark = tmp_path / "mark"
    for name in ("clean", "smudge", "process"):
        repo.git("config", "--global", f"filter.lfs.{name}", f"sh -c 'echo {name} >> {mark}; exit 1'")
    repo.git("config", "--global", "filter.lfs.required", "true")
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n*.py filter=absent\n")
    repo.write("model.bin", "raw content\n")

    document = take_snapshot(repo.folder, store)
    result = checkout(store, document, tmp_path / "out")

    assert document.problem is None
    assert not mark.exists()
    assert (result.folder / "model.bin").read_text() == "raw content\n"


def test_pointer_of_a_large_file_is_kept(repo: Repo, store: Store) -> None:
    """Content that Git LFS put in place of its pointer is not copied; the pointer stays in the snapshot."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9000\n"
    repo.write("model.bin", pointer)
    repo.commit("pointer")
    repo.write("model.bin", b"0" * 9000)

    document = take_snapshot(repo.folder, store, settings=SnapshotSettings(max_file_bytes=4000))

    assert repo.files(document.commit or "")["model.bin"] == pointer.strip()
    assert document.left_out["model.bin"].endswith("its Git LFS pointer is kept")


def test_submodules_and_nested_clones(
    repo: Repo, make_repo: Make, store: Store, tmp_path: Path, unchanged: Watch
) -> None:
    """Repositories inside the work tree come along with their own uncommitted changes, and are left alone."""
    library = make_repo("library")
    repo.git("submodule", "add", "-q", str(library.folder), "lib")
    repo.commit("with submodule")
    repo.write("lib/src/net.py", "patched\n")
    repo.git("clone", "-q", str(library.folder), "vendored")
    repo.write("vendored/extra.py", "e\n")
    repo.write("vendored/.env", "S=1")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store)
    result = checkout(store, document, tmp_path / "out")

    compare()
    head = library.git("rev-parse", "HEAD")
    assert document.modules == {"lib": f"{head}+", "vendored": f"{head}+"}
    assert document.dirty
    assert (result.folder / "lib/src/net.py").read_text() == "patched\n"
    assert (result.folder / "vendored/extra.py").read_text() == "e\n"
    assert document.left_out == {"vendored/.env": "looks like a secret"}


def test_submodule_that_was_never_checked_out(repo: Repo, make_repo: Make, store: Store, tmp_path: Path) -> None:
    """Only its commit is known; the rest of the code is checked out all the same."""
    library = make_repo("library")
    repo.git("submodule", "add", "-q", str(library.folder), "lib")
    repo.commit("with submodule")
    repo.git("clone", "-q", str(repo.folder), str(tmp_path / "clone"))

    document = take_snapshot(tmp_path / "clone", store)
    result = checkout(store, document, tmp_path / "out")

    assert (document.problem, document.dirty) == (None, False)
    assert (result.folder / "train.py").exists()
    assert list(result.refused) == ["lib"]


def test_repository_of_another_user_is_not_written(repo: Repo, store: Store, tmp_path: Path) -> None:
    """Where git itself refuses (safe.directory), the code is captured without an object or ref in the repository."""
    if os.geteuid() != 0:
        pytest.skip("needs to change the owner of a folder")
    repo.write("train.py", "changed\n")
    for path in [repo.folder, *repo.folder.rglob("*")]:
        os.lchown(path, 12345, 12345)
    assert subprocess.run(["git", "status"], cwd=repo.folder, capture_output=True, check=False).returncode != 0
    before = sorted(str(path) for path in (repo.folder / ".git").rglob("*"))

    document = take_snapshot(repo.folder, store)

    assert document.problem is None
    assert document.dirty
    assert sorted(str(path) for path in (repo.folder / ".git").rglob("*")) == before
    assert (checkout(store, document, tmp_path / "out").folder / "train.py").read_text() == "changed\n"


def test_store_inside_the_project_is_not_code(repo: Repo) -> None:
    """A store below the project's folder stays out of the snapshot although nothing ignores it."""
    inside = open_store(repo.folder / "results" / "my [store]")

    first = take_snapshot(repo.folder, inside)
    second = take_snapshot(repo.folder, inside)

    assert first.snapshot == second.snapshot
    assert set(repo.files(first.commit or "")) == {"train.py", "src/net.py"}


def test_broken_git_settings_fall_back_to_the_files(repo: Repo, store: Store, tmp_path: Path) -> None:
    """When git cannot work at all, the files are copied and the document says why."""
    (tmp_path / "home" / ".gitconfig").write_text("[broken\n")

    document = take_snapshot(repo.folder, store)

    assert document.commit is None
    assert "git failed, so the files were copied" in (document.problem or "")
    assert (checkout(store, document, tmp_path / "out").folder / "train.py").read_text() == "print('first')\n"


def test_split_index_and_untracked_cache(repo: Repo, store: Store, unchanged: Watch) -> None:
    """Index formats that speak of other files are read and left as they are."""
    repo.git("config", "core.untrackedCache", "true")
    repo.git("update-index", "--split-index")
    repo.git("status")
    repo.write("train.py", "changed\n")
    compare = unchanged(repo)

    document = take_snapshot(repo.folder, store)

    compare()
    assert document.problem is None
    assert repo.files(document.commit or "")["train.py"] == "changed"


def test_permissions_of_a_shared_repository(make_repo: Make, store: Store) -> None:
    """Objects of a group's repository stay writable for the group."""
    repo = make_repo(options=("--shared=group",))
    repo.write("train.py", "changed\n")

    document = take_snapshot(repo.folder, store)

    folder = repo.folder / ".git" / "objects" / (document.commit or "")[:2]
    assert folder.stat().st_mode & stat.S_IWGRP
    assert folder.stat().st_mode & stat.S_ISGID


def test_remote_is_recorded_without_credentials(repo: Repo, store: Store) -> None:
    """The address of the remote is kept, its password is not."""
    repo.git("remote", "add", "origin", "https://me:hunter2@example.org/x.git")

    assert take_snapshot(repo.folder, store).remote == "https://***@example.org/x.git"


def test_file_edited_while_the_run_goes_on(repo: Repo, store: Store) -> None:
    """What is edited after the capture is not in the snapshot."""
    repo.write("train.py", "at start\n")

    pending = start_snapshot(repo.folder, store)
    assert pending.captured.wait(60)
    repo.write("train.py", "edited later\n")

    assert repo.files(pending.result().commit or "")["train.py"] == "at start"


def test_script_that_ends_at_once(repo: Repo, store: Store, tmp_path: Path) -> None:
    """A snapshot that is waited for at exit is whole, although the interpreter is already clearing up."""
    repo.write("train.py", "short\n")
    script = (
        "import atexit, sys; from pathlib import Path; from tracker.store.open import open_store\n"
        "from tracker.code.snapshot import start_snapshot\n"
        "waiting = []\n"
        "atexit.register(lambda: print(waiting[0].result().snapshot, waiting[0].result().problem))\n"
        "waiting.append(start_snapshot(Path(sys.argv[1]), open_store(sys.argv[2])))\n"
    )
    command = [sys.executable, "-c", script, str(repo.folder), str(tmp_path / "store")]

    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert answer[1] == "None"
    assert (checkout(store, answer[0], tmp_path / "out").folder / "train.py").read_text() == "short\n"


def test_files_edited_while_the_snapshot_runs(repo: Repo, store: Store) -> None:
    """Files that are rewritten, created and deleted all the time leave a whole snapshot without damaged objects."""
    script = (
        "import os, itertools\n"
        "for n in itertools.count():\n"
        "    open('train.py', 'w').write(f'# {n}\\n' * 500)\n"
        "    open(f'new{n % 7}.py', 'w').write(str(n))\n"
        "    os.path.exists(f'new{(n + 3) % 7}.py') and os.unlink(f'new{(n + 3) % 7}.py')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=repo.folder) as writer:
        try:
            documents = [take_snapshot(repo.folder, store) for _ in range(10)]
        finally:
            writer.kill()

    assert [document.problem for document in documents] == [None] * 10
    assert repo.git("fsck", "--full", "--strict") == ""


def test_unwritable_store_is_told_and_not_raised(repo: Repo, store: Store) -> None:
    """Without the store the commit is still in the repository, and the document says what is missing."""

    class Refusing:
        url = "refusing:"

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def create(self, key: str, data: bytes) -> None:
            raise PermissionError(key)

    pending = start_snapshot(repo.folder, Refusing())  # type: ignore[arg-type]

    assert "PermissionError" in (pending.result().problem or "")


def test_eight_snapshots_at_once(repo: Repo, store: Store, unchanged: Watch, tmp_path: Path) -> None:
    """Eight processes that start in one repository agree on one whole snapshot."""
    repo.write("train.py", "changed\n")
    compare = unchanged(repo)
    script = (
        "import sys; from pathlib import Path; from tracker.store.open import open_store\n"
        "from tracker.code.snapshot import take_snapshot\n"
        "d = take_snapshot(Path(sys.argv[1]), open_store(sys.argv[2]))\n"
        "print(d.snapshot, d.problem)\n"
    )
    command = [sys.executable, "-c", script, str(repo.folder), str(tmp_path / "store")]

    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = {process.communicate()[0].strip() for process in started}

    compare()
    (answer,) = answers
    snapshot, problem = answer.split(" ", 1)
    assert problem == "None"
    assert (checkout(store, snapshot, tmp_path / "out").folder / "train.py").read_text() == "changed\n"
