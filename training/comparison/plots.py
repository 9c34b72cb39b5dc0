"""The comparison as pictures: accuracy over what it costs, as PNG bytes."""

from collections.abc import Sequence
from typing import Any

from convert.pictures import figure_of, png
from training.comparison.measure import Row
from training.comparison.tables import Line, front, lines

# Cost of a panel: figure, axis title, whether it spans orders of magnitude.
COSTS = (
    ("flash", "flash of the image (bytes)", False),
    ("ram", "static RAM (bytes)", False),
    ("macs", "multiply-accumulates", True),
    ("compressed_bytes", "weights, coded without loss (bytes)", True),
)
SHARES = (("sparsity", "share of zeros"), ("bits", "bits a weight, coded"))
_COLOURS = (
    "#0b7a75",
    "#e08e45",
    "#3b6fb6",
    "#b5485d",
    "#8c5fa8",
    "#c2b23a",
    "#6a994e",
    "#7a5230",
    "#3aa6c2",
    "#8a867c",
)
_MARKERS = "osD^vPX*<>"


def draw(rows: Sequence[Row], title: str) -> bytes:
    """Six panels: accuracy over flash, RAM, MACs and coded bytes with the Pareto front, over sparsity and bits.

    Points have the numbers of the table's lines.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    found = lines(rows)
    groups = list(dict.fromkeys(line.group for line in found))
    look = {g: (_COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]) for k, g in enumerate(groups)}
    figure, axes = figure_of(13.5, 8.6, 2, 3)
    for axis, (name, label, wide) in zip(axes.flat, COSTS, strict=False):
        _panel(axis, found, name, label, look)
        if wide and axis.has_data():
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        _front(axis, found, name)
    for axis, (name, label) in zip(axes.flat[len(COSTS) :], SHARES, strict=True):
        _panel(axis, found, name, label, look)
    handles, labels = _legend(axes.flat, groups)
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(groups) + 1), frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return png(figure)


def _panel(axis: Any, found: Sequence[Line], name: str, label: str, look: dict[str, tuple[str, str]]) -> None:
    for number, line in enumerate(found, 1):
        x, y = line.mean(name), line.mean("reached")
        if x is None or y is None:
            continue
        colour, marker = look[line.group]
        axis.errorbar(
            x, 100 * y, line.deviation, color=colour, marker=marker, markersize=6, linestyle="none", elinewidth=0.8,
            markeredgecolor="white", markeredgewidth=0.6, label=line.group,
        )  # fmt: skip
        axis.annotate(f"{number}", (x, 100 * y), (4, 3), textcoords="offset points", fontsize=7, color="#55524b")
    axis.set_xlabel(label)
    axis.set_ylabel("accuracy (%)")
    axis.margins(0.08)
    axis.locator_params(nbins=6)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}" if abs(x) >= 100 else f"{x:g}")
    axis.grid(color="#e6e3dc")
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _front(axis: Any, found: Sequence[Line], name: str) -> None:
    points = [(line.mean(name), line.mean("reached")) for line in found]
    best = sorted((x, y) for x, y in (points[k] for k in front(points)) if x is not None and y is not None)
    if best:
        x, y = zip(*best, strict=True)
        axis.step(x, [100 * v for v in y], where="post", color="#222222", linewidth=0.9, zorder=0, label="Pareto front")


def _legend(axes: Any, groups: Sequence[str]) -> tuple[list[Any], list[str]]:
    known: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    names = [name for name in (*groups, "Pareto front") if name in known]
    return [known[name] for name in names], names
