"""Functions of one int8 value, as tables made at build time, and SOFTMAX.

ABS, ELU, HARD_SWISH, LEAKY_RELU, LOGISTIC, RELU, RELU6, TANH.
"""

import math
from collections.abc import Callable

import numpy as np

from convert.compiled import fixed_point, overlap
from convert.compiled.layer import (
    Array,
    Constant,
    Layer,
    Lower,
    Value,
    describe,
    make,
    output,
    per_tensor,
    refuse,
    require_type,
    tensor,
)
from convert.graph import Graph, Operator, Quantization

_INT8 = range(-128, 128)
_MAX_SOFTMAX_DEPTH = 4095
_MAX_SHIFT = 30
_MAX_SHIFT = 30


def table_of(function: Callable[[int], int], values: range) -> Array:
    """A byte a value in the order of the values taken as unsigned bytes: uint8 (256,)."""
    table = np.zeros(256, np.uint8)
    for x in values:
        table[x & 255] = function(x) & 255
    return table


def table_layer(graph: Graph, op: Operator, table: Array, input: int = 0) -> Layer:
    """An operator as a table of its 256 results, indexed by input number `input`."""
    params: dict[str, Value] = {
        "elements": tensor(graph, op, input).elements,
        "table": Constant("table", table, "indexed by the input as an unsigned byte"),
    }
    layer = make(graph, op, "kernels_table_8", "kernels_table_params", params, inputs=op.inputs[input : input + 1])
    return overlap.overlapping(layer, overlap.rows(tensor(graph, op, input).elements, 1, 1))


def _ends(graph: Graph, op: Operator) -> tuple[Quantization, Quantization]:
    """Quantisations of an int8 input and an int8 output of the same size."""
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "int8")
    require_type(op, out, "int8")
    if x.elements != out.elements:
        raise refuse(op, f"{describe(x)} and {describe(out)} differ in size", "convert the model again")
    return per_tensor(op, x), per_tensor(op, out)


def _within(op: Operator, shift: int, smallest: int, real: float) -> None:
    """Raise UsageError for a factor whose shift TFLite Micro does not compute with."""
    if not smallest <= shift <= _MAX_SHIFT:
        raise refuse(op, f"rescaling by {real:g} is out of range", "convert the model again: its scales are damaged")


def logistic_table(scale: float, zero_point: int) -> Array:
    """LOGISTIC of every int8 input, with an output of scale 1/256 and zero point -128: uint8 (256,)."""
    fraction, shift = fixed_point.quantize_multiplier(scale * (1 << 27))
    radius = fixed_point.input_radius(4, shift)

    def value(q: int) -> int:
        x = q - zero_point
        if abs(x) >= radius:
            return 127 if x >= radius and x > -radius else -128
        y = fixed_point.logistic(fixed_point.multiply(x, fraction, shift), 4)
        return min(fixed_point.rounding_shift(y, 23) - 128, 127)

    return table_of(value, _INT8)


def logistic(graph: Graph, op: Operator) -> Layer:
    """LOGISTIC."""
    qx, qout = _ends(graph, op)
    if qout.zero_point != -128:
        raise refuse(
            op, f"{describe(output(graph, op))} has zero point {qout.zero_point}, not -128", "convert the model again"
        )
    _require_input_scale(graph, op, qx)
    _within(op, fixed_point.quantize_multiplier(qx.scale * (1 << 27))[1], 0, qx.scale)
    return table_layer(graph, op, logistic_table(qx.scale, qx.zero_point))


def relu(graph: Graph, op: Operator) -> Layer:
    """RELU, with a rescaling where input and output are quantised differently."""
    qx, qout = _ends(graph, op)
    multiplier, shift = fixed_point.quantize_multiplier(float(np.float32(qx.scale) / np.float32(qout.scale)))
    _within(op, shift, -31, qx.scale / qout.scale)
    low = max(-128, qout.zero_point)

    def value(q: int) -> int:
        y = qout.zero_point + fixed_point.multiply(q - qx.zero_point, multiplier, shift)
        return min(max(y, low), 127)

    return table_layer(graph, op, table_of(value, _INT8))


def relu6(graph: Graph, op: Operator) -> Layer:
    """RELU6 within the input's quantisation, which TFLite Micro takes for the output's too."""
    qx, _ = _ends(graph, op)
    six = max(-128, min(127, fixed_point.quantize(6.0, qx.scale, qx.zero_point)))

    def value(q: int) -> int:
        return six if q > six else max(q, qx.zero_point)

    return table_layer(graph, op, table_of(value, _INT8))


