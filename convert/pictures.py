"""Pictures of measurements, as PNG bytes."""

import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convert.layers import Profile

_INK, _GRID, _FILL = "#222222", "#e6e3dc", "#0b7a75"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#8a867c",
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def figure_of(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A figure of so many inches in the project's style and its axes: one, or an array of rows x columns."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure((width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns)


def png(figure: Any) -> bytes:
    """A figure as PNG, the same bytes each time."""
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(out, format="png", dpi=140, metadata={"Software": None})
    return out.getvalue()


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[int]], title: str) -> bytes:
    """A confusion matrix: rows are labels, columns what was said; a cell's colour is its share of the row."""
    from matplotlib.colors import LinearSegmentedColormap

    n = len(classes)
    side = max(4.2, 0.52 * n + 1.8)
    figure, axis = figure_of(side + 0.6, side)
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
    return png(figure)


def histogram(counts: Sequence[int], edges: Sequence[float], unit: str, title: str) -> bytes:
    """Bars of how many inferences took how much."""
    figure, axis = figure_of(7.0, 3.2)
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
    return png(figure)


Point = tuple[str, int, int, bool]  # format, bytes, instructions, taken


def trade_offs(panels: Sequence[tuple[str, Sequence[Point]]], title: str) -> bytes:
    """Bytes against instructions of the ways to store a layer's weights, a plot a layer; what was taken has a ring.

    A way has the same colour and sign in all plots.
    """
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    names = list(dict.fromkeys(name for _, points in panels for name, *_ in points))
    looks: dict[str, dict[str, Any]] = {
        name: {"color": colormaps["tab10"](k % 10), "marker": "osD^vP"[k // 10 + (k % 10) % 3]}
        for k, name in enumerate(names)
    }
    columns = min(2 if len(panels) in (2, 4) else 3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = figure_of(4.0 * columns + 1.6, 3.2 * rows + 0.4, rows, columns)
    grid = [axes] if len(panels) == 1 else list(axes.flat)
    for axis, (name, points) in zip(grid, panels, strict=False):
        for label, flash, instructions, taken in points:
            axis.scatter(flash, instructions, s=45, linewidths=0, zorder=3, **looks[label])
            if taken:
                axis.scatter(flash, instructions, s=190, facecolors="none", edgecolors=_INK, linewidths=1.3, zorder=4)
        for scale, which in ((axis.set_xscale, axis.xaxis), (axis.set_yscale, axis.yaxis)):
            scale("log")
            which.set_major_locator(LogLocator(subs=(1, 2, 5)))
            which.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
            which.set_minor_formatter(NullFormatter())
            which.set_tick_params(labelsize=7.5)
        axis.margins(0.15, 0.15)
        axis.set_title(name, fontsize=9)
        axis.grid(color=_GRID)
        axis.set_axisbelow(True)
        axis.set_xlabel("bytes in flash", fontsize=8)
        axis.set_ylabel("instructions an inference", fontsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    for axis in grid[len(panels) :]:
        axis.set_visible(False)
    signs = [Line2D([], [], linestyle="", label=name, markersize=6, **looks[name]) for name in names]
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": _INK, "markersize": 12}
    signs.append(Line2D([], [], linestyle="", marker="o", label="taken", **ring))
    figure.legend(handles=signs, loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return png(figure)


_FAMILIES = (
    ("DEPTHWISE", "#e08e45"),
    ("CONV", "#0b7a75"),
    ("FULLY_CONNECTED", "#3b6fb6"),
    ("POOL", "#8c5fa8"),
    ("MEAN", "#8c5fa8"),
    ("LSTM", "#b5485d"),
    ("SVDF", "#b5485d"),
    ("SOFTMAX", "#c2b23a"),
    ("ADD", "#6a994e"),
    ("MUL", "#6a994e"),
)
_OTHER, _BETWEEN = "#8a867c", "#d8d4ca"


def _colour(operator: str) -> str:
    return next((colour for name, colour in _FAMILIES if name in operator), _OTHER)


def layers(profile: "Profile", form: str) -> bytes:
    """A profile as a flame and bars: above the whole inference from left to right, below a bar a layer; png or svg."""
    from matplotlib import rc_context

    with rc_context({**_STYLE, "svg.hashsalt": "tinyml", "svg.fonttype": "path"}):
        figure = _layers(profile)
        out = io.BytesIO()
        metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
        figure.savefig(out, format=form, dpi=140, metadata=metadata)
    return out.getvalue()


def _layers(profile: "Profile") -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(profile.layers) + 1
    height = 2.2 + 0.3 * rows
    figure = Figure((11, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    flame, bars = figure.subplots(2, 1, height_ratios=[1.35, 0.3 * rows + 0.4])
    figure.suptitle(f"{profile.title}: {profile.total:,.0f} {profile.unit} an inference", fontsize=11)
    _flame(flame, profile)
    _bars(bars, profile)
    return figure


def _flame(axis: Any, profile: "Profile") -> None:
    total = profile.total or 1
    axis.barh(1, total, 0.92, color="#33413f", edgecolor="white")
    axis.text(total / 2, 1, profile.model, color="white", ha="center", va="center")
    at = 0.0
    pieces = [(line.operator, line.index, line.amount, _colour(line.operator)) for line in profile.layers]
    for name, index, amount, colour in [*pieces, ("between layers", None, profile.between, _BETWEEN)]:
        axis.barh(0, amount, 0.92, left=at, color=colour, edgecolor="white", linewidth=0.8)
        share = amount / total
        label = "" if index is None else f"{index}"
        if share > 0.011 * (len(name) + 3):
            label = name if index is None else f"{index} {name}"
        if share > 0.018:
            axis.text(
                at + amount / 2,
                0,
                label,
                color="white" if index is not None else _INK,
                ha="center",
                va="center",
                fontsize=9,
            )
        at += amount
    axis.set_xlim(0, total)
    axis.set_ylim(-0.5, 1.5)
    axis.axis("off")


def _bars(axis: Any, profile: "Profile") -> None:
    total = profile.total or 1
    most = max([line.amount for line in profile.layers] + [profile.between]) or 1
    short = {"instructions": "instr.", "microseconds": "µs", "cycles": "cycles"}[profile.unit]
    names = []
    for row, line in enumerate(profile.layers):
        axis.barh(row, line.amount, 0.72, color=_colour(line.operator))
        text = f" {line.amount:,.0f}  ({100 * line.amount / total:.1f} %)"
        if line.per_mac is not None:
            text += f"  {line.macs:,} MACs, {line.per_mac:.2f} {short} each"
        inside = line.amount > 0.62 * most
        axis.text(
            line.amount if not inside else line.amount - 0.006 * most,
            row,
            text,
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else _INK,
            fontsize=9,
        )
        names.append(f"{line.index}  {line.operator}")
    last = len(profile.layers)
    axis.barh(last, profile.between, 0.72, color=_BETWEEN)
    axis.text(
        profile.between,
        last,
        f" {profile.between:,.0f}  ({100 * profile.between / total:.1f} %)",
        va="center",
        fontsize=9,
    )
    axis.set_yticks(range(last + 1), [*names, "between layers"])
    axis.set_ylim(last + 0.6, -0.6)
    axis.set_xlim(0, most * 1.02)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(profile.unit)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
