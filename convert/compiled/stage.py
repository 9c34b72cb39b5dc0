"""From an accumulator to an int8 output: multipliers, activations, biases."""

import numpy as np

from convert.compiled import fixed_point
from convert.compiled.layer import (
    Array,
    Constant,
    Value,
    constant,
    describe,
    optional,
    output,
    per_tensor,
    refuse,
    tensor,
)
from convert.graph import Graph, Operator, Tensor

# ActivationFunctionType of the TFLite schema: the real range to which the output is clamped.
_RANGES: dict[int, tuple[float | None, float | None]] = {
    0: (None, None),  # NONE
    1: (0.0, None),  # RELU
    2: (-1.0, 1.0),  # RELU_N1_TO_1
    3: (0.0, 6.0),  # RELU6
}
_MAX_DEPTH = 1 << 17


def activation_range(op: Operator, out: Tensor) -> tuple[int, int]:
    """Smallest and largest output (int8 or int16) of the operator's fused activation."""
    kind = int(op.options.get("fusedActivationFunction", 0))
    if kind not in _RANGES:
        raise refuse(op, f"fused activation number {kind} is not supported", "use none, ReLU, ReLU6 or ReLU-1-to-1")
    q = per_tensor(op, out)
    low, high = (None if r is None else fixed_point.quantize(r, q.scale, q.zero_point) for r in _RANGES[kind])
    least, most = (-32768, 32767) if out.dtype == np.int16 else (-128, 127)
    minimum = max(least, least if low is None else low)
    maximum = min(most, most if high is None else high)
    if minimum > maximum:
        raise refuse(
            op,
            f"the fused activation leaves no value of {describe(out)} (scale {q.scale:g}, zero point {q.zero_point})",
            "convert the model again with representative data",
        )
    return minimum, maximum


def multipliers(op: Operator, reals: list[float]) -> tuple[Array, Array]:
    """Multipliers (int32) and shifts (int8) of real factors.

    Raises UsageError for a factor of 2^30 or more, which no real model has.
    """
    pairs = [fixed_point.quantize_multiplier(r) for r in reals]
    if any(shift > 30 for _, shift in pairs):
        raise refuse(
            op, f"rescaling by {max(reals):g} is out of range", "convert the model again: its scales are damaged"
        )
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int8)


def output_stage(graph: Graph, op: Operator, weights: Array, axis: int, *, fold: bool = True) -> dict[str, Value]:
    """The kernels' `kernels_output_stage` of a convolution or dense layer.

    `weights` is (channels, depth); `axis` is the channels' axis in the weights' tensor. With `fold` the bias absorbs
    the input's zero point, for kernels that multiply raw inputs. Scales are multiplied in double precision, also for a
    dense layer with one scale: TFLite Micro's source of August 2026 takes that product in float32, its wheel of October
    2026 does not (measured on ties).

    Raises UsageError for quantisations, biases or depths that are not supported.
    """
    x, w, out = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    scales = weight_scales(op, w, axis, len(weights))
    if weights.shape[1] >= _MAX_DEPTH:
        raise refuse(op, f"{weights.shape[1]} products an output may overflow 32 bits", f"use fewer than {_MAX_DEPTH}")
    qx, qout = per_tensor(op, x), per_tensor(op, out)
    multiplier, shift = multipliers(op, [qx.scale * float(s) / qout.scale for s in scales])
    minimum, maximum = activation_range(op, out)
    layout = "[output channel]" + (", input zero point folded in" if fold else "")
    return {
        "bias": Constant("bias", _bias(graph, op, weights, qx.zero_point if fold else 0), layout),
        "multiplier": Constant("multiplier", multiplier, "[output channel]"),
        "shift": Constant("shift", shift, "[output channel]"),
        "channel_step": 0 if len(scales) == 1 else 1,
        "zero_point": qout.zero_point,
        "minimum": minimum,
        "maximum": maximum,
    }


def weight_scales(op: Operator, w: Tensor, axis: int, channels: int) -> Array:
    """The scales of symmetric weights: one, or one a channel along `axis`."""
    q = w.quantization
    if q is None or not (q.scales > 0).all():
        raise refuse(op, f"{describe(w)} has no valid scale", "convert the model to full-integer int8")
    if np.any(q.zero_points):
        raise refuse(
            op,
            f"{describe(w)} has zero point {q.zero_points[np.flatnonzero(q.zero_points)[0]]} where weights have 0",
            "convert the model again: int8 weights are symmetric",
        )
    if len(q.scales) > 1 and (q.axis != axis or len(q.scales) != channels):
        raise refuse(
            op,
            f"{describe(w)} has {len(q.scales)} scales along axis {q.axis}, not {channels} along axis {axis}, or 1",
            "convert the model again",
        )
    return q.scales


def _bias(graph: Graph, op: Operator, weights: Array, zero_point: int) -> Array:
    bias = optional(graph, op, 2)
    values = np.zeros(len(weights), np.int64)
    if bias is not None:
        if bias.dtype != np.int32 or bias.elements != len(weights):
            raise refuse(
                op,
                f"bias {describe(bias)} is not INT32 with {len(weights)} elements",
                "convert the model to full-integer int8",
            )
        values = constant(op, bias).reshape(-1).astype(np.int64)
    folded = values - zero_point * weights.astype(np.int64).sum(axis=1)
    return np.array([fixed_point.wrap32(int(v)) for v in folded], np.int32)
