"""Pooling and means: AVERAGE_POOL_2D, MAX_POOL_2D, MEAN."""

from itertools import groupby

from convert.compiled import fixed_point
from convert.compiled.layer import (
    Layer,
    Lower,
    Value,
    constant,
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
    return make(graph, op, kernel, "kernels_pool_params", params)


def average_pool_2d(graph: Graph, op: Operator) -> Layer:
    """AVERAGE_POOL_2D over the elements that lie within the input."""
    return _pool(graph, op, "kernels_average_pool_s8")


def max_pool_2d(graph: Graph, op: Operator) -> Layer:
    """MAX_POOL_2D."""
    return _pool(graph, op, "kernels_max_pool_s8")


def _merge(shape: tuple[int, ...], axes: set[int]) -> tuple[list[int], list[int]] | None:
    """Lengths as kept, reduced, kept, reduced, kept; None where the axes alternate more often."""
    runs: list[tuple[bool, int]] = []
    # Axes of length 1 change nothing and would only break up runs.
    for is_reduced, group in groupby((i for i in range(len(shape)) if shape[i] != 1), key=lambda i: i in axes):
        length = 1
        for i in group:
            length *= shape[i]
        runs.append((is_reduced, length))
    if runs and runs[0][0]:
        runs.insert(0, (False, 1))
    kept = [n for is_reduced, n in runs if not is_reduced]
    reduced = [n for is_reduced, n in runs if is_reduced]
    if len(kept) > 3 or len(reduced) > 2:
        return None
    return kept + [1] * (3 - len(kept)), reduced + [1] * (2 - len(reduced))


def mean(graph: Graph, op: Operator) -> Layer:
    """MEAN over any axes, as long as they form at most two groups of neighbours.

    The division by the number of elements is part of the multiplier, in TFLite Micro's way: it is shifted up by the
    number's length in bits, as far as shifts stay within -31, and divided in integers.
    """
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "int8")
    require_type(op, out, "int8")
    given = [int(a) for a in constant(op, tensor(graph, op, 1)).reshape(-1)]
    if any(not -len(x.shape) <= a < len(x.shape) for a in given):
        raise refuse(op, f"axes {given} do not exist in {describe(x)}", "convert the model again")
    axes = {a % len(x.shape) for a in given}
    merged = _merge(x.shape, axes)
    if merged is None:
        raise refuse(
            op, f"axes {sorted(axes)} of {describe(x)} form more than two groups", "take the mean in two steps"
        )
    kept, reduced = merged
    count = reduced[0] * reduced[1]
    if not 0 < count < _MAX_ELEMENTS or out.elements * count != x.elements:
        raise refuse(op, f"a mean of {count} elements from {describe(x)} to {describe(out)}", "convert the model again")
    qx, qout = per_tensor(op, x), per_tensor(op, out)
    multiplier, shift = fixed_point.quantize_multiplier(qx.scale / qout.scale)
    if shift > _MAX_SHIFT:
        raise refuse(op, f"rescaling by {qx.scale / qout.scale:g} is out of range", "convert the model again")
    bits = min(count.bit_length() - 1, 32, 31 + shift)
    params: dict[str, Value] = {
        "kept": tuple(kept),
        "reduced": tuple(reduced),
        "offset": -qx.zero_point * count,
        "multiplier": (multiplier << bits) // count,
        "shift": shift - bits,
        "zero_point": qout.zero_point,
    }
    return make(graph, op, "kernels_mean_s8", "kernels_mean_params", params)


OPERATORS: dict[str, Lower] = {"AVERAGE_POOL_2D": average_pool_2d, "MAX_POOL_2D": max_pool_2d, "MEAN": mean}
