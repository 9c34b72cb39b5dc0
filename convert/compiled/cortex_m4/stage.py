"""The output stage of the Cortex-M4 kernels: four words an output channel, and when the stage is exact.

The arithmetic and the proof stand in firmware/lib/kernels/src/cortex_m4/requantize.inc.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from convert.compiled.layer import Array, Constant, Value

Stage: TypeAlias = Mapping[str, Value]  # the portable kernels' output stage

WORDS = 4  # int32 words a channel: bias2, multiplier, rounding, shift
MAX_SHIFT = 22
_ACCUMULATOR_LIMIT = 1 << 30


def number(params: Mapping[str, Value], name: str) -> int:
    """The integer parameter `name`."""
    value = params[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} is no integer: {value!r}")
    return value


def array(params: Mapping[str, Value], name: str) -> Array:
    """The values of the constant that the parameter `name` points to."""
    value = params[name]
    if not isinstance(value, Constant):
        raise TypeError(f"{name} is no constant: {value!r}")
    return value.values


def nested(params: Mapping[str, Value], name: str) -> Mapping[str, Value]:
    """The nested structure `name` of a layer's parameters."""
    value = params[name]
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is no structure: {value!r}")
    return value


def _by_channel(stage: Mapping[str, Value], name: str) -> Array:
    values = array(stage, name).astype(np.int64)
    return np.resize(values, len(array(stage, "bias"))) if number(stage, "channel_step") == 0 else values


def accumulator_bounds(stage: Mapping[str, Value], weights: Array) -> tuple[Array, Array]:
    """Smallest and largest sum with bias of every channel, for any int8 input.

    `weights` is (channels, depth); the results are int64 (channels,).
    """
    w = weights.astype(np.int64)
    positive, negative = np.maximum(w, 0).sum(axis=1), np.minimum(w, 0).sum(axis=1)
    bias = array(stage, "bias").astype(np.int64)
    return bias - 128 * positive + 127 * negative, bias + 127 * positive - 128 * negative


def sums_are_small(stage: Mapping[str, Value], weights: Array) -> bool:
    """Accumulators with bias stay below 2^30 in absolute value for any input."""
    low, high = accumulator_bounds(stage, weights)
    return bool((low > -_ACCUMULATOR_LIMIT).all() and (high < _ACCUMULATOR_LIMIT).all())


def multipliers_are_normal(stage: Mapping[str, Value]) -> bool:
    """Multipliers are 0 or in [2^30, 2^31)."""
    m = _by_channel(stage, "multiplier")
    return bool(((m == 0) | ((m >= 1 << 30) & (m < 1 << 31))).all())


def shifts_are_right(stage: Mapping[str, Value]) -> bool:
    """Shifts are to the right by at most 22; by at least 1 where negative outputs must be rounded too."""
    shift = -_by_channel(stage, "shift")[_by_channel(stage, "multiplier") != 0]
    return bool((shift >= (0 if variant(stage) == "relu" else 1)).all() and (shift <= MAX_SHIFT).all())


def applicable(stage: Mapping[str, Value], weights: Array) -> bool:
    """Whether the Cortex-M4 output stage gives the portable one's results for any int8 input.

    `weights` is (channels, depth).
    """
    return sums_are_small(stage, weights) and multipliers_are_normal(stage) and shifts_are_right(stage)


def linear_is_exact(stage: Mapping[str, Value]) -> bool:
    """Shifts are positive, as the output stage with the term of the sign needs, where negative outputs are rounded."""
    return bool((words(stage)[:, 3] > 0).all())


def variant(stage: Mapping[str, Value]) -> str:
    """The kernel variant: "relu" if every negative accumulator becomes -128 anyway, otherwise "linear"."""
    return "relu" if number(stage, "zero_point") == -128 else "linear"


def narrow(stage: Mapping[str, Value]) -> bool:
    """Whether the fused activation clamps to less than int8, so that a clamp pass follows."""
    return number(stage, "minimum") > -128 or number(stage, "maximum") < 127


def words(stage: Mapping[str, Value]) -> Array:
    """The channels' `kernels_m4_channel`: int32 (channels, 4). The stage must be applicable."""
    bias, multiplier = _by_channel(stage, "bias"), _by_channel(stage, "multiplier")
    # With multiplier 0 the output is the zero point at any shift.
    shift = np.where(multiplier == 0, 1, -_by_channel(stage, "shift"))
    half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)
    rounding = half + (number(stage, "zero_point") << shift)
    return np.stack([2 * bias, multiplier, rounding, shift], axis=1).astype(np.int32)
