"""Operators over int16 activations, with int8 weights where there are any ("int16x8"); lowering.py dispatches here."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from convert.compiled import fixed_point, pool, reduce, reshape
from convert.compiled.broadcast import broadcast
from convert.compiled.layer import (
    Array,
    Constant,
    Layer,
    Lower,
    Value,
    constant,
    describe,
    int8,
    make,
    optional,
    output,
    per_tensor,
    refuse,
    require_type,
    tensor,
)
from convert.compiled.stage import activation_range, multipliers, weight_scales
from convert.compiled.window import Window, require_multiplier, transposed_window, window
from convert.graph import Graph, Operator, Tensor

# TFLite Micro's own bound for the sums that it rescales.
_MAX_SUM = 1 << 47
_MAX_SHIFT = 7
_BIAS_OF_32_BITS = 2  # TensorType INT32, as the option quantizedBiasType
_HEADROOM = 1 << 15
_MAX_COUNT = 1 << 16  # of int16 whose sum an int32 holds


def is_wide(graph: Graph, op: Operator) -> bool:
    """Whether the operator's first input or its output is int16."""
    ends = (*op.inputs[:1], *op.outputs[:1])  # a transposed convolution's first input is a shape
    return any(i >= 0 and graph.tensors[i].dtype == np.int16 for i in ends)


def _symmetric(op: Operator, *tensors: Tensor) -> None:
    for t in tensors:
        require_type(op, t, "int16")
        if per_tensor(op, t).zero_point != 0:
            raise refuse(
                op,
                f"{describe(t)} has zero point {per_tensor(op, t).zero_point}, not 0",
                "convert the model again: int16 is symmetric",
            )


def _stage(graph: Graph, op: Operator, weights: Array, axis: int, *, always_wide: bool) -> dict[str, Value]:
    """The kernels' `kernels_output_stage_s16`; `weights` is (channels, depth)."""
    x, w, out = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    _symmetric(op, x, out)
    scales = weight_scales(op, w, axis, len(weights))
    bias = optional(graph, op, 2)
    allowed = ("int64",) if always_wide else ("int64", "int32")
    values = np.zeros(len(weights), np.int64)
    wide = int(op.options.get("quantizedBiasType", 0)) != _BIAS_OF_32_BITS or always_wide
    if bias is not None:
        require_type(op, bias, *allowed)
        if bias.elements != len(weights):
            raise refuse(op, f"bias {describe(bias)} has not {len(weights)} elements", "convert the model again")
        values = constant(op, bias).reshape(-1).astype(np.int64)
        wide = bias.dtype == np.int64
    largest = int(np.abs(weights.astype(np.int64)).sum(axis=1).max()) << 15
    if max(abs(int(values.min())), abs(int(values.max()))) + largest >= _MAX_SUM:
        raise refuse(op, "its sums may exceed 47 bits", "convert the model again: its biases are damaged")
    multiplier, shift = multipliers(
        op, [per_tensor(op, x).scale * float(s) / per_tensor(op, out).scale for s in scales]
    )
    if wide:
        if shift.max() > _MAX_SHIFT:
            raise refuse(op, "its rescaling is out of range", "convert the model again: its scales are damaged")
        multiplier = np.where(multiplier < 0x7FFF0000, (multiplier.astype(np.int64) + (1 << 15)) >> 16, 0x7FFF)
    minimum, maximum = activation_range(op, out)
    return {
        "bias": Constant("bias", values, "[output channel]"),
        "multiplier": Constant("multiplier", multiplier.astype(np.int32), "[output channel]"),
        "shift": Constant("shift", shift, "[output channel]"),
        "channel_step": 0 if len(scales) == 1 else 1,
        "wide": int(wide),
        "minimum": minimum,
        "maximum": maximum,
    }


