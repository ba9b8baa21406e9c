"""What a variable of the new version was called in the old one, by vote over matched statements."""

from __future__ import annotations

from collections import Counter, defaultdict
from difflib import SequenceMatcher

from tracker.replay.match import Alignment
from tracker.replay.similarity import is_content
from tracker.replay.tree import Node

_LONGEST = 80  # words of a changed statement up to which its parts are compared


class Renames:
    """Votes per function of the new file; a matched statement votes for each pair of names at one position."""

    def __init__(self, alignment: Alignment) -> None:
        self._votes: dict[tuple[Node | None, str], Counter[str]] = defaultdict(Counter)
        for new, old in alignment.image.items():
            if new.words and old.words:
                self._compare(new, old)

    def _compare(self, new: Node, old: Node) -> None:
        if new.shape == old.shape and len(new.words) == len(old.words):
            pairs = [(a, b) for a, b in zip(new.words, old.words, strict=True) if is_content(a)]
            for a, b in pairs:
                self._vote(new, a, b, 2 if new.blocks or _agree(pairs, (a, b)) else 1)
        elif max(len(new.words), len(old.words)) <= _LONGEST:
            one = ["n:" if w.startswith("n:") else w for w in new.words]
            two = ["n:" if w.startswith("n:") else w for w in old.words]
            for i, j, size in SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks():
                if size >= 3:
                    for a, b in zip(new.words[i : i + size], old.words[j : j + size], strict=True):
                        self._vote(new, a, b, 1)

    def _vote(self, new: Node, a: str, b: str, weight: int) -> None:
        if not (a.startswith("n:") and b.startswith("n:")):
            return
        a, b = a[2:], b[2:]
        self._count(new, a, b, weight)
        base_a, dot_a, tail_a = a.rpartition(".")
        base_b, dot_b, tail_b = b.rpartition(".")
        if dot_a and dot_b and tail_a == tail_b:
            self._count(new, base_a, base_b, weight)

    def _count(self, new: Node, a: str, b: str, weight: int) -> None:
        unit = new if new.is_function else new.owner
        self._votes[unit, a][b] += weight
        self._votes[None, a][b] += weight

    def candidates(self, name: str, unit: Node) -> list[tuple[str, int]]:
        """Old names of a name with their votes, best first; the function's own votes before the file's."""
        votes = self._votes.get((unit, name)) or self._votes.get((None, name)) or Counter()
        return sorted(votes.items(), key=lambda item: (-item[1], item[0]))

    def certain(self, name: str, unit: Node) -> str | None:
        """The old name where every vote of the function is for it and there are at least two statements."""
        votes = self._votes.get((unit, name), Counter())
        if len(votes) == 1:
            (old, count), *_ = votes.items()
            return old if old != name and count >= 4 else None
        return None


def _agree(pairs: list[tuple[str, str]], but: tuple[str, str]) -> bool:
    """Whether most of a statement is equal, apart from the pair that is voted on."""
    others = [a == b for a, b in pairs if (a, b) != but]
    return sum(others) * 2 > len(others)
