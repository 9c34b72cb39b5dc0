"""Reductions along axes: MEAN, SUM, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN."""

import math
from dataclasses import dataclass
from itertools import groupby

from convert.compiled import fixed_point, overlap
from convert.compiled.layer import Layer, Lower, Value, describe, make, output, per_tensor, refuse, require_type, tensor
from convert.compiled.move import axis_of, ends, integers, require_shape
from convert.graph import Graph, Operator, Tensor

_MAX_ELEMENTS = 1 << 23  # that one int32 sum of int8 holds
_MAX_SHIFT = 30
_AGAIN = "convert the model again"


def _merge(shape: tuple[int, ...], axes: set[int]) -> tuple[list[int], list[int]] | None:
    """Lengths as kept, reduced, kept, reduced, kept; None where the axes alternate more often."""
    runs: list[tuple[bool, int]] = []
    # Axes of length 1 change nothing and would only break up runs.
    for is_reduced, group in groupby((i for i in range(len(shape)) if shape[i] != 1), key=lambda i: i in axes):
        runs.append((is_reduced, math.prod(shape[i] for i in group)))
    if runs and runs[0][0]:
        runs.insert(0, (False, 1))
    kept = [n for is_reduced, n in runs if not is_reduced]
    reduced = [n for is_reduced, n in runs if is_reduced]
    if len(kept) > 3 or len(reduced) > 2:
        return None
    return kept + [1] * (3 - len(kept)), reduced + [1] * (2 - len(reduced))


@dataclass(frozen=True)
class _Reduction:
    """An int8 tensor seen as kept, reduced, kept, reduced, kept dimensions, and the output of the kept ones."""

    x: Tensor
    out: Tensor
    kept: tuple[int, ...]
    reduced: tuple[int, ...]

    @property
    def count(self) -> int:
        """Elements that become one."""
        return math.prod(self.reduced)


def _layer(graph: Graph, op: Operator, kernel: str, params_type: str, r: _Reduction, more: dict[str, Value]) -> Layer:
    layer = make(graph, op, kernel, params_type, {"kept": r.kept, "reduced": r.reduced, **more})
    inner = r.reduced[1] * r.kept[2]
    steps = (r.reduced[0] * r.kept[1] * inner, inner, 1)
    return overlap.overlapping(layer, overlap.elements(r.kept, steps, r.x.elements))


def _reduction(graph: Graph, op: Operator) -> _Reduction:
    x, out = ends(graph, op, "int8")
    axes = {axis_of(op, a, x) for a in integers(graph, op, 1)}
    merged = _merge(x.shape, axes)
    if merged is None:
        raise refuse(op, f"axes {sorted(axes)} of {describe(x)} form more than two groups", "reduce them in two steps")
    found = _Reduction(x, out, tuple(merged[0]), tuple(merged[1]))
    if not 0 < found.count < _MAX_ELEMENTS or out.elements * found.count != x.elements:
        raise refuse(op, f"{found.count} elements from {describe(x)} to one of {describe(out)}", _AGAIN)
    return found


def _rescaled(graph: Graph, op: Operator, *, mean: bool) -> Layer:
    """A sum or mean, rescaled.

    The division by the number of elements is part of the multiplier, in TFLite Micro's way: it is shifted up by the
    number's length in bits, as far as shifts stay within -31, and divided in integers.
    """
    reduction = _reduction(graph, op)
    count = reduction.count
    qx, qout = per_tensor(op, reduction.x), per_tensor(op, reduction.out)
    multiplier, shift = fixed_point.quantize_multiplier(qx.scale / qout.scale)
    if shift > _MAX_SHIFT:
        raise refuse(op, f"rescaling by {qx.scale / qout.scale:g} is out of range", _AGAIN)
    if mean:
        bits = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << bits) // count, shift - bits
    params: dict[str, Value] = {
        "offset": -qx.zero_point * count,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": qout.zero_point,
    }
    return _layer(graph, op, "kernels_mean_s8", "kernels_mean_params", reduction, params)


def mean(graph: Graph, op: Operator) -> Layer:
    """MEAN of int8 tensors over any axes, as long as they form at most two groups of neighbours."""
    return _rescaled(graph, op, mean=True)


def total(graph: Graph, op: Operator) -> Layer:
    """SUM of int8 tensors over any axes, as long as they form at most two groups of neighbours."""
    return _rescaled(graph, op, mean=False)


def _extreme(graph: Graph, op: Operator, kernel: str) -> Layer:
    reduction = _reduction(graph, op)
    qx, qout = per_tensor(op, reduction.x), per_tensor(op, reduction.out)
    if (qx.scale, qx.zero_point) != (qout.scale, qout.zero_point):
        raise refuse(op, f"{describe(reduction.x)} and {describe(reduction.out)} are quantised differently", _AGAIN)
    return _layer(graph, op, kernel, "kernels_reduce_params", reduction, {})


def reduce_max(graph: Graph, op: Operator) -> Layer:
    """REDUCE_MAX of int8 tensors over any axes, as long as they form at most two groups of neighbours."""
    return _extreme(graph, op, "kernels_reduce_max_s8")


def reduce_min(graph: Graph, op: Operator) -> Layer:
    """REDUCE_MIN of int8 tensors over any axes, as long as they form at most two groups of neighbours."""
    return _extreme(graph, op, "kernels_reduce_min_s8")


def _place(graph: Graph, op: Operator, kernel: str) -> Layer:
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "int8")
    require_type(op, out, "int32")
    given = integers(graph, op, 1)
    if len(given) != 1:
        raise refuse(op, f"axis {given} is not one number", _AGAIN)
    axis = axis_of(op, given[0], x)
    require_shape(op, out, x.shape[:axis] + x.shape[axis + 1 :])
    params: dict[str, Value] = {
        "outer": math.prod(x.shape[:axis]),
        "length": x.shape[axis],
        "inner": math.prod(x.shape[axis + 1 :]),
    }
    return make(graph, op, kernel, "kernels_arg_params", params)


def arg_max(graph: Graph, op: Operator) -> Layer:
    """ARG_MAX of an int8 tensor along one axis, as int32; the first of equals."""
    return _place(graph, op, "kernels_arg_max_s8")


def arg_min(graph: Graph, op: Operator) -> Layer:
    """ARG_MIN of an int8 tensor along one axis, as int32; the first of equals."""
    return _place(graph, op, "kernels_arg_min_s8")


OPERATORS: dict[str, Lower] = {
    "ARG_MAX": arg_max,
    "ARG_MIN": arg_min,
    "MEAN": mean,
    "REDUCE_MAX": reduce_max,
    "REDUCE_MIN": reduce_min,
    "SUM": total,
}