def tanh(graph: Graph, op: Operator) -> Layer:
    """TANH of int8 tensors, in a table; the output's quantisation must be 1/128 with zero point 0."""
    qx, qout = _ends(graph, op)
    _require_quantization(graph, op, qout, 1 / 128, 0)
    _require_input_scale(graph, op, qx)
    fraction, shift = fixed_point.quantize_multiplier(qx.scale * (1 << 27))
    radius = fixed_point.input_radius(4, shift)

    def value(q: int) -> int:
        x = q - qx.zero_point
        if x <= -radius:
            return -128
        if x >= radius:
            return 127
        y = fixed_point.tanh(fixed_point.multiply(x, fraction, shift), 4)
        return min(max(fixed_point.rounding_shift(y, 24), -128), 127)

    return table_layer(graph, op, table_of(value, _INT8))


def _require_input_scale(graph: Graph, op: Operator, q: Quantization) -> None:
    """Scales for which TFLite Micro's shift of the input is defined."""
    if not 2**-28 <= q.scale < 2**30:
        raise refuse(
            op, f"{describe(tensor(graph, op, 0))} has scale {q.scale:g}, out of range", "convert the model again"
        )


def _require_quantization(graph: Graph, op: Operator, q: Quantization, scale: float, zero_point: int) -> None:
    if q.scale != scale or q.zero_point != zero_point:
        raise refuse(
            op,
            f"{describe(output(graph, op))} has scale {q.scale:g} and zero point {q.zero_point}, "
            f"not 1/{round(1 / scale)}, {zero_point}",
            "convert the model again",
        )


def _multiplier(op: Operator, real: float) -> tuple[int, int]:
    multiplier, shift = fixed_point.quantize_multiplier(real)
    if shift > _MAX_SHIFT:
        raise refuse(op, f"rescaling by {real:g} is out of range", "convert the model again: its scales are damaged")
    return multiplier, shift


def leaky_relu(graph: Graph, op: Operator) -> Layer:
    """LEAKY_RELU of int8 tensors, in a table; the slope may be any finite number."""
    qx, qout = _ends(graph, op)
    alpha = float(np.float32(op.options["alpha"]))
    if not math.isfinite(alpha):
        raise refuse(op, f"the slope is {alpha}", "convert the model again")
    positive = _multiplier(op, qx.scale / qout.scale)
    slope = qx.scale * alpha / qout.scale
    negative = _multiplier(op, abs(slope))

    def value(q: int) -> int:
        x = q - qx.zero_point
        if x >= 0:
            y = fixed_point.multiply(x, *positive)
        else:
            y = fixed_point.multiply(x, *negative) * (-1 if slope < 0 else 1)
        return min(max(y + qout.zero_point, -128), 127)

    return table_layer(graph, op, table_of(value, _INT8))


def _saturate16(x: int) -> int:
    return min(max(x, -(1 << 15)), (1 << 15) - 1)


def _multiplier16(real: np.float32) -> tuple[int, int]:
    """A factor as Q0.15 and a shift."""
    multiplier, shift = fixed_point.quantize_multiplier(float(real))
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1), shift


def _high_mul16(a: int, b: int) -> int:
    """The product of two Q0.15 numbers, rounded to nearest."""
    return _saturate16((a * b + (1 << 14)) >> 15)


def hard_swish(graph: Graph, op: Operator) -> Layer:
    """HARD_SWISH of int8 tensors, in a table.

    In 16-bit fixed point with 7 bits of headroom: x on the output's scale, times clip((x + 3) / 6, 0, 1).
    """
    qx, qout = _ends(graph, op)
    high = np.float32(1 / 128) * np.float32(qx.scale)
    factor, shift = _multiplier16(high / np.float32(qout.scale))
    clip, clip_shift = _multiplier16(high / np.float32(3 / 32768))
    if not -15 <= shift <= 0 or not -15 <= clip_shift <= 31:
        raise refuse(
            op,
            f"scales {qx.scale:g} and {qout.scale:g} are too far apart or out of range",
            "convert the model again with representative data",
        )

    def value(q: int) -> int:
        x = (q - qx.zero_point) << 7
        gate = x
        if clip_shift > 0:
            gate = _saturate16(gate << (clip_shift - 1))
        gate = _high_mul16(gate, clip)
        gate = _saturate16(gate << 1) if clip_shift > 0 else fixed_point.rounding_shift(gate, -clip_shift)
        gate = (gate + (1 << 15)) >> 1
        product = gate * _high_mul16(x, factor)
        # This product is cut off towards zero, unlike all others.
        y = abs(product) >> 15
        y = fixed_point.rounding_shift(y if product >= 0 else -y, -shift)
        return min(max(y + qout.zero_point, -128), 127)

    return table_layer(graph, op, table_of(value, _INT8))


