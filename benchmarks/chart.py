"""Bar charts of results beside TFLite Micro with CMSIS-NN."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import Result

_OURS, _THEIRS, _INK, _GRID = "#0b7a75", "#c9c5bb", "#222222", "#e6e3dc"
_Figure = tuple[str, str, Callable[[Result], int | None], Callable[[Result], int | None]]


def draw(results: Sequence[Result], path: Path) -> bool:
    """Write a PNG of instructions, arena and code; returns False where no model has figures of both sides."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    shown = [r for r in results if r.measured and r.tflm is not None]
    if not shown:
        return False
    figures: tuple[_Figure, ...] = (
        ("Instructions", "M", lambda r: r.best.instructions, lambda r: r.tflm.instructions if r.tflm else None),
        ("Arena", "KB", lambda r: r.best.arena, lambda r: r.tflm.arena if r.tflm else None),
        ("Runtime code", "KB", lambda r: r.best.code, lambda r: r.tflm.code if r.tflm else None),
    )
    style: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK, "axes.labelcolor": _INK}
    with plt.rc_context(style):
        height = 1.5 + 0.62 * len(shown)
        figure, axes = plt.subplots(1, len(figures), figsize=(12, height), sharey=True, layout="constrained")
        for axis, (title, unit, ours, theirs) in zip(axes, figures, strict=True):
            _bars(axis, shown, title, unit, ours, theirs)
        axes[0].set_yticks(range(len(shown)), [r.name for r in shown])
        axes[0].invert_yaxis()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle("Share of what TFLite Micro + CMSIS-NN needs on a Cortex-M4 (same outputs, byte for byte)")
        figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})
        plt.close(figure)
    return True


def _bars(
    axis: Any,
    results: Sequence[Result],
    title: str,
    unit: str,
    ours: Callable[[Result], int | None],
    theirs: Callable[[Result], int | None],
) -> None:
    """Each pair as shares of the peer's figure, so that models of any size stand side by side."""
    for row, result in enumerate(results):
        mine, other = ours(result), theirs(result)
        if mine is None or not other:
            axis.text(0.02, row, "peer not measured", va="center", color="#8a867c", fontsize=9)
            continue
        label = row == 0
        share = mine / other
        axis.barh(row, 1.0, 0.62, color=_THEIRS, label="TFLite Micro + CMSIS-NN" if label else None)
        axis.barh(row, share, 0.62, color=_OURS, label="compiled runtime" if label else None)
        # Beside the longer bar; its own is the figure that is compared with.
        axis.text(max(1.0, share) + 0.02, row, _scaled(other, unit), va="center", color="#55524a", fontsize=9)
        inside = share > 0.5
        axis.text(
            share + (-0.02 if inside else 0.02),
            row,
            f"{_scaled(mine, unit)}  ({share:.2f}x)",
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else _INK,
            fontsize=9,
            fontweight="bold",
        )
    axis.set_title(title, loc="left", fontweight="bold")
    longest = max(((ours(r) or 0) / other for r in results if (other := theirs(r))), default=1.0)
    axis.set_xlim(0, max(1.0, longest) + 0.24)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
    axis.tick_params(length=0, colors=_INK)
    axis.grid(axis="x", color=_GRID, zorder=0)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axis.spines[side].set_visible(False)


def _scaled(value: int, unit: str) -> str:
    if unit == "M":
        return f"{value / 1e6:.2f} M"
    return f"{value / 1000:.1f} KB"
