"""What a collection removed, or would remove."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gone:
    """A run that goes, and why."""

    reason: str
    size_bytes: int


@dataclass
class Collected:
    """The result of ``gc``. Categories: run, checkpoint, object, code, replay, leftover.

    ``spared``: runs that no rule keeps and that stay all the same, or all of whose checkpoints do. ``problems``: why
    payloads that seem unneeded were left alone; they go the next time, once that is settled.
    """

    store: str
    dry_run: bool
    runs: dict[str, Gone] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)  # runs whose interrupted removal was finished
    checkpoints: dict[str, int] = field(default_factory=dict)  # run -> how many of its checkpoints
    spared: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # category -> keys; of runs: runs
    sizes_bytes: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing had to be left for another time."""
        return not self.problems

    @property
    def size_bytes(self) -> int:
        """All that was freed, or would be."""
        return sum(self.sizes_bytes.values())

    @property
    def keys(self) -> int:
        return sum(self.counts.values())

    def count(self, category: str, size_bytes: int, number: int = 1) -> None:
        """Something goes."""
        if number:
            self.counts[category] = self.counts.get(category, 0) + number
            self.sizes_bytes[category] = self.sizes_bytes.get(category, 0) + size_bytes
