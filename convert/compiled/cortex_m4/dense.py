"""Dense layers on the Cortex-M4: products of a row with four output channels at a time.

Two families, each with one multiplier for all channels ("tensor") or one a channel: `kernels_m4_dense_*` widens a row
to int16 in scratch memory first, after which the row's memory is free for the output; `kernels_m4_dense_direct_*` needs
no scratch and takes about an eighth more; `kernels_m4_dense_long_*` is the latter for rows whose sums need two passes.
What they compute, and why it is exact, stands in
firmware/lib/kernels/src/cortex_m4/dense_blocks.S.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from convert.compiled import overlap
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.layer import Array, Constant, Layer, Value

_CHANNELS, _INPUTS, _ROUND = 4, 8, 4  # channels a block, inputs a step, steps a round of the unrolled loop
_UPPER_LIMIT = 1 << 23
_WIDENED, _DIRECT, _LONG = "kernels_m4_dense_", "kernels_m4_dense_direct_", "kernels_m4_dense_long_"
_VARIANTS = ("tensor", "tensor_relu", "channel", "channel_relu")


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _padded(weights: Array) -> Array:
    """Weights (channels, depth) filled up with zeros to whole blocks and steps: int64."""
    channels, depth = weights.shape
    fill = (0, _up(channels, _CHANNELS) - channels), (0, _up(depth, _INPUTS) - depth)
    return np.pad(weights.astype(np.int64), fill)


def _halfwords(weights: Array) -> Array:
    """256 * odd channel + even channel: int64 (channels / 2, depth)."""
    halfwords: Array = weights[0::2] + 256 * weights[1::2]
    return halfwords


def pairs_fit(weights: Array) -> bool:
    """Every halfword 256 * odd channel + even channel is one: -128 above a negative weight is not."""
    return bool(_halfwords(_padded(weights)).min() >= -(1 << 15))


def upper_sums_fit(stage: Mapping[str, Value], weights: Array) -> bool:
    """Accumulators with bias of odd channels, which stand in the upper 24 bits of a word, fit there for any input."""
    low, high = stages.accumulator_bounds(stage, weights)
    return bool((low[1::2] >= -_UPPER_LIMIT).all() and (high[1::2] < _UPPER_LIMIT).all())


def _second(depth: int) -> int:
    """Inputs of the second part of a long row."""
    return depth // (2 * _INPUTS * _ROUND) * (_INPUTS * _ROUND)


def parts_fit(stage: Mapping[str, Value], weights: Array) -> bool:
    """The same for the two parts of a long row, of which the first has the bias."""
    first = weights.shape[1] - _second(weights.shape[1])
    if first in (0, weights.shape[1]) or not upper_sums_fit(stage, weights[:, :first]):
        return False
    rest = np.abs(weights[1::2, first:].astype(np.int64)).sum(axis=1) * 128
    return bool((rest < _UPPER_LIMIT).all())


def stream(weights: Array, stage: Mapping[str, Value], per_channel: bool) -> Array:
    """The stream of dense_blocks.S: int32 (words,). `weights` is (channels, depth)."""
    padded = _padded(weights)
    channels, depth = padded.shape
    half = _halfwords(padded).reshape(channels // 4, 2, depth // 8, 8)
    # As SXTB16 widens a word, and the same rotated by a byte: inputs 0 and 2, then 1 and 3.
    words = (half[..., [0, 1, 4, 5]] & 0xFFFF) | (half[..., [2, 3, 6, 7]] << 16)
    products = words.transpose(0, 2, 3, 1).reshape(channels // 4, -1)
    bias = np.zeros(channels, np.int64)
    bias[: len(weights)] = stages.array(stage, "bias")
    even, odd = bias[0::2], bias[1::2]
    starts = np.stack([256 * odd + even, even], axis=1).reshape(channels // 4, 4)
    parts = [starts, products]
    if per_channel:
        last = np.zeros((channels, 3), np.int64)
        last[: len(weights)] = stages.words(stage)[:, 1:]
        parts.append(last.reshape(channels // 4, 12))
    blocks = np.concatenate(parts, axis=1)
    return (blocks & 0xFFFFFFFF).astype(np.uint32).view(np.int32).reshape(-1)


def candidates(layer: Layer) -> Sequence[Layer]:
    """A kernels_matmul_s8 layer row by row, with and without scratch."""
    weights, stage = stages.array(layer.params, "weights"), stages.nested(layer.params, "stage")
    if not (stages.applicable(stage, weights) and pairs_fit(weights)):
        return []
    long = not upper_sums_fit(stage, weights)
    if long and not parts_fit(stage, weights):
        return []
    rows, (channels, depth) = stages.number(layer.params, "rows"), weights.shape
    per_channel = stages.number(stage, "channel_step") != 0
    laid = Constant("weights", stream(weights, stage, per_channel), "stream of blocks of four channels")
    first = stages.words(stage)[0]
    params: dict[str, Value] = {
        "rows": rows,
        "depth": depth,
        "channels": channels,
        "weights": laid,
        "multiplier": int(first[1]),
        "rounding": int(first[2]),
        "shift": int(first[3]),
        "minimum": stages.number(stage, "minimum"),
        "maximum": stages.number(stage, "maximum"),
    }
    variant = ("channel" if per_channel else "tensor") + ("_relu" if stages.variant(stage) == "relu" else "")
    base = replace(layer, params=params, params_type="kernels_m4_dense_params", constants=(laid,), overlaps=())
    found = []
    if not long:
        widened = replace(base, kernel=f"{_WIDENED}{variant}_s8", scratch_bytes=2 * _up(depth, _INPUTS))
        found.append(overlap.overlapping(widened, overlap.rows(rows, depth, channels)))
    if depth % _INPUTS == 0:
        direct = replace(base, kernel=f"{_LONG if long else _DIRECT}{variant}_s8", scratch_bytes=0)
        found.append(overlap.overlapping(direct, overlap.rows(rows, depth, channels, store=_CHANNELS)))
    return found


def features(layer: Layer) -> dict[str, float]:
    """Calls, rows, and how often each loop of dense_blocks.S and dense.c runs."""
    p = layer.params
    rows, depth, channels = (stages.number(p, name) for name in ("rows", "depth", "channels"))
    blocks, steps = _up(channels, _CHANNELS) // _CHANNELS, _up(depth, _INPUTS) // _INPUTS
    rest_channels, rest_inputs = channels % _CHANNELS, depth % _INPUTS
    narrow = stages.number(p, "minimum") > -128 or stages.number(p, "maximum") < 127
    found = {
        "calls": 1,
        "rows": rows,
        "blocks": rows * blocks,
        "steps": rows * blocks * steps,
        "rounds": rows * blocks * -(-steps // _ROUND),
        "part_blocks": rows * (rest_channels > 0),
        "part_channels": rows * rest_channels,
        "clamped": rows * channels * narrow,
    }
    if layer.scratch_bytes:
        found |= {
            "widened": rows * (depth // _INPUTS),
            "part_inputs": rows * rest_inputs,
            "part_steps": rows * (rest_inputs > 0),
        }
    return {name: float(value) for name, value in found.items()}


CANDIDATES = {"kernels_matmul_s8": candidates}
FEATURES = {f"{family}{variant}_s8": features for family in (_WIDENED, _DIRECT, _LONG) for variant in _VARIANTS}
