"""Finding the user's repository and reading what git keeps about it, without asking git to discover anything.

Git refuses to look into a repository that another user owns (``safe.directory``). Reading the three little files that
say where things lie avoids that, and a process.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tracker.code.git import Git, git_program
from tracker.code.gitconfig import read_config
from tracker.errors import CodeError
from tracker.secrets import mask_url

_MAX_POINTER_BYTES = 4096
_OBJECT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Repository:
    """A work tree with its git folder; for a linked worktree the common folder is that of the main one."""

    top: Path
    git_folder: Path
    common_folder: Path

    @property
    def objects(self) -> Path:
        return self.common_folder / "objects"

    @property
    def index(self) -> Path:
        return self.git_folder / "index"

    @cached_property
    def config(self) -> dict[str, str]:
        """The repository's own settings, the last value of each; names in lower case as git prints them."""
        found: dict[str, str] = {}
        for path in (self.common_folder / "config", self.git_folder / "config.worktree"):
            worktree_only = path.name == "config.worktree" and found.get("extensions.worktreeconfig") != "true"
            if not worktree_only and path.is_file():
                found.update(read_config(path))
        return found

    @property
    def object_format(self) -> str:
        return self.config.get("extensions.objectformat", "sha1")

    @property
    def is_partial(self) -> bool:
        """Whether objects may be missing here because they are fetched on demand."""
        return "extensions.partialclone" in self.config or any(name.endswith(".promisor") for name in self.config)

    @property
    def is_writable(self) -> bool:
        """Whether writing objects here is allowed and leaves files that their owner can go on using."""
        try:
            owner = self.objects.stat().st_uid
        except OSError:
            return False
        foreign = hasattr(os, "geteuid") and owner != os.geteuid()
        shared = self.config.get("core.sharedrepository", "umask").lower() not in {"umask", "false", "0", "no"}
        return os.access(self.objects, os.W_OK | os.X_OK) and (shared or not foreign)

    @cached_property
    def git(self) -> Git:
        """Commands on the repository itself; only refs of ours are ever written through it."""
        return Git(self.top, {"GIT_DIR": str(self.git_folder), "GIT_WORK_TREE": str(self.top)})

    def read_ref(self, name: str) -> str | None:
        """The object that a ref of ours names, ``None`` when it does not exist."""
        direct = None if "extensions.refstorage" in self.config else _resolve(f"ref: {name}", self.common_folder)
        if direct is not None:
            return direct
        try:
            return self.git.text("rev-parse", "--verify", "--quiet", name)
        except CodeError:
            return None

    def is_loose(self, name: str) -> bool:
        """Whether a ref stands in a file of its own; a quick look that may miss one, and never invents one."""
        return (self.common_folder / name).is_file()

    @cached_property
    def head(self) -> str | None:
        """The commit of HEAD, ``None`` before the first one."""
        head = _read_pointer(self.git_folder / "HEAD")
        if "extensions.refstorage" not in self.config:
            direct = _resolve(head, self.common_folder)
            if direct is not None:
                return direct
        try:
            return self.git.text("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except CodeError:
            return None

    def tree_of_head(self) -> str | None:
        """The tree of HEAD's commit."""
        return self.git.text("rev-parse", f"{self.head}^{{tree}}") if self.head else None

    @cached_property
    def branch(self) -> str | None:
        """The branch that HEAD stands on, ``None`` when it is detached."""
        head = _read_pointer(self.git_folder / "HEAD")
        if head == "ref: refs/heads/.invalid":  # the files of a repository with another kind of ref storage
            head = f"ref: {self.git.text('symbolic-ref', '--quiet', 'HEAD')}"
        return head.removeprefix("ref: ").removeprefix("refs/heads/") if head.startswith("ref: ") else None

    @property
    def remote(self) -> str | None:
        """The address of ``origin``, or of the only or first other remote, without credentials."""
        remotes = {
            name: url for name, url in self.config.items() if name.startswith("remote.") and name.endswith(".url")
        }
        address = remotes.get("remote.origin.url") or next(iter(remotes.values()), None)
        return mask_url(address) if address else None


def find_repository(folder: Path) -> Repository | None:
    """The repository whose work tree holds the folder, or ``None``.

    ``GIT_DIR`` of the environment counts only together with ``GIT_WORK_TREE``, when that tree holds the folder and no
    ``.git`` is nearer: inside a hook they name whatever repository the hook runs for.
    """
    for candidate in (folder, *folder.parents):
        dot_git = candidate / ".git"
        if (found := open_repository(candidate, dot_git)) is not None:
            return found
    return _from_environment(folder)


def owning_repository(root: Path) -> Repository | None:
    """The repository whose snapshots hold a project; not one that merely surrounds and ignores it. ``None``: there is
    none, or no git.
    """
    if git_program() is None:
        return None
    repository = find_repository(root)
    if repository is None or root == repository.top:
        return repository
    inside = os.fsencode(os.path.relpath(root, repository.top))
    return None if repository.git.succeeds("check-ignore", "-z", "--stdin", stdin=inside) else repository


def open_repository(top: Path, dot_git: Path) -> Repository | None:
    """The repository behind a ``.git`` folder or file, or ``None`` when it is neither."""
    try:
        if dot_git.is_file():
            pointer = _read_pointer(dot_git)
            if not pointer.startswith("gitdir: "):
                return None
            dot_git = top / pointer.removeprefix("gitdir: ")
        if not (dot_git / "HEAD").is_file():
            return None
        common = dot_git / "commondir"
        common_folder = dot_git / _read_pointer(common) if common.is_file() else dot_git
        return Repository(top, dot_git.resolve(), common_folder.resolve())
    except OSError:
        return None  # not readable for us: the files of the project still are


def _from_environment(folder: Path) -> Repository | None:
    git_folder, work_tree = os.environ.get("GIT_DIR"), os.environ.get("GIT_WORK_TREE")
    if not git_folder or not work_tree:
        return None
    top = Path(work_tree).resolve()
    return open_repository(top, Path(git_folder).resolve()) if folder == top or top in folder.parents else None


def _read_pointer(path: Path) -> str:
    with open(path, "rb") as file:
        return os.fsdecode(file.read(_MAX_POINTER_BYTES)).rstrip("\r\n")


def _resolve(head: str, common_folder: Path) -> str | None:
    """The commit behind HEAD where one file says it plainly; ``None`` leaves the question to git."""
    if not head.startswith("ref: "):
        return head if _OBJECT.fullmatch(head) else None
    try:
        found = _read_pointer(common_folder / head.removeprefix("ref: "))
    except OSError:
        return None
    return found if _OBJECT.fullmatch(found) else None
