"""Operators over two int8 tensors of broadcastable shapes: the geometry that their kernels share."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import dropwhile

import numpy as np

from convert.compiled import overlap
from convert.compiled.activation import table_layer, table_of
from convert.compiled.layer import Layer, Value, describe, output, refuse, require_type, tensor
from convert.graph import Graph, Operator, Tensor

_RANK = 4


@dataclass(frozen=True)
class Broadcast:
    """Two tensors over a common shape of 4 dimensions, neighbours that repeat alike merged.

    Strides are elements from one index to the next; 0 where the tensor is repeated.
    """

    shape: tuple[int, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]

    @property
    def params(self) -> dict[str, Value]:
        """The kernels' `kernels_broadcast`."""
        return {"shape": self.shape, "a_strides": self.a, "b_strides": self.b}


def operands(graph: Graph, op: Operator) -> tuple[Tensor, Tensor, Tensor]:
    """Both inputs and the output, all int8."""
    found = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    for t in found:
        require_type(op, t, "int8")
    return found


def broadcast(graph: Graph, op: Operator) -> Broadcast:
    """How the operator's two inputs extend over its output.

    Raises UsageError for shapes that do not broadcast, or not to the output's.
    """
    a, b, out = tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)
    merged = _merge(a.shape, b.shape)
    if merged is None or len(merged) > _RANK:
        raise refuse(
            op, f"{describe(a)} and {describe(b)} do not broadcast in {_RANK} dimensions", "reshape one of them"
        )
    dimensions = [(1, False, False)] * (_RANK - len(merged)) + merged
    shape = tuple(d[0] for d in dimensions)
    if _without_leading_ones(out.shape) != _without_leading_ones(np.broadcast_shapes(a.shape, b.shape)):
        raise refuse(
            op, f"{describe(out)} is not the result of {describe(a)} and {describe(b)}", "convert the model again"
        )
    return Broadcast(
        shape,
        _strides([(length, repeated) for length, repeated, _ in dimensions]),
        _strides([(length, repeated) for length, _, repeated in dimensions]),
    )


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dropwhile(lambda n: n == 1, shape))


def _merge(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[int, bool, bool]] | None:
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
    strides = []
    step = 1
    for length, repeated in reversed(dimensions):
        strides.append(0 if repeated else step)
        step *= 1 if repeated else length
    return tuple(reversed(strides))


def over_operands(layer: Layer, shape: Broadcast) -> Layer:
    """A kernel that goes through the output element by element may write it over either operand."""
    for index, strides in enumerate((shape.a, shape.b)):
        size = 1 + sum((n - 1) * step for n, step in zip(shape.shape, strides, strict=True))
        layer = overlap.overlapping(layer, overlap.elements(shape.shape, strides, size), index)
    return layer


def table_of_scalar(graph: Graph, op: Operator, function: Callable[[int, int], int]) -> Layer | None:
    """The operator as a table, if one of its operands is a single constant; None otherwise.

    `function` maps the bytes of the first and the second operand to the output's.
    """
    for index in (0, 1):
        x, other = tensor(graph, op, index), tensor(graph, op, 1 - index)
        if x.data is None and other.data is not None and other.elements == 1:
            scalar = int(other.data.reshape(-1)[0])

            def value(q: int, scalar: int = scalar, first: bool = index == 0) -> int:
                return function(q, scalar) if first else function(scalar, q)

            return table_layer(graph, op, table_of(value, range(-128, 128)), input=index)
    return None