def _conv(graph: Graph, op: Operator, weights: Array, win: Window, channels: int, stage: dict[str, Value]) -> Layer:
    """`weights` is OHWI."""
    params: dict[str, Value] = {
        "window": win.params,
        "input_channels": channels,
        "output_channels": len(weights),
        "groups": channels // weights.shape[3],
        "weights": Constant("weights", int8(weights), "OHWI"),
        "stage": stage,
    }
    return make(graph, op, "kernels_conv_s16", "kernels_conv_s16_params", params)


def _weights(graph: Graph, op: Operator, dimensions: int) -> tuple[Tensor, Tensor, Tensor, Array]:
    """Input, weights and output, and the weights' values."""
    x, w, out = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    require_type(op, w, "int8")
    if len(w.shape) != dimensions:
        raise refuse(op, f"weights {describe(w)} do not have {dimensions} dimensions", "convert the model again")
    return x, w, out, constant(op, w)


def _unsuited(op: Operator, x: Tensor, w: Tensor, out: Tensor) -> Exception:
    return refuse(op, f"weights {describe(w)} do not suit {describe(x)} and {describe(out)}", "convert the model again")


def conv_2d(graph: Graph, op: Operator) -> Layer:
    """CONV_2D of int16 with int8 weights and biases of int64 (sums of 64 bits) or int32, grouped or not."""
    x, w, out, weights = _weights(graph, op, 4)
    win = window(op, x, out, (w.shape[1], w.shape[2]))
    channels = x.shape[3]
    if channels % w.shape[3] or w.shape[0] != out.shape[3] or w.shape[0] % (channels // w.shape[3]):
        raise _unsuited(op, x, w, out)
    stage = _stage(graph, op, weights.reshape(len(weights), -1), 0, always_wide=False)
    return _conv(graph, op, weights, win, channels, stage)


def depthwise_conv_2d(graph: Graph, op: Operator) -> Layer:
    """DEPTHWISE_CONV_2D of int16 with int8 weights and int64 biases.

    It is a convolution with a group for each input channel.
    """
    x, w, out, weights = _weights(graph, op, 4)
    win = window(op, x, out, (w.shape[1], w.shape[2]))
    if w.shape[0] != 1 or w.shape[3] != out.shape[3] or w.shape[3] % x.shape[3]:
        raise _unsuited(op, x, w, out)
    require_multiplier(op, x, w)
    laid = weights.transpose(3, 1, 2, 0)
    stage = _stage(graph, op, laid.reshape(len(laid), -1), 3, always_wide=True)
    return _conv(graph, op, laid, win, x.shape[3], stage)


def fully_connected(graph: Graph, op: Operator) -> Layer:
    """FULLY_CONNECTED of int16 with int8 weights and biases of int64 (sums of 64 bits) or int32.

    It is a convolution of one pixel an element of the batch.
    """
    x, w, out, weights = _weights(graph, op, 2)
    channels, depth = w.shape
    rows = x.elements // depth
    if rows * depth != x.elements or out.elements != rows * channels or out.shape[-1:] != (channels,):
        raise _unsuited(op, x, w, out)
    if int(op.options.get("weightsFormat", 0)) != 0:
        raise refuse(op, "shuffled weights are not supported", "convert with the default weights format")
    one = (1, 1)
    stage = _stage(graph, op, weights, 0, always_wide=False)
    return _conv(
        graph, op, weights.reshape(channels, 1, 1, depth), Window(rows, one, one, one, one, one, (0, 0)), depth, stage
    )


def add(graph: Graph, op: Operator) -> Layer:
    """ADD of two int16 tensors with broadcasting; either may be constant.

    Both are brought to twice the larger input scale, with 15 bits of headroom.
    """
    return _sum(graph, op, "kernels_add_s16")


def sub(graph: Graph, op: Operator) -> Layer:
    """SUB of two int16 tensors with broadcasting; either may be constant."""
    return _sum(graph, op, "kernels_sub_s16")


def mul(graph: Graph, op: Operator) -> Layer:
    """MUL of two int16 tensors with broadcasting; either may be constant."""
    a, b, out = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    _symmetric(op, a, b, out)
    real = per_tensor(op, a).scale * per_tensor(op, b).scale / per_tensor(op, out).scale
    multiplier, shift = _one(op, real)
    minimum, maximum = activation_range(op, out)
    params: dict[str, Value] = {
        "broadcast": broadcast(graph, op).params,
        "a_offset": 0,
        "b_offset": 0,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": 0,
        "minimum": minimum,
        "maximum": maximum,
    }
    return make(graph, op, "kernels_mul_s16", "kernels_mul_params", params, inputs=op.inputs[:2])


def _one(op: Operator, real: float) -> tuple[int, int]:
    multiplier, shift = multipliers(op, [real])
    return int(multiplier[0]), int(shift[0])


def _sum(graph: Graph, op: Operator, kernel: str) -> Layer:
    a, b, out = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    _symmetric(op, a, b, out)
    shape = broadcast(graph, op)
    scales = [per_tensor(op, t).scale for t in (a, b, out)]
    unit = 2 * max(scales[:2])
    reals = scales[0] / unit, scales[1] / unit, unit / (_HEADROOM * scales[2])
    pairs = [fixed_point.quantize_multiplier(real) for real in reals]
    if any(real >= 1 or shift > 0 for real, (_, shift) in zip(reals, pairs, strict=True)):
        raise refuse(
            op, f"rescaling by {max(reals):g} is not below 1", "convert the model again: its scales are damaged"
        )
    minimum, maximum = activation_range(op, out)
    sides: list[dict[str, Value]] = [
        {"offset": 0, "multiplier": m, "shift": s, "strides": strides}
        for (m, s), strides in zip(pairs[:2], (shape.a, shape.b), strict=True)
    ]
    params: dict[str, Value] = {
        "shape": shape.shape,
        "a": sides[0],
        "b": sides[1],
        "multiplier": pairs[2][0],
        "shift": pairs[2][1],
        "zero_point": 0,
        "minimum": minimum,
        "maximum": maximum,
    }
    return make(graph, op, kernel, "kernels_add_params", params, inputs=op.inputs[:2])


def _as_int8(graph: Graph, op: Operator) -> Graph:
    """The graph with int8 for int16 around an operator, for lowerings that look at shapes and scales only."""
    ends = {op.inputs[0], op.outputs[0]}
    _symmetric(op, *(graph.tensors[i] for i in ends))
    int8_ = np.dtype(np.int8)
    return replace(graph, tensors=tuple(replace(t, dtype=int8_) if t.index in ends else t for t in graph.tensors))


def _pool(graph: Graph, op: Operator, lower: Lower, kernel: str) -> Layer:
    layer = lower(_as_int8(graph, op), op)
    if math.prod(int(op.options[name]) for name in ("filterHeight", "filterWidth")) >= _MAX_COUNT:
        raise refuse(op, "its windows may overflow 32 bits", f"pool fewer than {_MAX_COUNT} elements")
    minimum, maximum = activation_range(op, output(graph, op))
    params = {**layer.params, "minimum": minimum, "maximum": maximum}
    return replace(layer, kernel=kernel, params=params, overlaps=())


def average_pool_2d(graph: Graph, op: Operator) -> Layer:
    """AVERAGE_POOL_2D of int16."""
    return _pool(graph, op, pool.average_pool_2d, "kernels_average_pool_s16")


def max_pool_2d(graph: Graph, op: Operator) -> Layer:
    """MAX_POOL_2D of int16."""
    return _pool(graph, op, pool.max_pool_2d, "kernels_max_pool_s16")


def mean(graph: Graph, op: Operator) -> Layer:
    """MEAN of int16 over at most two groups of axes, of fewer than 65,536 elements each."""
    layer = reduce.mean(_as_int8(graph, op), op)
    if tensor(graph, op, 0).elements >= _MAX_COUNT * output(graph, op).elements:
        raise refuse(op, "its sums may overflow 32 bits", f"average fewer than {_MAX_COUNT} elements")
    return replace(layer, kernel="kernels_mean_s16", overlaps=())


def _ends(graph: Graph, op: Operator) -> tuple[Tensor, Tensor]:
    x, out = tensor(graph, op, 0), output(graph, op)
    if x.elements != out.elements:
        raise refuse(op, f"{describe(x)} and {describe(out)} differ in size", "convert the model again")
    return x, out


def _log2(scale: float) -> tuple[int, bool]:
    """The nearest power of two and whether the scale is one, as float32 arithmetic sees it."""
    log2 = np.float32(np.log(np.float32(scale)) * (np.float32(1) / np.log(np.float32(2))))
    power = fixed_point.round_away(float(log2))
    return power, abs(float(log2) - power) < 1e-3


def _sigmoid(graph: Graph, op: Operator, kernel: str, left_shifts: tuple[int, ...]) -> Layer:
    x, out = _ends(graph, op)
    _symmetric(op, x, out)
    if _log2(per_tensor(op, out).scale) != (-15, True):
        raise refuse(op, f"{describe(out)} has the scale {per_tensor(op, out).scale:g}, not 2^-15", "convert again")
    scale = per_tensor(op, x).scale
    power, exact = _log2(scale)
    if exact and power + 12 in left_shifts:
        multiplier, shift = 3 << (power + 12), 0
    else:
        real, shift = scale * 4096.0 * 3.0, 0
        while real <= 32767.0 / 2.0 and shift <= 30:
            shift += 1
            real *= 2.0
        multiplier = int(real)
    if multiplier > 32767:
        raise refuse(op, f"{describe(x)} has the scale {scale:g}", "convert the model again: its scales are damaged")
    params: dict[str, Value] = {
        "elements": x.elements,
        "multiplier": multiplier,
        "shift": shift,
        "table": Constant("sigmoid", fixed_point.sigmoid_table(), "1 / (1 + exp(-i / 24)) as Q0.16"),
    }
    return make(graph, op, kernel, "kernels_sigmoid_s16_params", params)


def logistic(graph: Graph, op: Operator) -> Layer:
    """LOGISTIC of int16, from a table with interpolation."""
    return _sigmoid(graph, op, "kernels_logistic_s16", (0,))


def tanh(graph: Graph, op: Operator) -> Layer:
    """TANH of int16, from a table with interpolation."""
    return _sigmoid(graph, op, "kernels_tanh_s16", (0, 1))


def quantize(graph: Graph, op: Operator) -> Layer:
    """QUANTIZE between int16 and float32, int8 or int16."""
    x, out = _ends(graph, op)
    qout = per_tensor(op, out)
    if x.dtype == np.float32:
        require_type(op, out, "int16")
        scale: dict[str, Value] = {"elements": x.elements, "scale": qout.scale, "zero_point": qout.zero_point}
        return make(graph, op, "kernels_quantize_f32_s16", "kernels_scale_params", scale)
    require_type(op, x, "int8", "int16")
    require_type(op, out, *(("int16",) if x.dtype == np.int8 else ("int8", "int16")))
    qx = per_tensor(op, x)
    multiplier, shift = multipliers(op, [qx.scale / qout.scale])
    params: dict[str, Value] = {
        "elements": x.elements,
        "input_zero_point": qx.zero_point,
        "multiplier": int(multiplier[0]),
        "shift": int(shift[0]),
        "zero_point": qout.zero_point,
    }
    kernel = {
        (np.dtype(np.int8), np.dtype(np.int16)): "kernels_requantize_s8_s16",
        (np.dtype(np.int16), np.dtype(np.int8)): "kernels_requantize_s16_s8",
        (np.dtype(np.int16), np.dtype(np.int16)): "kernels_requantize_s16_s16",
    }[x.dtype, out.dtype]
    return make(graph, op, kernel, "kernels_requantize_params", params)


def dequantize(graph: Graph, op: Operator) -> Layer:
    """DEQUANTIZE of int16 to float32."""
    x, out = _ends(graph, op)
    require_type(op, out, "float32")
    q = per_tensor(op, x)
    params: dict[str, Value] = {"elements": x.elements, "scale": q.scale, "zero_point": q.zero_point}
    return make(graph, op, "kernels_dequantize_s16_f32", "kernels_scale_params", params)


def _slopes(
    graph: Graph, op: Operator, above: float, below: float, minimum: int = -32768, maximum: int = 32767
) -> Layer:
    """Values from 0 on times `above`, others times `below`, clamped."""
    x, out = _ends(graph, op)
    _symmetric(op, x, out)
    (multiplier, shift), (below_multiplier, below_shift) = _one(op, above), _one(op, abs(below))
    params: dict[str, Value] = {
        "elements": x.elements,
        "multiplier": multiplier,
        "shift": shift,
        "below_multiplier": below_multiplier,
        "below_shift": below_shift,
        "below_sign": -1 if below < 0 else 1,
        "minimum": minimum,
        "maximum": maximum,
    }
    return make(graph, op, "kernels_slopes_s16", "kernels_slopes_s16_params", params)


def relu(graph: Graph, op: Operator) -> Layer:
    """RELU of int16, with a rescaling where input and output are quantised differently."""
    x, out = _ends(graph, op)
    # TFLite Micro divides in float32 here.
    ratio = float(np.float32(per_tensor(op, x).scale) / np.float32(per_tensor(op, out).scale))
    return _slopes(graph, op, ratio, ratio, minimum=0)


def relu6(graph: Graph, op: Operator) -> Layer:
    """RELU6 of int16 within the input's quantisation, which TFLite Micro takes for the output's too."""
    six = min(32767, fixed_point.quantize(6.0, per_tensor(op, tensor(graph, op, 0)).scale, 0))
    return _slopes(graph, op, 1.0, 1.0, 0, six)


def leaky_relu(graph: Graph, op: Operator) -> Layer:
    """LEAKY_RELU of int16; the slope may be any finite number."""
    x, out = _ends(graph, op)
    alpha = float(np.float32(op.options["alpha"]))
    if not math.isfinite(alpha):
        raise refuse(op, f"the slope is {alpha}", "convert the model again")
    scale, to = per_tensor(op, x).scale, per_tensor(op, out).scale
    return _slopes(graph, op, scale / to, scale * alpha / to)


def pad(graph: Graph, op: Operator) -> Layer:
    """PAD of int16."""
    layer = reshape.pad(_as_int8(graph, op), op)
    # The zero point is 0: two bytes an element, and zeros around them.
    doubled = {}
    for name in ("input", "output", "before"):
        lengths = layer.params[name]
        assert isinstance(lengths, tuple)
        doubled[name] = (*lengths[:-1], 2 * lengths[-1])
    return replace(layer, params={**layer.params, **doubled}, overlaps=())


def transpose_conv(graph: Graph, op: Operator) -> Layer:
    """TRANSPOSE_CONV of int16 with int8 weights and int64 biases."""
    x, w, out = tensor(graph, op, 2), tensor(graph, op, 1), output(graph, op)
    require_type(op, w, "int8")
    weights = constant(op, w)
    if len(w.shape) != 4 or len(x.shape) != 4 or len(out.shape) != 4:
        raise refuse(op, f"{describe(x)}, {describe(w)} or {describe(out)} is not NHWC", "reshape to 4 dimensions")
    if (w.shape[0], w.shape[3]) != (out.shape[3], x.shape[3]) or x.shape[0] != out.shape[0]:
        raise _unsuited(op, x, w, out)
    win = transposed_window(op, x, out, (w.shape[1], w.shape[2]))
    as_convolution = replace(op, inputs=(op.inputs[2], op.inputs[1], *op.inputs[3:4]))
    params: dict[str, Value] = {
        "window": win.params,
        "input_channels": x.shape[3],
        "output_channels": out.shape[3],
        "weights": Constant("weights", int8(weights), "OHWI"),
        "stage": _stage(graph, as_convolution, weights.reshape(len(weights), -1), 0, always_wide=True),
    }
    inputs = op.inputs[2:3]
    return make(graph, op, "kernels_transpose_conv_s16", "kernels_transpose_conv_s16_params", params, inputs)


def softmax_table(first: np.floating, last: np.floating, function: Callable[[np.float32], float | np.float32]) -> Array:
    """513 values of a function over an interval as Q0.15, corrected for the interpolation between them.

    float32 throughout, as TFLite's LUTPopulate computes; the middle of each step bears half of its error.
    """
    f = np.float32
    step = (f(last) - f(first)) / f(512)
    half = step / f(2)
    # The output's range is -1 to 1 - 2^-16, for scale 2 / 65535.
    scale = f(2) / f(65535)
    inverse = f(65536) / (scale * f(32767) - scale * f(-32768))

    def rounded(x: np.float32) -> np.float32:
        return f(fixed_point.round_away(float(x)))

    def at(x: np.float32) -> np.float32:
        return f(function(x))

    table = []
    for i in range(512):
        value, following = at(f(first) + f(i) * step), at(f(first) + f(i + 1) * step)
        middle = at(f(first) + f(i) * step + half)
        sample = rounded(value * inverse)
        interpolated = rounded((following * inverse + sample) / f(2))
        error = interpolated - rounded(middle * inverse)
        table.append(int(min(max(sample - rounded(error / f(2)), f(-32768)), f(32767))))
    table.append(int(min(max(rounded(at(f(last)) * inverse), f(-32768)), f(32767))))
    return np.array(table, np.int16)


def softmax(graph: Graph, op: Operator) -> Layer:
    """SOFTMAX of int16 over the last dimension, with tables of the exponential and the reciprocal."""
    x, out = _ends(graph, op)
    _symmetric(op, x, out)
    if abs(per_tensor(op, out).scale * 32768 - 1) > 0.001:
        raise refuse(op, f"{describe(out)} has the scale {per_tensor(op, out).scale:g}, not 2^-15", "convert again")
    depth = x.shape[-1] if x.shape else 1
    if depth >= 1 << 16:
        raise refuse(op, f"it runs over {depth} elements", "at most 65535 are supported")
    beta = float(np.float32(op.options.get("beta", 1.0)))
    multiplier, shift = multipliers(op, [per_tensor(op, x).scale * beta / (10.0 / 65535.0)])
    if not -31 <= shift[0] <= 14 or beta <= 0:
        raise refuse(op, f"beta {beta:g} with {describe(x)} is out of range", "scale the logits")
    range_ = np.float32(65535)
    first, last = (np.float32(10) / range_ * np.float32(v - 32767) for v in (-32768, 32767))
    one = np.float32(1) / range_
    begin, end = (one * np.float32(v + 32768) for v in (-32768, 32767))
    params: dict[str, Value] = {
        "rows": x.elements // depth,
        "depth": depth,
        "multiplier": int(multiplier[0]),
        "shift": int(shift[0]),
        "exponential": Constant(
            "exponential", softmax_table(first, last, lambda v: math.exp(v)), "exp(x) for x from -10 to 0 as Q0.15"
        ),
        "reciprocal": Constant(
            "reciprocal",
            softmax_table(begin, end, lambda v: np.float32(1) / (np.float32(1) + v)),
            "1 / (1 + x) for x from 0 to 1 as Q0.15",
        ),
    }
    return make(graph, op, "kernels_softmax_s16", "kernels_softmax_s16_params", params)


OPERATORS: dict[str, Lower] = {
    "ADD": add,
    "AVERAGE_POOL_2D": average_pool_2d,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "DEQUANTIZE": dequantize,
    "FULLY_CONNECTED": fully_connected,
    "LEAKY_RELU": leaky_relu,
    "LOGISTIC": logistic,
    "MAX_POOL_2D": max_pool_2d,
    "MEAN": mean,
    "MUL": mul,
    "PAD": pad,
    "QUANTIZE": quantize,
    "RELU": relu,
    "RELU6": relu6,
    "SOFTMAX": softmax,
    "SUB": sub,
    "TANH": tanh,
    "TRANSPOSE_CONV": transpose_conv,
}
