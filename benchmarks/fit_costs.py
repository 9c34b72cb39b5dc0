"""Measure every kernel that the Cortex-M4 can choose among, and fit convert/compiled/cortex_m4/costs.json to it.

    python benchmarks/fit_costs.py [--check]

Layers of many shapes run in Unicorn, each with every kernel that takes it. The counts are fitted by non-negative least
squares to the kernels' features, errors taken relative to the count. Run it when a kernel or its features changed.
With --check nothing is written: it prints how far the model is from the counts of other shapes.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Column, Table
from scipy.optimize import nnls

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "convert"), str(ROOT / "tests" / "convert" / "compiled")]

from tflite_builder import SAME, Sweep, vectors  # noqa: E402

from convert.compiled import CompiledModel, cortex_m4, device, lowering, memory  # noqa: E402
from convert.compiled.cortex_m4 import costs  # noqa: E402
from convert.compiled.layer import Layer  # noqa: E402
from convert.graph import Graph  # noqa: E402

UNITS = ("instructions", "cycles")
Build = Callable[[Sweep], object]


def _relu(zero_point: int) -> dict[str, object]:
    return {"activation": "relu", "zero_point": zero_point}


def _conv(image: tuple[int, ...], channels: int, size: tuple[int, int], stride: tuple[int, int], padding: int) -> Build:
    styles = [_relu(-128), {}, {"activation": "relu6"}]
    style = styles[sum(image) % 3]
    return lambda s: s.conv(s.input(image), channels, size, stride, padding=padding, **style)


def _depthwise(
    image: tuple[int, ...], size: tuple[int, int], stride: tuple[int, int], style: dict[str, object]
) -> Build:
    return lambda s: s.depthwise(s.input(image), 1, size, stride, **style)


def shapes(rng: np.random.Generator) -> list[Build]:
    """Layers as networks for microcontrollers have them, of sizes drawn at random."""

    def between(low: int, high: int) -> int:
        return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))

    def image(side: int, channels: int) -> tuple[int, int, int, int]:
        return 1, between(2, side), between(2, side), channels

    made: list[Build] = []
    for _ in range(14):
        made.append(_conv(image(14, 4 * between(1, 40)), 2 * between(2, 64), (1, 1), (1, 1), SAME))
    for _ in range(6):
        made.append(_conv(image(14, between(3, 70)), between(3, 65), (1, 1), (1, 1), SAME))
    for _ in range(14):
        size = [(3, 3), (3, 3), (5, 5), (1, 3), (7, 1), (10, 4), (2, 2)][between(1, 7) - 1]
        stride = [(1, 1), (2, 2), (1, 1)][between(1, 3) - 1]
        made.append(_conv((1, between(10, 20), between(7, 20), between(1, 24)), 2 * between(2, 16), size, stride, SAME))
    for depth in (3, 5, 8, 13, 16, 24, 32, 50):  # many pixels share few weights
        for style in (_relu(-128), {}):
            where, channels = (1, between(17, 26), between(17, 26), depth), between(2, 4096 // depth // 2)
            made.append(lambda s, w=where, c=channels, o=style: s.conv(s.input(w), c, (1, 1), **o))
    for channels in (16, 32, 64):
        for style in (_relu(-128), {}, {"activation": "relu6"}):
            for where in (image(5, 8), image(8, 8), image(24, 8), image(40, 8)):
                made.append(lambda s, w=where, c=channels, o=style: s.conv(s.input(w), c, (1, 1), **o))
    for stride in ((1, 1), (2, 2)):
        for style in (_relu(-128), {}):
            for size in ((3, 3), (3, 3), (5, 5), (3, 1)):
                where, channels = (1, between(34, 40), between(34, 40), between(1, 10)), between(2, 16)
                made.append(lambda s, w=where, c=channels, k=size, t=stride, o=style: s.conv(s.input(w), c, k, t, **o))
    for stride in ((1, 1), (2, 2)):
        for widths in ((2, 12), (16, 29), (31, 61), (63, 90)):  # the planes' pitches are powers of two
            for style in (_relu(-128), {}):
                for _ in range(10):
                    place = 1, between(2, 24), between(*widths), between(3, 64 if widths[1] < 60 else 12)
                    made.append(_depthwise(place, (3, 3), stride, style))
    for size in ((5, 5), (1, 5), (3, 1)):
        for style in (_relu(-128), {}):
            for _ in range(3):
                for stride in ((1, 1), (2, 2)):
                    made.append(_depthwise(image(26, between(3, 40)), size, stride, style))
    for _ in range(12):
        depth, channels = 4 * between(2, 160), between(4, 200)
        made.append(lambda s, d=depth, c=channels: s.dense(s.input((1, d)), c, "relu", zero_point=-128))
    for _ in range(6):
        depth, channels, rows = between(5, 300), between(3, 50), between(1, 5)
        made.append(lambda s, d=depth, c=channels, r=rows: s.dense(s.input((r, d)), c))
    for style in (_relu(-128), {}):
        for _ in range(8):
            shape, channels = (between(1, 3), 8 * between(2, 80)), between(4, 200)
            made.append(lambda s, n=shape, c=channels, o=style: s.dense(s.input(n), c, per_channel=False, **o))
    for style, per_channel in product((_relu(-128), {}), (True, False)):
        for _ in range(6):  # sums of rows that take two passes
            shape, channels, more = (1, 8 * between(160, 230)), between(4, 60), {**style, "per_channel": per_channel}
            made.append(lambda s, n=shape, c=channels, o=more: s.dense(s.input(n), c, **o))
    for kind, size, stride in product(("AVERAGE", "MAX"), ((2, 2), (3, 3), (5, 5)), ((1, 1), (2, 2))):
        for channels in (4 * between(1, 16), 4 * between(1, 16), between(3, 40), between(3, 40)):
            where = (1, between(6, 20), between(6, 20), channels)
            made.append(lambda s, w=where, k=kind, n=size, t=stride: s.pool(s.input(w), k, n, t))
    for channels in (3, 4, 6, 8, 16, 25, 31, 48, 64):
        for side in (6, 12, 25):
            where = image(side, channels)
            made.append(lambda s, w=where: s.mean(s.input(w), (1, 2), False))
    for channels in range(2, 20, 3):
        for style in (_relu(-128), {}):
            where = image(20, 8)
            made.append(lambda s, w=where, c=channels, o=style: s.conv(s.input(w), c, (1, 1), **o))
    for scales in ((0.05, 0.05, 0.1), (0.05, 0.05, 0.07), (0.05, 0.03, 0.1), (0.05, 0.02, 0.05), (0.04, 0.01, 0.04)):
        for _ in range(4):
            made.append(_sum("ADD", image(16, between(3, 64)), *scales))
            made.append(_sum("SUB", image(16, between(3, 64)), *scales))
    return made


def _sum(name: str, shape: tuple[int, ...], a: float, b: float, out: float) -> Build:
    return lambda s: s.binary(name, s.input(shape, scale=a), s.input(shape, scale=b, zero_point=-9), out)


@dataclass(frozen=True)
class Row:
    """A kernel's features and counts for one layer."""

    kernel: str
    features: costs.Features
    instructions: int
    cycles: int
    layer: Layer
    graph: Graph


