"""The work tree of a repository as a commit of ours, with nothing of the user's changed.

The commit has no parent, no date and no name of a person, so that the same files give the same commit in every clone,
and its bundle can be read without the rest of the history, which may be large or hold what was removed for a reason.
Repositories inside the work tree (submodules, clones) are captured the same way; the tree links to their snapshots.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tracker.code import staging
from tracker.code.git import Git
from tracker.code.listing import Listing, finish_changes, list_tracked, look_at, start_changes
from tracker.code.repository import Repository, open_repository
from tracker.code.scratch import Scratch, scratch_repository
from tracker.code.selection import Rules, SnapshotSettings, choose, read_rules
from tracker.errors import CodeError

REFS = "refs/hindsight/snapshots/"
_WHO = "Hindsight <hindsight@localhost> 946684800 +0000"
_MESSAGE = "The code of a run\n\nWritten by Hindsight; the same files always give this commit.\n"
_MAX_DEPTH = 5  # repositories within repositories
_MAX_MODULES = 64


@dataclass
class Captured:
    """A work tree that has been written as a commit; its objects are there until the stack is closed."""

    repository: Repository
    scratch: Scratch
    commit: str
    head: str | None
    dirty: bool
    left_out: dict[str, str]
    previous: str | None = None  # the snapshot that was taken for the same purpose before this one
    modules: dict[str, Captured] = field(default_factory=dict)


def capture_work_tree(
    repository: Repository,
    settings: SnapshotSettings,
    *,
    project: Path,
    stack: ExitStack,
    latest: str | None = None,
    depth: int = 0,
) -> Captured:
    """Write the work tree as it is now to objects, a commit and a ref below ``refs/hindsight/``.

    A file that changes meanwhile is in with its content at some moment of it. Where the repository must not be written
    (another user's, read-only), the objects stay in a folder of ours that goes with the stack, and there is no ref.
    ``latest`` is a further ref of ours that is moved here; where it stood before is told.
    """
    scratch = stack.enter_context(scratch_repository(repository))
    rules = read_rules(settings, top=repository.top, project=project)
    with start_changes(scratch.git) as looking:
        listing = list_tracked(scratch.git)
        unwanted = rules.unwanted(listing.tracked)
        finish_changes(listing, looking)
    left_out: dict[str, str] = {}
    modules = _capture_modules(
        repository, settings, listing.modules, rules, left_out, stack=stack, latest=latest, depth=depth
    )
    _stage_changes(repository, scratch.git, rules, listing, left_out)
    tree = _write_tree(scratch.git)
    dirty = listing.differs or bool(left_out) or _modules_changed(listing, modules) or tree != repository.tree_of_head()
    out = _tracked_but_out(repository, scratch.git, listing, unwanted, left_out)
    if out or modules:
        staging.remove(scratch.git, out)
        staging.link(scratch.git, {path: module.commit for path, module in modules.items()})
        tree = _write_tree(scratch.git)
    previous = repository.read_ref(latest) if latest and repository.is_writable else None
    commit = _keep(repository, scratch.git, tree, latest, previous)
    return Captured(repository, scratch, commit, repository.head, dirty, left_out, previous, modules)


def _stage_changes(repository: Repository, git: Git, rules: Rules, listing: Listing, left_out: dict[str, str]) -> None:
    found, absent = look_at(repository.top, [*listing.changed, *listing.new])
    pinned, _ = look_at(repository.top, listing.pinned)
    taken = [each.path for each in choose([*found, *pinned], rules, top=repository.top, left_out=left_out)]
    hidden = {each.path for each in pinned}  # git skips these unless they are new to the index
    staging.remove(git, [*listing.removed, *absent, *(path for path in taken if path in hidden)])
    left_out.update(staging.add(git, taken))


def _tracked_but_out(
    repository: Repository, git: Git, listing: Listing, unwanted: dict[str, str], left_out: dict[str, str]
) -> list[str]:
    """The tracked paths that must not stay in the tree: secrets, unread changes, objects that were never fetched."""
    unread = {path: listing.changed[path] for path in left_out if listing.changed.get(path)}
    pointers = staging.large_file_pointers(git, unread)
    for path in pointers:
        left_out[path] += "; its Git LFS pointer is kept"
    out = [path for path in left_out if path not in pointers and (path in listing.tracked or path in listing.changed)]
    left_out.update(unwanted)
    out += unwanted
    if repository.is_partial:
        for path in staging.absent_objects(git, listing.tracked):
            left_out.setdefault(path, "not fetched in this partial clone")
            out.append(path)
    return out


def _capture_modules(
    repository: Repository,
    settings: SnapshotSettings,
    links: dict[str, str],
    rules: Rules,
    left_out: dict[str, str],
    *,
    stack: ExitStack,
    latest: str | None,
    depth: int,
) -> dict[str, Captured]:
    modules: dict[str, Captured] = {}
    for path, in_index in links.items():
        folder = repository.top / path
        inner = open_repository(folder, folder / ".git")
        if inner is None:
            continue  # a submodule that was never checked out: the commit in the index stays
        if depth >= _MAX_DEPTH or len(modules) >= _MAX_MODULES:
            left_out[f"{path}/"] = "beyond the number or depth of repositories within repositories"
        elif not in_index and rules.reason(path) is not None:
            left_out[f"{path}/"] = rules.reason(path) or ""
        else:
            module = capture_work_tree(inner, settings, project=folder, stack=stack, latest=latest, depth=depth + 1)
            left_out.update({f"{path}/{name}": reason for name, reason in module.left_out.items()})
            modules[path] = module
    return modules


def _modules_changed(listing: Listing, modules: dict[str, Captured]) -> bool:
    return any(module.dirty or module.head != listing.modules[path] for path, module in modules.items())


def _write_tree(git: Git) -> str:
    return git.text("write-tree", "--missing-ok")


def commit_of_tree(tree: str) -> tuple[str, bytes]:
    """The id and the bytes of the commit that stands for a tree; the same everywhere."""
    body = f"tree {tree}\nauthor {_WHO}\ncommitter {_WHO}\n\n{_MESSAGE}".encode()
    algorithm = "sha1" if len(tree) == 40 else "sha256"
    digest = hashlib.new(algorithm, b"commit %d\0" % len(body) + body, usedforsecurity=False)
    return digest.hexdigest(), body


def write_commit(git: Git, tree: str) -> str:
    """Write the commit that stands for a tree and return its id."""
    commit, body = commit_of_tree(tree)
    written = git.text("hash-object", "-t", "commit", "-w", "--stdin", stdin=body)
    if written != commit:
        raise CodeError(f"git wrote the commit {written} where {commit} was expected: is hash-object replaced?")
    return commit


def _keep(repository: Repository, git: Git, tree: str, latest: str | None, previous: str | None) -> str:
    """Write the commit of a tree and name it below ``refs/hindsight/``, so that git keeps it, unless all that is so."""
    commit, _ = commit_of_tree(tree)
    own = f"{REFS}{commit}"
    is_known = repository.is_writable and repository.is_loose(own)
    if not is_known:
        write_commit(git, tree)
    moved = [] if is_known else [own]
    moved += [latest] if latest and previous != commit else []
    if moved and repository.is_writable and not _set_refs(repository, moved, commit):
        # Runs that start at once may want the same ref; each is set on its own then, and whoever lost finds it there.
        for name in moved:
            _set_refs(repository, [name], commit)
    return commit


def _set_refs(repository: Repository, names: list[str], commit: str) -> bool:
    lines = "".join(f"update {name} {commit}\n" for name in names)
    return repository.git.succeeds("update-ref", "--stdin", stdin=lines.encode())