def elu(graph: Graph, op: Operator) -> Layer:
    """ELU of int8 tensors, in a table."""
    qx, qout = _ends(graph, op)
    one = np.float32(1)
    inverse = one / np.float32(qout.scale)

    def value(q: int) -> int:
        x = np.float32(qx.scale) * np.float32(q - qx.zero_point)
        y = np.float32(math.exp(x)) - one if x < 0 else x
        # Beyond this every zero point saturates.
        scaled = min(max(float(y * inverse), -1024.0), 1024.0)
        return min(max(fixed_point.round_away(scaled) + qout.zero_point, -128), 127)

    return table_layer(graph, op, table_of(value, _INT8))


def absolute(graph: Graph, op: Operator) -> Layer:
    """ABS of int8 tensors, in a table."""
    qx, qout = _ends(graph, op)
    real = float(np.float32(qx.scale) / np.float32(qout.scale))
    rescaling = _multiplier(op, real)

    def value(q: int) -> int:
        x = abs(q - qx.zero_point)
        y = x if real == 1 else fixed_point.multiply(x, *rescaling)
        return min(max(y + qout.zero_point, -128), 127)

    return table_layer(graph, op, table_of(value, _INT8))


def softmax_table(beta: float, scale: float) -> Array:
    """exp(-beta * scale * d) as Q0.31 for d = 0, 1, ... up to the last that counts: int32 (1 to 256,)."""
    real = min(beta * scale * (1 << 26), float(fixed_point.INT32_MAX))
    multiplier, shift = fixed_point.quantize_multiplier(real)
    farthest = fixed_point.input_radius(5, shift)
    count = min(farthest, 255) + 1
    table = [
        fixed_point.exp_of_negative(fixed_point.high_mul(fixed_point.wrap32(-d << shift), multiplier), 5)
        for d in range(count)
    ]
    while len(table) > 1 and table[-1] == 0:
        table.pop()
    return np.array(table, np.int32)


def softmax(graph: Graph, op: Operator) -> Layer:
    """SOFTMAX over the last dimension, with a table of exponentials by distance from the row's maximum."""
    qx, qout = _ends(graph, op)
    x = tensor(graph, op, 0)
    if qout.zero_point != -128 or qout.scale != 1 / 256:
        raise refuse(
            op,
            f"{describe(output(graph, op))} has scale {qout.scale:g} and zero point {qout.zero_point}, not 1/256, -128",
            "convert the model again",
        )
    beta = float(np.float32(op.options.get("beta", 1.0)))
    if not 1 < beta * qx.scale * (1 << 26) < float("inf"):
        raise refuse(op, f"beta {beta:g} with input scale {qx.scale:g} is out of range", "scale the logits")
    if output(graph, op).shape != x.shape:
        raise refuse(op, f"{describe(output(graph, op))} is not the shape of {describe(x)}", "convert the model again")
    depth = x.shape[-1] if x.shape else 1
    if not 0 < depth <= _MAX_SOFTMAX_DEPTH:
        raise refuse(op, f"it runs over {depth} elements", f"at most {_MAX_SOFTMAX_DEPTH} are supported")
    table = softmax_table(beta, qx.scale)
    params: dict[str, Value] = {
        "rows": x.elements // depth,
        "depth": depth,
        "exponentials_count": len(table),
        "exponentials": Constant("exponentials", table, "indexed by the distance from the maximum"),
    }
    layer = make(graph, op, "kernels_softmax_s8", "kernels_softmax_params", params)
    # In its last pass over a row the kernel reads an element, then writes its output.
    return overlap.overlapping(layer, overlap.rows(x.elements, 1, 1))


OPERATORS: dict[str, Lower] = {
    "ABS": absolute,
    "ELU": elu,
    "HARD_SWISH": hard_swish,
    "LEAKY_RELU": leaky_relu,
    "LOGISTIC": logistic,
    "RELU": relu,
    "RELU6": relu6,
    "SOFTMAX": softmax,
    "TANH": tanh,
}
