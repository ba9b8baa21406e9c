"""The picture of the demo: what the runs had logged, and what the replay added; one colour a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SMOOTH = 25
_INK, _FAINT = "#222222", "#d9d9d9"


def draw(frame: Any, path: Path) -> None:
    """Draw the frame of ``loss``, ``accuracy`` and ``worst_digit`` (one row a context) into a PNG of 1500 x 675 pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(10, 4.5), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    runs = sorted(frame.groupby("run"), key=lambda item: item[1]["started"].iloc[0])
    for number, (run, rows) in enumerate(runs):
        colour = _COLOURS[number % len(_COLOURS)]
        _draw_loss(left, rows, colour)
        _draw_epochs(right, rows, "accuracy", colour, "-", f"commit {number + 1} ({run[-8:]})")
        _draw_epochs(right, rows, "worst_digit", colour, "--", None)
    _finish_loss(left)
    _finish_accuracy(right)
    head = "Three commits, and a question that was asked afterwards"
    figure.suptitle(head, x=0.012, ha="left", size=13, weight="bold", color=_INK)
    figure.savefig(path)


def _draw_loss(axes: Any, rows: Any, colour: str) -> None:
    steps = rows.dropna(subset=["loss"]).sort_values(["epoch", "step"])
    per_epoch = int(steps["step"].max()) + 1
    epochs = steps["epoch"].astype(float) + steps["step"].astype(float) / per_epoch
    axes.plot(epochs, steps["loss"], color=colour, alpha=0.18, linewidth=0.6)
    smooth = steps["loss"].rolling(_SMOOTH, min_periods=1, center=True).median()
    axes.plot(epochs, smooth, color=colour, linewidth=1.8)


def _draw_epochs(axes: Any, rows: Any, name: str, colour: str, line: str, label: str | None) -> None:
    epochs = rows.dropna(subset=[name]).sort_values("epoch")
    axes.plot(
        epochs["epoch"].astype(float) + 1, epochs[name] * 100, line, color=colour, linewidth=1.8, label=label
    )


def _finish_loss(axes: Any) -> None:
    axes.set_yscale("log")
    axes.set_title(f"Training loss: every step, and the median of {_SMOOTH}", loc="left", size=11, color=_INK)
    axes.set_ylabel("cross-entropy (log scale)")
    _tidy(axes)


def _finish_accuracy(axes: Any) -> None:
    axes.set_title("On new images: accuracy; dashed: the worst digit, replayed", loc="left", size=11, color=_INK)
    axes.set_ylabel("correct (%)")
    axes.set_ylim(bottom=max(0, axes.get_ylim()[0]), top=100.5)
    axes.legend(loc="lower right", frameon=False)
    _tidy(axes)


def _tidy(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("epochs trained")
    axes.tick_params(colors=_INK)
