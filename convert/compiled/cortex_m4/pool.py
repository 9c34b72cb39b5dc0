"""Pooling and means on the Cortex-M4: four channels a word."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from convert.compiled import overlap
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.layer import Layer

_MAX_SUMMED = 255  # int8 values that a signed halfword holds the sum of


def _candidate(layer: Layer, kernel: str, distance: int) -> Layer:
    return overlap.overlapping(replace(layer, kernel=kernel, overlaps=()), distance)


def _pool(layer: Layer, kernel: str) -> Sequence[Layer]:
    channels = stages.number(layer.params, "channels")
    if channels < 4:
        return []
    window = stages.nested(layer.params, "window")
    # Groups of eight and four channels and the rest, in this order; what counts is that they follow one another.
    return [_candidate(layer, kernel, overlap.windowed(window, channels, channels, store=1))]


def maximum(layer: Layer) -> Sequence[Layer]:
    """A kernels_max_pool_s8 layer of at least four channels."""
    return _pool(layer, "kernels_m4_max_pool_s8")


def average(layer: Layer) -> Sequence[Layer]:
    """A kernels_average_pool_s8 layer of at least four channels whose windows hold at most 255 elements."""
    window = stages.nested(layer.params, "window")
    if stages.number(window, "height") * stages.number(window, "width") > _MAX_SUMMED:
        return []
    return _pool(layer, "kernels_m4_average_pool_s8")


def _lengths(layer: Layer) -> tuple[int, int, int]:
    """Images, pixels of an image and channels of a mean over one group of axes."""
    kept, reduced = layer.params["kept"], layer.params["reduced"]
    assert isinstance(kept, tuple)
    assert isinstance(reduced, tuple)
    return kept[0], reduced[0], kept[1] * kept[2]


def mean(layer: Layer) -> Sequence[Layer]:
    """A kernels_mean_s8 layer over one group of axes with at least four channels behind them."""
    reduced = layer.params["reduced"]
    assert isinstance(reduced, tuple)
    images, pixels, channels = _lengths(layer)
    if reduced[1] != 1 or channels < 4:
        return []
    n, c = np.indices((images, channels), dtype=np.int64).reshape(2, -1)
    # Groups of channels follow one another, as single ones would.
    distance = overlap.distance(n * pixels * channels + c, np.arange(1, len(n) + 1), images * pixels * channels)
    return [_candidate(layer, "kernels_m4_mean_s8", distance)]


def _groups(channels: int) -> dict[str, int]:
    return {"eights": channels // 8, "fours": channels % 8 // 4, "lasts": int(channels % 4 > 0)}


def _clipped(outputs: int, stride: int, pad: int, size: int, length: int) -> np.ndarray:
    """Taps of each output along one axis that lie within the image: (outputs,)."""
    start = np.arange(outputs) * stride - pad
    return np.minimum(start + size, length) - np.maximum(start, 0)


def pool_features(layer: Layer) -> dict[str, float]:
    """Calls, lines, pixels, and for each kind of group: groups, rows and taps."""
    p, w = layer.params, stages.nested(layer.params, "window")

    def axis(name: str, pad: str) -> np.ndarray:
        return _clipped(
            *(stages.number(w, key) for key in (f"output_{name}", f"stride_{name}", pad, name, f"input_{name}"))
        )

    batches, channels = stages.number(w, "batches"), stages.number(p, "channels")
    rows, columns = axis("height", "pad_top"), axis("width", "pad_left")
    lines, pixels = batches * len(rows), batches * len(rows) * len(columns)
    squares = batches * int((rows == 2).sum() * (columns == 2).sum())  # windows of 2x2 have code of their own
    found = {
        "calls": 1.0,
        "lines": float(lines),
        "pixels": float(pixels),
        "squares": float(squares),
        "square_groups": float(squares * (channels // 4)),
        "square_lasts": float(squares * (channels % 4 > 0)),
        "rest": float(channels % 4 * pixels),
    }
    for kind, n in _groups(channels).items():
        found[kind] = float(n * (pixels - squares))
        found[f"{kind}_rows"] = float(n * (batches * rows.sum() * len(columns) - 2 * squares))
        found[f"{kind}_taps"] = float(n * (batches * rows.sum() * columns.sum() - 4 * squares))
    narrow = stages.number(p, "minimum") > -128 or stages.number(p, "maximum") < 127
    found["clamped"] = float(narrow * pixels * channels)
    return found


def mean_features(layer: Layer) -> dict[str, float]:
    """Calls, images, and for each kind of group: groups, pieces and taps."""
    images, pixels, channels = _lengths(layer)
    found = {"calls": 1.0, "images": float(images), "rest": float(channels % 4 * images)}
    for kind, n in _groups(channels).items():
        found[kind] = float(n * images)
        found[f"{kind}_pieces"] = float(n * images * -(-pixels // _MAX_SUMMED))
        found[f"{kind}_taps"] = float(n * images * pixels)
    return found


CANDIDATES: dict[str, Callable[[Layer], Sequence[Layer]]] = {
    "kernels_max_pool_s8": maximum,
    "kernels_average_pool_s8": average,
    "kernels_mean_s8": mean,
}
FEATURES: dict[str, Callable[[Layer], dict[str, float]]] = {
    "kernels_m4_max_pool_s8": pool_features,
    "kernels_m4_average_pool_s8": pool_features,
    "kernels_m4_mean_s8": mean_features,
}
