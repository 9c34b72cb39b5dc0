"""Weights on grids of few bits: which scale, which integer. Pure NumPy, used by every technique that rounds weights.

A grid is symmetric and without offset, as TFLite stores weights: `q * scale` with whole q in [-(2^(b-1) - 1),
2^(b-1) - 1], that is +-127 for 8 bits, +-7 for 4 and +-1 for 2 (Jacob et al. 2018; the narrow range is TFLite's
8-bit specification). Kernels are looked at as matrices (weights a channel, output channels): see `columns`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from convert.scheme import Grid

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]

# Scales that are tried for the least squared error, as shares of the one that reaches the largest weight: with few
# bits it pays to cut off a tail. The best for 2 bits and 100,000 normally distributed weights is a quarter.
_SHARES = np.linspace(0.05, 1.0, 96)


def largest(bits: int) -> int:
    """The largest integer of a grid of so many bits; the smallest is its negative."""
    return int(2 ** (bits - 1)) - 1


def columns(kernel: npt.NDArray[Any], depthwise: bool = False) -> npt.NDArray[Any]:
    """A kernel as a matrix (weights a channel, output channels); a view where NumPy can give one.

    Convolutions (height, width, inputs, outputs) and dense kernels (inputs, outputs) have the output last; a depthwise
    kernel (height, width, inputs, multiplier) has inputs * multiplier outputs, in this order.
    """
    channels = kernel.shape[-1] * (kernel.shape[-2] if depthwise else 1)
    return kernel.reshape(-1, channels)


def max_scales(matrix: npt.NDArray[Any], bits: int, per_channel: bool) -> Floats:
    """The scales (1,) or (channels,) that just reach the largest magnitude; 1 where all weights are zero."""
    reach = np.abs(matrix).max(axis=0) if per_channel else np.abs(matrix).max(keepdims=True).reshape(1)
    scales = reach.astype(np.float32) / np.float32(largest(bits))
    return np.where(scales > 0, scales, np.float32(1)).astype(np.float32)


def mse_scales(matrix: npt.NDArray[Any], bits: int, per_channel: bool) -> Floats:
    """The scales (1,) or (channels,) with the least squared error of rounding to nearest, tails cut off."""
    reach = max_scales(matrix, bits, per_channel)
    best, scales = np.full(reach.shape, np.inf), reach
    for share in _SHARES:
        tried = (reach * np.float32(share)).astype(np.float32)
        error = (matrix - values(nearest(matrix, tried, bits), tried)).astype(np.float64) ** 2
        error = error.sum(axis=0) if per_channel else error.sum().reshape(1)
        # The wider range wins a tie: it changes no weight by more.
        scales = np.where(error <= best, tried, scales).astype(np.float32)
        best = np.minimum(error, best)
    return scales


def nearest(matrix: npt.NDArray[Any], scales: npt.NDArray[Any], bits: int) -> Integers:
    """The nearest integers of the grid, halves to even; what is beyond the grid becomes its largest or smallest."""
    integers: Integers = np.clip(np.rint(matrix / scales), -largest(bits), largest(bits)).astype(np.int32)
    return integers


def values(integers: npt.NDArray[Any], scales: npt.NDArray[Any]) -> Floats:
    """The weights float32 that integers of a grid stand for."""
    return (integers.astype(np.float32) * scales.astype(np.float32)).astype(np.float32)


def grid(scales: npt.NDArray[Any], bits: int) -> Grid:
    """The grid as it travels with the model."""
    return Grid(bits, tuple(float(scale) for scale in scales))
