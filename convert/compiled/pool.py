"""Pooling: AVERAGE_POOL_2D, MAX_POOL_2D."""

from convert.compiled import overlap
from convert.compiled.layer import (
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
from convert.compiled.stage import activation_range
from convert.compiled.window import window
from convert.graph import Graph, Operator

_MAX_ELEMENTS = 1 << 23  # that one int32 sum of int8 holds
_MAX_SHIFT = 30


def _pool(graph: Graph, op: Operator, kernel: str) -> Layer:
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "int8")
    require_type(op, out, "int8")
    qx, qout = per_tensor(op, x), per_tensor(op, out)
    # TFLite Micro's own condition.
    if qx.zero_point != qout.zero_point or abs(qx.scale - qout.scale) > 1e-6:
        raise refuse(op, f"{describe(x)} and {describe(out)} are quantised differently", "convert the model again")
    size = int(op.options["filterHeight"]), int(op.options["filterWidth"])
    win = window(op, x, out, size)
    if size[0] * size[1] >= _MAX_ELEMENTS:
        raise refuse(op, f"a window of {size} may overflow 32 bits", f"pool fewer than {_MAX_ELEMENTS} elements")
    if x.shape[3] != out.shape[3]:
        raise refuse(op, f"{describe(x)} and {describe(out)} differ in channels", "convert the model again")
    minimum, maximum = activation_range(op, out)
    params: dict[str, Value] = {"window": win.params, "channels": x.shape[3], "minimum": minimum, "maximum": maximum}
    layer = make(graph, op, kernel, "kernels_pool_params", params)
    return overlap.overlapping(layer, overlap.windowed(win.params, x.shape[3], x.shape[3], store=1))


def average_pool_2d(graph: Graph, op: Operator) -> Layer:
    """AVERAGE_POOL_2D over the elements that lie within the input."""
    return _pool(graph, op, "kernels_average_pool_s8")


def max_pool_2d(graph: Graph, op: Operator) -> Layer:
    """MAX_POOL_2D."""
    return _pool(graph, op, "kernels_max_pool_s8")


OPERATORS: dict[str, Lower] = {"AVERAGE_POOL_2D": average_pool_2d, "MAX_POOL_2D": max_pool_2d}
