"""Sums of two tensors: ADD."""

from convert.compiled import fixed_point
from convert.compiled.layer import Layer, Lower, Value, describe, make, output, per_tensor, refuse, require_type, tensor
from convert.compiled.stage import activation_range
from convert.graph import Graph, Operator, Tensor

_RANK = 4


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[int, bool, bool]] | None:
    """The output's dimensions as (length, a is repeated, b is repeated), neighbours of one kind merged.

    None if the shapes do not broadcast.
    """
    rank = max(len(a), len(b))
    merged: list[tuple[int, bool, bool]] = []
    for m, n in zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True):
        if m != n and 1 not in (m, n):
            return None
        length, kind = max(m, n), (m < n, n < m)
        if length == 1:
            continue
        if merged and merged[-1][1:] == kind:
            merged[-1] = (merged[-1][0] * length, *kind)
        else:
            merged.append((length, *kind))
    return merged


def _strides(dimensions: list[tuple[int, bool]]) -> tuple[int, ...]:
    """Elements from one index to the next, innermost dimension last; 0 where the tensor is repeated."""
    strides = []
    step = 1
    for length, repeated in reversed(dimensions):
        strides.append(0 if repeated else step)
        step *= 1 if repeated else length
    return tuple(reversed(strides))


def add(graph: Graph, op: Operator) -> Layer:
    """ADD with broadcasting; either input may be constant.

    Both inputs are brought to twice the larger input scale, with 20 bits of headroom, before they are added.
    """
    a, b, out = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    for t in (a, b, out):
        require_type(op, t, "int8")
    merged = _broadcast(a.shape, b.shape)
    if merged is None or len(merged) > _RANK:
        raise refuse(
            op, f"{describe(a)} and {describe(b)} do not broadcast in {_RANK} dimensions", "reshape one of them"
        )
    dimensions = [(1, False, False)] * (_RANK - len(merged)) + merged
    elements = 1
    for length, _, _ in dimensions:
        elements *= length
    if out.elements != elements:
        raise refuse(
            op, f"{describe(out)} is not the sum of {describe(a)} and {describe(b)}", "convert the model again"
        )
    qa, qb, qout = per_tensor(op, a), per_tensor(op, b), per_tensor(op, out)
    unit = 2 * max(qa.scale, qb.scale)
    multiplier, shift = _below_one(op, unit / ((1 << 20) * qout.scale))
    minimum, maximum = activation_range(op, out)

    def side(t: Tensor, repeated: list[bool]) -> dict[str, Value]:
        q = per_tensor(op, t)
        m, s = _below_one(op, q.scale / unit)
        strides = _strides([(d[0], r) for d, r in zip(dimensions, repeated, strict=True)])
        return {"offset": -q.zero_point, "multiplier": m, "shift": s, "strides": strides}

    params: dict[str, Value] = {
        "shape": tuple(d[0] for d in dimensions),
        "a": side(a, [d[1] for d in dimensions]),
        "b": side(b, [d[2] for d in dimensions]),
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": qout.zero_point,
        "minimum": minimum,
        "maximum": maximum,
    }
    return make(graph, op, "kernels_add_s8", "kernels_add_params", params, inputs=op.inputs[:2])


def _below_one(op: Operator, real: float) -> tuple[int, int]:
    multiplier, shift = fixed_point.quantize_multiplier(real)
    if shift > 0 or real >= 1:
        raise refuse(op, f"rescaling by {real:g} is not below 1", "convert the model again: its scales are damaged")
    return multiplier, shift


OPERATORS: dict[str, Lower] = {"ADD": add}