_PLACED = re.compile(r"^ \.(?:text|rodata)(\S*)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+\S*/(\S+)\.[cS]\.o$", re.MULTILINE)


def code_of(row: Row) -> dict[str, int]:
    """What the linker takes from the kernel library for a layer, by file and section, in bytes; compiled with -Os."""
    plan = memory.plan(row.graph, (row.layer,), exact=False)
    with tempfile.TemporaryDirectory() as folder:
        device.build(CompiledModel(row.graph, (row.layer,), plan, "cortex_m4", "size"), Path(folder))
        text = (Path(folder) / "model.map").read_text()
    # A name that is too long for its column stands on a line of its own.
    lines = re.sub(r"^( \.\S+)\n\s+", r"\1 ", text[text.index("Linker script and memory map") :], flags=re.MULTILINE)
    return {f"{file}{section}": int(size, 16) for section, size, file in _PLACED.findall(lines) if int(size, 16)}


def measure(builds: list[Build]) -> list[Row]:
    """Run all layers in one model, once with every one's first option, then with the second, and so on."""
    s = Sweep(7)
    for build in builds:
        build(s)
    g = s.build()
    options = [cortex_m4.candidates(layer) for layer in lowering.lower(g)]
    vector = vectors(g)[2]
    rows = []
    for turn in range(max(map(len, options))):
        chosen = tuple(given[min(turn, len(given) - 1)] for given in options)
        plan = memory.plan(g, chosen, exact=False)
        ordered = tuple(chosen[k] for k in plan.order)
        profile = device.profile(CompiledModel(g, ordered, plan, "cortex_m4"), vector)
        for k, count in zip(plan.order, profile.layers, strict=True):
            layer = chosen[k]
            if turn < len(options[k]) > 1 and layer.kernel is not None and count is not None:
                features = cortex_m4.FEATURES[layer.kernel](layer)
                rows.append(Row(layer.kernel, features, count.instructions, count.cycles, layer, g))
    return rows


