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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Column, Table
from scipy.optimize import nnls

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "convert"), str(ROOT / "tests" / "convert" / "compiled")]

from tflite_builder import Sweep, vectors  # noqa: E402

from convert.compiled import CompiledModel, cortex_m4, device, lowering, memory  # noqa: E402
from convert.compiled.cortex_m4 import costs  # noqa: E402
from convert.compiled.layer import Layer  # noqa: E402
from convert.graph import Graph  # noqa: E402

UNITS = ("instructions", "cycles")
Build = Callable[[Sweep], object]
Shape = tuple[int, ...]
Options = dict[str, Any]

RELU: Options = {"activation": "relu", "zero_point": -128}
LINEAR: Options = {}
CLAMPED: Options = {"activation": "relu6"}


class Sizes:
    """Sizes drawn at random, evenly over their logarithms."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: int, high: int) -> int:
        """A number from `low` to `high`."""
        return round(float(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def image(self, side: int, channels: int) -> Shape:
        """An image of at most `side` x `side` pixels."""
        return 1, self.between(2, side), self.between(2, side), channels


def _layer(operator: str, shape: Shape, *arguments: Any, **options: Any) -> Build:
    """A layer of one input, by the name of the method that adds it."""
    return lambda s: getattr(s, operator)(s.input(shape), *arguments, **options)


def _sum(name: str, shape: Shape, a: float, b: float, out: float) -> Build:
    return lambda s: s.binary(name, s.input(shape, scale=a), s.input(shape, scale=b, zero_point=-9), out)


def products(n: Sizes) -> Iterator[Build]:
    """1x1 convolutions."""
    for style in (RELU, LINEAR, CLAMPED):
        for _ in range(6):
            yield _layer("conv", n.image(14, 4 * n.between(1, 40)), 2 * n.between(2, 64), (1, 1), **style)
            yield _layer("conv", n.image(14, n.between(3, 70)), n.between(3, 65), (1, 1), **style)
    for depth, style in product((3, 5, 8, 13, 16, 24, 32, 50), (RELU, LINEAR)):  # many pixels share few weights
        where = 1, n.between(17, 26), n.between(17, 26), depth
        yield _layer("conv", where, n.between(2, 4096 // depth // 2), (1, 1), **style)
    for channels, style, side in product((16, 32, 64), (RELU, LINEAR, CLAMPED), (5, 8, 24, 40)):
        yield _layer("conv", n.image(side, 8), channels, (1, 1), **style)
    for channels, style in product(range(2, 20, 3), (RELU, LINEAR)):
        yield _layer("conv", n.image(20, 8), channels, (1, 1), **style)


def convolutions(n: Sizes) -> Iterator[Build]:
    """Convolutions of windows, over small images and over large ones."""
    windows = [(3, 3), (5, 5), (1, 3), (7, 1), (10, 4), (2, 2)]
    for size, stride, style in product(windows, ((1, 1), (2, 2)), (RELU, LINEAR, CLAMPED)):
        where = 1, n.between(10, 20), n.between(7, 20), n.between(1, 24)
        yield _layer("conv", where, 2 * n.between(2, 16), size, stride, **style)
    for stride, style, size in product(((1, 1), (2, 2)), (RELU, LINEAR), ((3, 3), (3, 3), (5, 5), (3, 1))):
        where = 1, n.between(34, 40), n.between(34, 40), n.between(1, 10)
        yield _layer("conv", where, n.between(2, 16), size, stride, **style)


def depthwise(n: Sizes) -> Iterator[Build]:
    """Depthwise convolutions: of 3x3, whose planes' pitches are powers of two, and of other windows."""
    widths = ((2, 12), (16, 29), (31, 61), (63, 90))
    for stride, (low, high), style in product(((1, 1), (2, 2)), widths, (RELU, LINEAR)):
        for _ in range(8 if low > 2 else 30):
            where = 1, n.between(2, 24), n.between(low, high), n.between(3, 64 if high < 60 else 12)
            yield _layer("depthwise", where, 1, (3, 3), stride, **style)
    for size, stride, style, _ in product(((5, 5), (1, 5), (3, 1)), ((1, 1), (2, 2)), (RELU, LINEAR), range(3)):
        yield _layer("depthwise", n.image(26, n.between(3, 40)), 1, size, stride, **style)


def dense(n: Sizes) -> Iterator[Build]:
    """Dense layers; the last ones with rows whose sums take two passes."""
    for style, per_channel in product((RELU, LINEAR), (True, False)):
        more = {**style, "per_channel": per_channel}
        for _ in range(8):
            yield _layer("dense", (1, 4 * n.between(2, 160)), n.between(4, 200), **more)
            yield _layer("dense", (n.between(1, 5), n.between(5, 300)), n.between(3, 50), **more)
        for _ in range(6):
            yield _layer("dense", (1, 8 * n.between(160, 230)), n.between(4, 60), **more)


def others(n: Sizes) -> Iterator[Build]:
    """Pooling, means and sums."""
    for kind, size, stride in product(("AVERAGE", "MAX"), ((2, 2), (3, 3), (5, 5)), ((1, 1), (2, 2))):
        for channels in (4 * n.between(1, 16), 4 * n.between(1, 16), n.between(3, 40), n.between(3, 40)):
            yield _layer("pool", (1, n.between(6, 20), n.between(6, 20), channels), kind, size, stride)
    for channels, side in product((3, 4, 6, 8, 16, 25, 31, 48, 64), (6, 12, 25)):
        yield _layer("mean", n.image(side, channels), (1, 2), False)
    scales = ((0.05, 0.05, 0.1), (0.05, 0.05, 0.07), (0.05, 0.03, 0.1), (0.05, 0.02, 0.05), (0.04, 0.01, 0.04))
    for (a, b, out), name, _ in product(scales, ("ADD", "SUB"), range(4)):
        yield _sum(name, n.image(16, n.between(3, 64)), a, b, out)


def shapes(rng: np.random.Generator) -> list[Build]:
    """Layers as networks for microcontrollers have them."""
    sizes = Sizes(rng)
    return [build for family in (products, convolutions, depthwise, dense, others) for build in family(sizes)]


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
