"""Output channels that answer the same for every input: dead ones, whose weights or scales training left tiny.

Their multipliers and biases are often beyond what a fast output stage takes, and one such channel would keep a whole
layer from it. As the answer is known, they get weights of zero and numbers as any other channel has.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from convert.compiled import fixed_point
from convert.compiled.layer import Array, Constant, Layer, Value

# The axis of the output channels in the weights. array.
_CHANNEL_AXIS = {"kernels_matmul_s8": 0, "kernels_conv_s8": 0, "kernels_depthwise_s8": -1}
_HALF = 1 << 30  # 1/2 as Q0.31
_INT32 = 1 << 31


def settled(layer: Layer) -> Layer:
    """The layer with every constant channel written as weights of zero; the same outputs for all inputs."""
    axis = _CHANNEL_AXIS.get(layer.kernel or "")
    stage, weights = layer.params.get("stage"), layer.params.get("weights")
    if axis is None or not isinstance(stage, Mapping) or not isinstance(weights, Constant):
        return layer
    if stage["channel_step"] != 1:
        return layer
    by_channel = np.moveaxis(weights.values, axis, 0)
    zero_point = layer.params["input_zero_point"] if layer.kernel == "kernels_depthwise_s8" else 0
    assert isinstance(zero_point, int)
    outputs = constant_outputs(by_channel.reshape(len(by_channel), -1), stage, zero_point)
    if not outputs:
        return layer
    values = by_channel.copy()
    arrays = {name: _values(stage, name).copy() for name in ("bias", "multiplier", "shift")}
    for channel, output in outputs.items():
        values[channel] = 0
        arrays["bias"][channel] = 4 * output  # times 1/2, and 2^-1 by the shift
        arrays["multiplier"][channel] = _HALF
        arrays["shift"][channel] = -1
    changed = replace(weights, values=np.ascontiguousarray(np.moveaxis(values, 0, axis)))
    new = {name: replace(_constant(stage, name), values=array) for name, array in arrays.items()}
    params = {**layer.params, "weights": changed, "stage": {**stage, **new}}
    return replace(layer, params=params, constants=(changed, *new.values()))


def constant_outputs(weights: Array, stage: Mapping[str, Value], zero_point: int) -> dict[int, int]:
    """Outputs less the output's zero point of the channels whose output no int8 input changes.

    `weights` is (channels, depth); `zero_point` is taken from every input. The output grows with the accumulator, so
    that it is constant where it is the same for the largest and the smallest.
    """
    w = weights.astype(np.int64)
    low, high = -128 - zero_point, 127 - zero_point
    positive, negative = np.maximum(w, 0).sum(axis=1), np.minimum(w, 0).sum(axis=1)
    bias = _values(stage, "bias").astype(np.int64)
    least = bias + low * positive + high * negative
    most = bias + high * positive + low * negative
    multiplier, shift = (_values(stage, name).astype(np.int64) for name in ("multiplier", "shift"))
    found = {}
    for channel in np.flatnonzero((shift <= 0) & (least >= -_INT32) & (most < _INT32)).tolist():
        ends = [
            fixed_point.multiply(int(sums[channel]), int(multiplier[channel]), int(shift[channel]))
            for sums in (least, most)
        ]
        # An answer beyond int8 is one at its end, whatever the zero point.
        ends = [min(max(end, -256), 256) for end in ends]
        if ends[0] == ends[1]:
            found[channel] = ends[0]
    return found


def _constant(stage: Mapping[str, Value], name: str) -> Constant:
    value = stage[name]
    assert isinstance(value, Constant)
    return value


def _values(stage: Mapping[str, Value], name: str) -> Array:
    return _constant(stage, name).values
