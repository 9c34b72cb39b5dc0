"""Functions of two tensors, element by element, with broadcasting: ADD, SUB, MUL, MAXIMUM, MINIMUM, PRELU,
SQUARED_DIFFERENCE.
"""

from collections.abc import Callable

from convert.compiled import fixed_point
from convert.compiled.broadcast import Broadcast, broadcast, operands, over_operands, table_of_scalar
from convert.compiled.layer import Layer, Lower, Value, describe, make, per_tensor, refuse
from convert.compiled.stage import activation_range
from convert.graph import Graph, Operator

_HEADROOM = 1 << 20
_SQUARED_HEADROOM = 1 << 7
_SQUARED_RANK = 4
_MAX_SHIFT = 30


def _clamp(x: int, low: int, high: int) -> int:
    return min(max(x, low), high)


def _sum(graph: Graph, op: Operator, kernel: str, sign: int) -> Layer:
    """a + sign * b.

    Scales are combined in double precision, also for SUB: TFLite Micro's source of August 2026 takes them in float32,
    its wheel of October 2026 does not (measured).
    """
    a, b, out = operands(graph, op)
    shape = broadcast(graph, op)
    qa, qb, qout = per_tensor(op, a), per_tensor(op, b), per_tensor(op, out)
    unit = 2 * max(qa.scale, qb.scale)
    multiplier, shift = _below_one(op, unit / (_HEADROOM * qout.scale))
    to_unit = [_below_one(op, q.scale / unit) for q in (qa, qb)]
    minimum, maximum = activation_range(op, out)

    def value(x: int, y: int) -> int:
        scaled = [
            fixed_point.multiply((v - q.zero_point) * _HEADROOM, *m)
            for v, q, m in zip((x, y), (qa, qb), to_unit, strict=True)
        ]
        total = fixed_point.multiply(scaled[0] + sign * scaled[1], multiplier, shift)
        return _clamp(total + qout.zero_point, minimum, maximum)

    table = table_of_scalar(graph, op, value)
    if table is not None:
        return table
    sides: list[dict[str, Value]] = [
        {"offset": -q.zero_point, "multiplier": m, "shift": s, "strides": strides}
        for q, (m, s), strides in zip((qa, qb), to_unit, (shape.a, shape.b), strict=True)
    ]
    params: dict[str, Value] = {
        "shape": shape.shape,
        "a": sides[0],
        "b": sides[1],
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": qout.zero_point,
        "minimum": minimum,
        "maximum": maximum,
    }
    return over_operands(make(graph, op, kernel, "kernels_add_params", params, inputs=op.inputs[:2]), shape)


def add(graph: Graph, op: Operator) -> Layer:
    """ADD of two int8 tensors with broadcasting (at most 4 dimensions once merged); either may be constant.

    Both inputs are brought to twice the larger input scale, with 20 bits of headroom, before they are added.
    """
    return _sum(graph, op, "kernels_add_s8", 1)


def sub(graph: Graph, op: Operator) -> Layer:
    """SUB of two int8 tensors with broadcasting (at most 4 dimensions once merged); either may be constant.

    As ADD; the subtrahend is rescaled before its sign turns, which matters to ties.
    """
    return _sum(graph, op, "kernels_sub_s8", -1)


def _below_one(op: Operator, real: float) -> tuple[int, int]:
    multiplier, shift = fixed_point.quantize_multiplier(real)
    if shift > 0 or real >= 1:
        raise refuse(op, f"rescaling by {real:g} is not below 1", "convert the model again: its scales are damaged")
    return multiplier, shift


def _multiplier(op: Operator, real: float) -> tuple[int, int]:
    multiplier, shift = fixed_point.quantize_multiplier(real)
    if shift > _MAX_SHIFT:
        raise refuse(op, f"rescaling by {real:g} is out of range", "convert the model again: its scales are damaged")
    return multiplier, shift


def mul(graph: Graph, op: Operator) -> Layer:
    """MUL of two int8 tensors with broadcasting (at most 4 dimensions once merged); either may be constant."""
    a, b, out = operands(graph, op)
    shape = broadcast(graph, op)
    qa, qb, qout = per_tensor(op, a), per_tensor(op, b), per_tensor(op, out)
    multiplier, shift = _multiplier(op, qa.scale * qb.scale / qout.scale)
    minimum, maximum = activation_range(op, out)

    def value(x: int, y: int) -> int:
        product = (x - qa.zero_point) * (y - qb.zero_point)
        return _clamp(fixed_point.multiply(product, multiplier, shift) + qout.zero_point, minimum, maximum)

    params: dict[str, Value] = {
        "broadcast": shape.params,
        "a_offset": -qa.zero_point,
        "b_offset": -qb.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": qout.zero_point,
        "minimum": minimum,
        "maximum": maximum,
    }
    return table_of_scalar(graph, op, value) or _binary(graph, op, "mul", params, shape)


