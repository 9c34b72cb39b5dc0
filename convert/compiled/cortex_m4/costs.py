"""What a kernel costs on a Cortex-M4: its code, and a linear model of its loops, fitted to counts from the emulator.

The coefficients lie in costs.json; `python benchmarks/fit_costs.py` measures them anew. Cycles are an estimate, see
convert.compiled.cycles.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from convert.compiled.layer import Layer

FILE = Path(__file__).with_name("costs.json")
Features = Mapping[str, float]


@dataclass(frozen=True)
class Cost:
    """Instructions executed and cycles estimated for one inference."""

    instructions: float
    cycles: float


def _number(layer: Layer, *path: str) -> float:
    value: object = layer.params
    for name in path:
        assert isinstance(value, Mapping)
        value = value[name]
    assert isinstance(value, int)
    return float(value)


def _matmul(layer: Layer) -> Features:
    rows, depth, channels = (_number(layer, name) for name in ("rows", "depth", "channels"))
    pairs, single = rows // 2, rows % 2
    return {
        "calls": 1,
        "rows": rows,
        "pair outputs": pairs * channels,
        "single outputs": single * channels,
        "pair products": pairs * channels * depth,
        "single products": single * channels * depth,
    }


def _pixels(layer: Layer) -> float:
    window = (_number(layer, "window", name) for name in ("batches", "output_height", "output_width"))
    batches, height, width = window
    return batches * height * width


def _taps(layer: Layer) -> float:
    return _number(layer, "window", "height") * _number(layer, "window", "width")


def _conv(layer: Layer) -> Features:
    pixels, channels = _pixels(layer), _number(layer, "output_channels")
    depth = _taps(layer) * _number(layer, "input_channels") / _number(layer, "groups")
    return {
        "calls": 1,
        "pixels": pixels,
        "window rows": pixels * _number(layer, "window", "height"),
        "gathered": pixels * depth,
        "outputs": pixels * channels,
        "products": pixels * channels * depth,
    }


_LINES = ("copied rows", "copied bytes", "lines", "pairs, stride 1", "pairs, wider strides")
_WINDOWS = ("pixels", "outputs", "window rows", "products")


def _depthwise(layer: Layer) -> Features:
    """Two ways, by copied lines and by windows; what the other one has is 0."""
    found = _by_lines(layer) if layer.params["lines"] else _by_windows(layer)
    return {"calls": 1, **dict.fromkeys((*_LINES, *_WINDOWS), 0.0), **found}


def _by_lines(layer: Layer) -> Features:
    batches, height, width = (_number(layer, "window", n) for n in ("batches", "output_height", "output_width"))
    channels, rows = _number(layer, "input_channels"), _number(layer, "window", "input_height")
    lines = batches * height * channels
    stride = _number(layer, "window", "stride_width")
    return {
        "copied rows": batches * rows,
        "copied bytes": batches * rows * _number(layer, "window", "input_width") * channels,
        "lines": lines,
        "pairs, stride 1" if stride == 1 else "pairs, wider strides": lines * math.ceil(width / 2),
    }


def _by_windows(layer: Layer) -> Features:
    outputs = _pixels(layer) * _number(layer, "input_channels") * _number(layer, "multiplier")
    rows = outputs * _number(layer, "window", "height")
    return {
        "pixels": _pixels(layer),
        "outputs": outputs,
        "window rows": rows,
        "products": outputs * _taps(layer),
    }


def _pool(layer: Layer) -> Features:
    outputs = _pixels(layer) * _number(layer, "channels")
    return {"calls": 1, "pixels": _pixels(layer), "outputs": outputs, "elements": outputs * _taps(layer)}


def _add(layer: Layer) -> Features:
    shape = layer.params["shape"]
    assert isinstance(shape, tuple)
    elements = float(math.prod(shape))
    return {"calls": 1, "rows": elements / shape[-1], "elements": elements}


def _mean(layer: Layer) -> Features:
    kept, reduced = layer.params["kept"], layer.params["reduced"]
    assert isinstance(kept, tuple)
    assert isinstance(reduced, tuple)
    outputs = float(math.prod(kept))
    return {"calls": 1, "outputs": outputs, "elements": outputs * math.prod(reduced)}


PORTABLE: dict[str, Callable[[Layer], Features]] = {
    "kernels_matmul_s8": _matmul,
    "kernels_conv_s8": _conv,
    "kernels_depthwise_s8": _depthwise,
    "kernels_average_pool_s8": _pool,
    "kernels_max_pool_s8": _pool,
    "kernels_add_s8": _add,
    "kernels_sub_s8": _add,
    "kernels_mean_s8": _mean,
}


@lru_cache(maxsize=1)
def _coefficients() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    known: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(FILE.read_text())["kernels"]
    return known


def code(kernel: str) -> Mapping[str, float]:
    """Bytes of every function and table that a kernel needs, by name; kernels may share some. Compiled with -Os.

    Raises KeyError for a kernel that was not measured.
    """
    return _coefficients()[kernel]["code"]


def estimate(kernel: str, features: Features) -> Cost:
    """The cost of a kernel with these features.

    Raises KeyError for a kernel or a feature that was not measured.
    """
    known = _coefficients()[kernel]

    def total(unit: str) -> float:
        return sum(known[unit][name] * amount for name, amount in features.items())

    return Cost(total("instructions"), total("cycles"))
