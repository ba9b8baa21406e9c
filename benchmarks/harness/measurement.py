"""What one benchmark gave, kept as a file of its own, so that one can be measured again without the others."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.model import Figures
from harness.stats import median_by_key


@dataclass
class Measurement:
    """Figures of every round by subject, what went wrong, and what it was measured on."""

    case: str
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def add(self, subject: str, figures: Figures) -> None:
        """The figures of one more round."""
        numbers = {key: value for key, value in figures.items() if isinstance(value, (int, float))}
        self.rounds.setdefault(subject, []).append(numbers)
        if "remark" in figures:
            self.remarks[subject] = str(figures["remark"])

    def median(self, subject: str) -> dict[str, float]:
        """Medians over the rounds, by row key; empty for a subject without figures."""
        return median_by_key(self.rounds.get(subject, []))

    def spread(self, subject: str, key: str) -> tuple[float, float] | None:
        """The least and the most over the rounds."""
        found = [figures[key] for figures in self.rounds.get(subject, []) if key in figures]
        return (min(found), max(found)) if found else None

    def save(self, folder: Path) -> None:
        """Replace the file of this case."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.case}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def load_measurement(folder: Path, case: str) -> Measurement | None:
    """The last one that was saved; ``None`` for a case that was never measured."""
    path = folder / f"{case}.json"
    return Measurement(**json.loads(path.read_text())) if path.exists() else None
