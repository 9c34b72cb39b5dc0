"""Operators that only rearrange: RESHAPE, SQUEEZE, EXPAND_DIMS (no code at all), PAD, PADV2."""

from convert.compiled.layer import (
    Layer,
    Lower,
    Value,
    constant,
    describe,
    make,
    optional,
    output,
    per_tensor,
    refuse,
    require_type,
    tensor,
)
from convert.graph import Graph, Operator

_PAD_RANK = 5


def alias(graph: Graph, op: Operator) -> Layer:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: the same memory under another shape."""
    x, out = tensor(graph, op, 0), output(graph, op)
    if x.nbytes != out.nbytes or x.dtype != out.dtype:
        raise refuse(op, f"{describe(x)} cannot become {describe(out)}", "convert the model again")
    if x.data is not None:
        raise refuse(op, f"{describe(x)} is constant", "let the converter fold it: give it the new shape in the model")
    return Layer(op, None, {}, op.inputs[:1], op.outputs)


def pad(graph: Graph, op: Operator) -> Layer:
    """PAD with the zero point, PADV2 with a constant."""
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "int8")
    require_type(op, out, "int8")
    given = tensor(graph, op, 1)
    require_type(op, given, "int32", "int64")
    if given.shape != (len(x.shape), 2):
        raise refuse(
            op, f"{describe(given)} is not a pair for each dimension of {describe(x)}", "convert the model again"
        )
    paddings = constant(op, given)
    expected = tuple(n + int(a) + int(b) for n, (a, b) in zip(x.shape, paddings, strict=False))
    if (paddings < 0).any() or expected != out.shape:
        raise refuse(
            op, f"padding {paddings.tolist()} of {describe(x)} does not give {describe(out)}", "convert the model again"
        )
    if len(x.shape) > _PAD_RANK:
        raise refuse(op, f"{describe(x)} has more than {_PAD_RANK} dimensions", "reshape it first")
    fill = (1,) * (_PAD_RANK - len(x.shape))
    params: dict[str, Value] = {
        "input": fill + x.shape,
        "output": fill + out.shape,
        "before": (0,) * len(fill) + tuple(int(a) for a, _ in paddings),
        "value": _value(graph, op),
    }
    return make(graph, op, "kernels_pad_s8", "kernels_pad_params", params)


def _value(graph: Graph, op: Operator) -> int:
    given, q = optional(graph, op, 2), per_tensor(op, output(graph, op))
    if given is None:
        return q.zero_point
    require_type(op, given, "int8")
    if given.elements != 1:
        raise refuse(op, f"the value {describe(given)} is not one number", "convert the model again")
    q_given = per_tensor(op, given)
    if (q_given.scale, q_given.zero_point) != (q.scale, q.zero_point):
        raise refuse(
            op, f"the value {describe(given)} is quantised differently from the output", "convert the model again"
        )
    return int(constant(op, given).reshape(-1)[0])


OPERATORS: dict[str, Lower] = {"RESHAPE": alias, "SQUEEZE": alias, "EXPAND_DIMS": alias, "PAD": pad, "PADV2": pad}
