"""The two versions of a project: files, trees, what corresponds to what. Everything is computed when asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import PurePosixPath

from tracker.replay.match import Alignment
from tracker.replay.renames import Renames
from tracker.replay.scope import Scopes
from tracker.replay.source import Source, Unparsable
from tracker.replay.tree import Node, Tree

_SAME_FILE = 0.3  # share of a new file's lines found in an old one from which it came from there


class Version:
    """One version of the project's files."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.sources = {path: Source(path, text) for path, text in files.items()}
        self._trees: dict[str, Tree] = {}
        self._scopes: dict[Tree, Scopes] = {}

    def tree(self, path: str) -> Tree:
        """The tree of a file; raises ``Unparsable``."""
        if path not in self._trees:
            self._trees[path] = Tree(self.sources[path])
        return self._trees[path]

    def scopes(self, tree: Tree) -> Scopes:
        if tree not in self._scopes:
            self._scopes[tree] = Scopes(tree)
        return self._scopes[tree]

    def module(self, dotted: str, importer: str) -> str | None:
        """The file of an imported module, as seen from a file of the project; ``None`` for foreign modules."""
        level = len(dotted) - len(dotted.lstrip("."))
        folder = PurePosixPath(importer).parent
        for _ in range(max(0, level - 1)):
            folder = folder.parent
        tail = dotted[level:].replace(".", "/")
        bases = [folder] if level else [folder, *folder.parents, PurePosixPath("src")]
        for base in bases:
            for candidate in (base / f"{tail}.py", base / tail / "__init__.py"):
                if tail and str(candidate) in self.sources:
                    return str(candidate)
        return None


class World:
    """An old and a new version with the mappings between their files."""

    def __init__(self, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        self.old = Version(
            {path: text for path, text in old.items() if path.endswith((".py", ".pyw")) or len(old) == 1}
        )
        self.new = Version(
            {path: text for path, text in new.items() if path.endswith((".py", ".pyw")) or len(new) == 1}
        )
        self.probes: set[Node] = set()
        self._alignments: dict[str, Alignment] = {}
        self._renames: dict[str, Renames] = {}

    def alignment(self, path: str) -> Alignment:
        """The mapping of a new file to the old files it came from; raises ``Unparsable``."""
        if path not in self._alignments:
            names = self.pool(path)
            pool = [self.old.tree(name) for i, name in enumerate(names) if not i or self._readable(name)]
            tree = self.new.tree(path)
            self._alignments[path] = Alignment(tree, pool, (n for n in self.probes if n.tree is tree))
        return self._alignments[path]

    def _readable(self, name: str) -> bool:
        try:
            self.old.tree(name)
        except Unparsable:
            return False
        return True

    def renames(self, path: str) -> Renames:
        if path not in self._renames:
            self._renames[path] = Renames(self.alignment(path))
        return self._renames[path]

    def pool(self, path: str) -> list[str]:
        """Old files that a new file's code may have come from, the likeliest first."""
        found = [path] if path in self.old.sources else []
        lines = self.new.sources[path].stripped
        missing = lines - self.old.sources[path].stripped if found else lines
        if len(missing) >= 3 or not found:
            ranked = sorted(
                ((self._share(missing, name, path), name) for name in self.old.sources if name != path), reverse=True
            )
            found += [name for share, name in ranked[:2] if share >= _SAME_FILE]
            found += [name for name in self._defining(path) if name not in found][:2]
        return found

    def _share(self, missing: frozenset[str], name: str, path: str) -> float:
        share = len(missing & self.old.sources[name].stripped) / max(1, len(missing))
        return share + (0.05 if share and PurePosixPath(name).name == PurePosixPath(path).name else 0.0)

    def _defining(self, path: str) -> list[str]:
        """Old files that define a function which the old file of this path does not define."""
        pattern = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.M)
        here = set(pattern.findall(self.new.sources[path].text))
        if path in self.old.sources:
            here -= set(pattern.findall(self.old.sources[path].text))
        here -= {"__init__", "forward", "main"}
        return [
            name
            for name in sorted(self.old.sources)
            if here
            and name not in self.new.sources
            and not here.isdisjoint(pattern.findall(self.old.sources[name].text))
        ]

    @cached_property
    def old_words(self) -> frozenset[str]:
        """Every word of the old version."""
        return frozenset().union(*(source.words for source in self.old.sources.values()))
