"""A tree as a graph of an operator or two, so that vectors, accuracy, report and project take it like any model."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convert.graph import Graph, Operator, Quantization, Tensor
from convert.trees import container
from convert.trees.container import Model
from convert.trees.decision import DecisionTree
from convert.trees.protonn import ProtoNN


@dataclass(frozen=True)
class TreeGraph(Graph):
    """A graph that also holds the tree; an input is int8 (1, features), the output int32 (1, classes)."""

    tree: Model | None = None

    @cached_property
    def parameters(self) -> int:
        """Weights that are not zero, and biases."""
        return tree_of(self).parameters

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the longest path, without those of zeros."""
        return tree_of(self).macs

    def macs_of(self, op: Operator) -> int:
        """Multiply-accumulates of the projection, or of the longest path or the prototypes."""
        projection = tree_of(self).projection_macs
        return projection if op.index == 0 else self.macs - projection


def tree_of(graph: Graph) -> Model:
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

    if isinstance(tree, DecisionTree):
        nodes = tree.constant_bytes
        tensors: tuple[Tensor, ...] = (
            tensor(0, "features", (1, tree.features), "i1", 2.0**tree.input_exponent, 0),
            tensor(1, "nodes", (nodes,), "u1", None, nodes),
            tensor(2, "scores", (1, tree.classes), "<i4", tree.score_scale, 0),
        )
        return TreeGraph(data, tensors, (Operator(0, "DECISION_TREE", (0, 1), (2,), {}),), (0,), (2,), tree=tree)
    if isinstance(tree, ProtoNN):
        first, second = tree.coded["w"].nbytes, tree.constant_bytes - tree.coded["w"].nbytes
        names, kinds = ("W, coded", "prototypes, scores and exp, coded"), ("PROTONN_PROJECTION", "PROTONN_PROTOTYPES")
    else:
        first, second = tree.bias.nbytes + tree.coded_z.nbytes, tree.coded_nodes.nbytes
        names, kinds = ("bias and Z, coded", "theta, V and W, coded"), ("BONSAI_PROJECTION", "BONSAI_TREE")
    tensors = (
        tensor(0, "features", (1, tree.features), "i1", 2.0**tree.input_exponent, 0),
        tensor(1, names[0], (first,), "u1", None, first),
        tensor(2, "z", (1, tree.projection), "i1", None, 0),
        tensor(3, names[1], (second,), "u1", None, second),
        tensor(4, "scores", (1, tree.classes), "<i4", tree.score_scale, 0),
    )
    operators = (
        Operator(0, kinds[0], (0, 1), (2,), {}),
        Operator(1, kinds[1], (2, 3), (4,), {}),
    )
    return TreeGraph(data, tensors, operators, (0,), (4,), tree=tree)
