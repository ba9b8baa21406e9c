"""The picture of the demo: what the runs had logged, and beside it what the replay added; one colour a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_PARTS = 10  # points of the loss in one epoch
_INK, _FAINT, _NEW = "#222222", "#d9d9d9", "#fdf6e3"


def draw(frame: Any, path: Path) -> None:
    """Draw the frame of ``loss``, ``accuracy`` and ``worst_digit`` into a PNG of 1500 x 675 pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(10, 4.5), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.1))
    FigureCanvasAgg(figure)
    loss, accuracy, worst = figure.subplots(1, 3)
    runs = sorted(frame.groupby("run"), key=lambda item: item[1]["started"].iloc[0])
    for number, (run, rows) in enumerate(runs):
        colour = _COLOURS[number % len(_COLOURS)]
        _draw_loss(loss, rows, colour)
        _draw_epochs(accuracy, rows, "accuracy", colour, f"commit {number + 1}: run {run[-8:]}")
        _draw_epochs(worst, rows, "worst_digit", colour, "")
    loss.set_yscale("log")
    _finish(loss, "Loss", "cross-entropy, logged by the runs")
    _finish(accuracy, "Accuracy", "% of new images, logged by the runs")
    _finish(worst, "The worst digit", "% of its new images, asked afterwards")
    worst.set_facecolor(_NEW)
    accuracy.legend(loc="lower right", frameon=False, fontsize=9)
    head = "Three commits, and a question that came too late for them"
    figure.suptitle(head, x=0.012, ha="left", size=13, weight="bold", color=_INK)
    figure.savefig(path)


def _draw_loss(axes: Any, rows: Any, colour: str) -> None:
    steps = rows.dropna(subset=["loss"])
    per_epoch = int(steps["step"].max()) + 1
    part = (steps["epoch"] * _PARTS + steps["step"] * _PARTS // per_epoch).astype(int)
    medians = steps.groupby(part)["loss"].median()
    axes.plot((medians.index + 0.5) / _PARTS, medians, color=colour, linewidth=1.3)


def _draw_epochs(axes: Any, rows: Any, name: str, colour: str, label: str) -> None:
    epochs = rows.dropna(subset=[name]).sort_values("epoch")
    axes.plot(epochs["epoch"].astype(float) + 1, epochs[name] * 100, color=colour, linewidth=1.8, label=label or None)


def _finish(axes: Any, title: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", size=11, weight="bold", color=_INK, pad=20)
    axes.text(0, 1.025, unit, transform=axes.transAxes, size=9, color=_INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("epochs trained", color=_INK)
    axes.tick_params(colors=_INK)
