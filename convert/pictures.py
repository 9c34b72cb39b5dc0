"""Pictures of measurements, as PNG bytes."""

import io
import itertools
from collections.abc import Sequence
from typing import Any

_INK, _GRID, _FILL = "#222222", "#e6e3dc", "#0b7a75"
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#8a867c",
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure((width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        return figure, figure.add_subplot()


def _png(figure: Any) -> bytes:
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure.savefig(out, format="png", dpi=140, metadata={"Software": None})
    return out.getvalue()


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[int]], title: str) -> bytes:
    """A confusion matrix: rows are labels, columns what was said; a cell's colour is its share of the row."""
    from matplotlib.colors import LinearSegmentedColormap

    n = len(classes)
    side = max(4.2, 0.52 * n + 1.8)
    figure, axis = _figure(side + 0.6, side)
    totals = [max(1, sum(row)) for row in matrix]
    shares = [[count / total for count in row] for row, total in zip(matrix, totals, strict=True)]
    colours = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#bfe0dc", _FILL, "#064e4a"])
    axis.imshow(shares, cmap=colours, vmin=0, vmax=1)
    size = 10 if n <= 12 else 7
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            if count:
                colour = "white" if shares[i][j] > 0.5 else ("#a33b20" if i != j else _INK)
                axis.text(j, i, f"{count}", ha="center", va="center", color=colour, fontsize=size)
    long = max(map(len, classes)) > 3
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
    axis.set_xticks(range(n), list(classes), **turned)
    axis.set_yticks(range(n), list(classes))
    axis.set_xticks([k + 0.5 for k in range(n - 1)], minor=True)
    axis.set_yticks([k + 0.5 for k in range(n - 1)], minor=True)
    axis.grid(which="minor", color=_GRID, linewidth=0.8)
    axis.tick_params(which="both", length=0)
    axis.set_xlabel("the device says")
    axis.set_ylabel("label")
    axis.set_title(title, fontsize=10)
    return _png(figure)


def histogram(counts: Sequence[int], edges: Sequence[float], unit: str, title: str) -> bytes:
    """Bars of how many inferences took how much."""
    figure, axis = _figure(7.0, 3.2)
    widths = [b - a for a, b in itertools.pairwise(edges)]
    axis.bar(edges[:-1], counts, widths, align="edge", color=_FILL, edgecolor="white", linewidth=0.5)
    axis.set_xlabel(f"{unit} an inference")
    axis.set_ylabel("inferences")
    axis.set_title(title, fontsize=10)
    axis.grid(axis="y", color=_GRID)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axis.locator_params(axis="x", nbins=6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return _png(figure)
