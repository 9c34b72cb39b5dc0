"""Which kernel runs a layer, where several can."""

from collections.abc import Callable, Sequence

from convert.compiled.layer import Layer
from convert.graph import Graph


def fastest(graph: Graph, layers: Sequence[Layer], candidates: Callable[[Layer], list[Layer]]) -> tuple[Layer, ...]:
    """For every layer the candidate with the least estimated cycles."""
    return tuple(candidates(layer)[-1] for layer in layers)