def _binary(graph: Graph, op: Operator, name: str, params: dict[str, Value], shape: Broadcast) -> Layer:
    layer = make(graph, op, f"kernels_{name}_s8", f"kernels_{name}_params", params, inputs=op.inputs[:2])
    return over_operands(layer, shape)


def _extremum(graph: Graph, op: Operator, kernel: str, choose: Callable[[int, int], int]) -> Layer:
    shape = _alike(graph, op)
    return table_of_scalar(graph, op, choose) or over_operands(
        make(graph, op, kernel, "kernels_broadcast", shape.params, inputs=op.inputs[:2]), shape
    )


def _alike(graph: Graph, op: Operator) -> Broadcast:
    """Operands that are quantised alike: TFLite Micro compares their bytes as they are."""
    a, b, out = operands(graph, op)
    shape = broadcast(graph, op)
    qa = per_tensor(op, a)
    for t in (b, out):
        q = per_tensor(op, t)
        if (q.scale, q.zero_point) != (qa.scale, qa.zero_point):
            raise refuse(op, f"{describe(a)} and {describe(t)} are quantised differently", "convert the model again")
    return shape


def maximum(graph: Graph, op: Operator) -> Layer:
    """MAXIMUM of two int8 tensors quantised alike, with broadcasting (at most 4 dimensions once merged)."""
    return _extremum(graph, op, "kernels_maximum_s8", max)


def minimum(graph: Graph, op: Operator) -> Layer:
    """MINIMUM of two int8 tensors quantised alike, with broadcasting (at most 4 dimensions once merged)."""
    return _extremum(graph, op, "kernels_minimum_s8", min)


def prelu(graph: Graph, op: Operator) -> Layer:
    """PRELU of int8 tensors, with broadcasting of the slopes (at most 4 dimensions once merged)."""
    a, b, out = operands(graph, op)
    shape = broadcast(graph, op)
    qa, qb, qout = per_tensor(op, a), per_tensor(op, b), per_tensor(op, out)
    positive = _multiplier(op, qa.scale / qout.scale)
    negative = _multiplier(op, qa.scale * qb.scale / qout.scale)

    def value(x: int, slope: int) -> int:
        x -= qa.zero_point
        y = (
            fixed_point.multiply(x, *positive)
            if x >= 0
            else fixed_point.multiply(x * (slope - qb.zero_point), *negative)
        )
        return _clamp(y + qout.zero_point, -128, 127)

    params: dict[str, Value] = {
        "broadcast": shape.params,
        "offset": -qa.zero_point,
        "slope_offset": -qb.zero_point,
        "multiplier": positive[0],
        "shift": positive[1],
        "slope_multiplier": negative[0],
        "slope_shift": negative[1],
        "zero_point": qout.zero_point,
    }
    return table_of_scalar(graph, op, value) or _binary(graph, op, "prelu", params, shape)


def squared_difference(graph: Graph, op: Operator) -> Layer:
    """SQUARED_DIFFERENCE of two int8 tensors of at most 4 dimensions, with broadcasting.

    Both inputs are brought to twice the larger input scale, with 7 bits of headroom, before they are subtracted.
    """
    a, b, out = operands(graph, op)
    if max(len(a.shape), len(b.shape)) > _SQUARED_RANK:
        raise refuse(op, f"{describe(a)} or {describe(b)} has over {_SQUARED_RANK} dimensions", "reshape them first")
    shape = broadcast(graph, op)
    qa, qb, qout = per_tensor(op, a), per_tensor(op, b), per_tensor(op, out)
    unit = 2 * max(qa.scale, qb.scale)
    rescaling = _multiplier(op, unit * unit / (_SQUARED_HEADROOM**2 * qout.scale))
    to_unit = [_below_one(op, q.scale / unit) for q in (qa, qb)]

    def value(x: int, y: int) -> int:
        scaled = [
            fixed_point.multiply((v - q.zero_point) * _SQUARED_HEADROOM, *m)
            for v, q, m in zip((x, y), (qa, qb), to_unit, strict=True)
        ]
        square = (scaled[0] - scaled[1]) ** 2
        return _clamp(fixed_point.multiply(square, *rescaling) + qout.zero_point, -128, 127)

    params: dict[str, Value] = {
        "broadcast": shape.params,
        "a_offset": -qa.zero_point,
        "a_multiplier": to_unit[0][0],
        "a_shift": to_unit[0][1],
        "b_offset": -qb.zero_point,
        "b_multiplier": to_unit[1][0],
        "b_shift": to_unit[1][1],
        "multiplier": rescaling[0],
        "shift": rescaling[1],
        "zero_point": qout.zero_point,
    }
    return table_of_scalar(graph, op, value) or _binary(graph, op, "squared_difference", params, shape)


OPERATORS: dict[str, Lower] = {
    "ADD": add,
    "SQUARED_DIFFERENCE": squared_difference,
    "SUB": sub,
    "MUL": mul,
    "MAXIMUM": maximum,
    "MINIMUM": minimum,
    "PRELU": prelu,
}