def fit(rows: list[Row], counts: list[int]) -> dict[str, float]:
    """Coefficients of the features, none negative, that leave the least squares of relative errors."""
    names = sorted({name for row in rows for name in row.features})
    matrix = np.array([[row.features.get(name, 0.0) for name in names] for row in rows])
    weights = 1 / np.array(counts, float)
    found, _ = nnls(matrix * weights[:, None], np.ones(len(rows)))
    return {name: float(f"{value:.5g}") for name, value in zip(names, found, strict=True)}


def errors(rows: list[Row], known: dict[str, dict[str, float]], unit: str) -> npt.NDArray[np.float64]:
    """Relative errors of the model."""
    model = [sum(known[unit][name] * amount for name, amount in row.features.items()) for row in rows]
    return np.array([m / getattr(row, unit) - 1 for m, row in zip(model, rows, strict=True)])


@click.command()
@click.option("--check", is_flag=True, help="Compare the stored model with counts of other shapes; write nothing.")
def main(check: bool) -> None:
    """Fit the cost model of the Cortex-M4's kernels to counts from the emulator."""
    console = Console(width=110)
    rows = measure(shapes(np.random.default_rng(2 if check else 1)))
    kernels = sorted({row.kernel for row in rows})
    missing = sorted(set(cortex_m4.FEATURES) - set(kernels))
    if missing:
        raise click.ClickException(f"no layer was measured with {', '.join(missing)}: add shapes that take it")
    table = Table(Column("kernel", no_wrap=True), "layers", "instructions: worst", "mean", "cycles: worst", "mean")
    stored = json.loads(costs.FILE.read_text())["kernels"] if check else {}
    for kernel in kernels:
        own = [row for row in rows if row.kernel == kernel]
        if not check:
            stored[kernel] = {unit: fit(own, [getattr(row, unit) for row in own]) for unit in UNITS}
            stored[kernel]["code"] = code_of(own[0])
        cells = []
        for unit in UNITS:
            off = np.abs(errors(own, stored[kernel], unit))
            cells += [f"{off.max():.1%}", f"{off.mean():.1%}"]
        table.add_row(kernel, str(len(own)), *cells)
    console.print(table)
    if not check:
        about = f"benchmarks/fit_costs.py, {date.today().isoformat()}, arm-none-eabi-gcc -O2, Unicorn's Cortex-M4"
        costs.FILE.write_text(json.dumps({"measured": about, "kernels": stored}, indent=1) + "\n")


if __name__ == "__main__":
    main()
