"""A tree as a graph of two operators, so that test vectors, accuracy, report and project take it like any model."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convert.graph import Graph, Operator, Quantization, Tensor
from convert.trees import container
from convert.trees.bonsai import Bonsai


@dataclass(frozen=True)
class TreeGraph(Graph):
    """A graph that also holds the tree; an input is int8 (1, features), the output int32 (1, classes)."""

    tree: Bonsai | None = None

    @cached_property
    def parameters(self) -> int:
        """Weights that are not zero, and biases."""
        return tree_of(self).parameters

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the longest path, without those of zeros."""
        return tree_of(self).macs

    def macs_of(self, op: Operator) -> int:
        """Multiply-accumulates of the projection, or of the longest path."""
        projection = int(np.count_nonzero(tree_of(self).z))
        return projection if op.index == 0 else self.macs - projection


def tree_of(graph: Graph) -> Bonsai:
    """The tree behind a graph that `load` made."""
    assert isinstance(graph, TreeGraph) and graph.tree is not None
    return graph.tree


def load(data: bytes) -> TreeGraph:
    """The graph of a tree's file (see container.py). Raises UsageError for a file that is none."""
    tree = container.unpack(data)

    def tensor(index: int, name: str, shape: tuple[int, ...], dtype: str, scale: float | None, constant: int) -> Tensor:
        q = None if scale is None else Quantization(np.array([scale], np.float32), np.zeros(1, np.int64), None)
        bytes_ = np.zeros(constant, np.uint8) if constant else None
        return Tensor(index, name, shape, np.dtype(dtype), q, bytes_, is_variable=False)

    z, nodes = tree.bias.nbytes + tree.coded_z.nbytes, tree.coded_nodes.nbytes
    tensors = (
        tensor(0, "features", (1, tree.features), "i1", 2.0**tree.input_exponent, 0),
        tensor(1, "bias and Z, coded", (z,), "u1", None, z),
        tensor(2, "z", (1, tree.projection), "i1", None, 0),
        tensor(3, "theta, V and W, coded", (nodes,), "u1", None, nodes),
        tensor(4, "scores", (1, tree.classes), "<i4", tree.score_scale, 0),
    )
    operators = (
        Operator(0, "BONSAI_PROJECTION", (0, 1), (2,), {}),
        Operator(1, "BONSAI_TREE", (2, 3), (4,), {}),
    )
    return TreeGraph(data, tensors, operators, (0,), (4,), tree=tree)
