"""Weights rounded to symmetric grids of few bits: q * scale with q from -(2^(bits-1) - 1) to 2^(bits-1) - 1.

Symmetric and without the lowest number, as the TFLite 8-bit quantisation specification has weights; 2 bits are ternary.
Convolutions have a scale for each output channel, dense layers one: conversion stores them so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.scheme import Grid
from training import backend, surgery
from training.compression import zeros

Floats = npt.NDArray[np.float32]
Clipping = Literal["max", "mse"]

# Shares of the largest weight that are tried as the end of the grid.
_SHARES = np.linspace(1.0, 0.1, 91)


def largest(bits: int) -> int:
    """The largest integer of a grid."""
    return int(2 ** (bits - 1) - 1)


def layers(model: Any, skip: Sequence[str] = ()) -> list[Any]:
    """The layers whose kernels are rounded, in the model's order; UsageError where `skip` names another one."""
    keras = backend.keras().layers
    kinds = (keras.Conv1D, keras.Conv2D, keras.DepthwiseConv2D, keras.Dense)
    found = [layer for layer in model.layers if type(layer) in kinds]
    names = [layer.name for layer in found]
    if unknown := sorted(set(skip) - set(names)):
        raise UsageError(
            f"compress.skip names {', '.join(map(repr, unknown))}, which the model does not have; "
            f"layers whose weights can be rounded are {', '.join(names)}"
        )
    return [layer for layer in found if layer.name not in skip]


def kernel(layer: Any) -> Floats:
    """A layer's kernel, output channels last; a depthwise one as (height, width, channels)."""
    values: Floats = np.asarray(zeros.kernel(layer) if type(layer).__name__ != "Conv1D" else layer.kernel)
    return values.reshape(*values.shape[:2], -1) if type(layer).__name__ == "DepthwiseConv2D" else values


def grid(layer: Any, bits: int, per_channel: bool, clipping: Clipping) -> Grid:
    """The grid for a layer's kernel: up to its largest weight, or with the least squared error of all that clip.

    A channel of zeros gets the others' median scale, which suits its bias.
    """
    values = kernel(layer)
    own = per_channel and type(layer).__name__ != "Dense"
    columns = values.reshape(-1, values.shape[-1]) if own else values.reshape(-1, 1)
    scales = best_scales(columns, bits, clipping)
    alive = scales > 0
    scales[~alive] = np.median(scales[alive]) if alive.any() else 1.0
    return Grid(bits, tuple(map(float, scales)))


def best_scales(columns: Floats, bits: int, clipping: Clipping) -> Floats:
    """A scale for each column; 0 for one of zeros."""
    ends: Floats = np.abs(columns).max(axis=0).astype(np.float32) / np.float32(largest(bits))
    if clipping == "max":
        return ends
    found, least = ends.copy(), np.full(len(ends), np.inf)
    for share in _SHARES:
        scales = (ends * np.float32(share)).astype(np.float32)
        error = ((snapped(columns, np.where(scales > 0, scales, 1), bits) - columns) ** 2).sum(axis=0, dtype=np.float64)
        better = error < least
        found[better], least[better] = scales[better], error[better]
    return found


def snapped(values: Floats, scales: Any, bits: int) -> Floats:
    """The nearest points of a grid, channels last."""
    steps, end = np.asarray(scales, np.float32), largest(bits)
    nearest: Floats = np.clip(np.round(values / steps), -end, end).astype(np.float32) * steps
    return nearest


def round_to(layer: Any, chosen: Grid) -> list[Any]:
    """A layer's weights with the kernel on a grid."""
    values, rest = kernel(layer), layer.get_weights()[1:]
    return [snapped(values, chosen.scales, chosen.bits).reshape(layer.get_weights()[0].shape), *rest]


def rounded(model: Any, grids: Mapping[str, Grid]) -> Any:
    """A copy of the model with the named layers' kernels on their grids."""
    chosen = {layer.name: layer for layer in model.layers if layer.name in grids}
    return surgery.rebuild(
        model, {name: surgery.copy(layer, round_to(layer, grids[name])) for name, layer in chosen.items()}
    )


def weight_bytes(found: Iterable[Any], grids: Mapping[str, Grid]) -> float:
    """Bytes of the layers' kernels at their grids' bits, 8 where a layer has none."""
    return sum(kernel(layer).size * (grids[layer.name].bits if layer.name in grids else 8) / 8 for layer in found)
