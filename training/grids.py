"""Kernels as matrices, and the integers of a grid; which grid a layer gets, training/rounding.py says. Pure NumPy."""

from typing import Any

import numpy as np
import numpy.typing as npt

from convert.scheme import Grid

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


def largest(bits: int) -> int:
    """The largest integer of a grid of so many bits; the smallest is its negative, as in TFLite's specification."""
    return int(2 ** (bits - 1)) - 1


def columns(kernel: npt.NDArray[Any], depthwise: bool = False) -> npt.NDArray[Any]:
    """A kernel as a matrix (weights a channel, output channels); a view where NumPy can give one.

    Convolutions (height, width, inputs, outputs) and dense kernels (inputs, outputs) have the output last; a depthwise
    kernel (height, width, inputs, multiplier) has inputs * multiplier outputs, in this order.
    """
    channels = kernel.shape[-1] * (kernel.shape[-2] if depthwise else 1)
    return kernel.reshape(-1, channels)


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
