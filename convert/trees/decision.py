"""Decision trees in integers: the nodes in one table, in the order of a walk that goes to the left first.

    at an inner node k: to k + 1 where x[feature_k] <= value_k, else to other_k
    at a leaf (feature_k = number of features): class value_k has the score other_k, in 1/255; the others have 0

Features are int8. A threshold is rounded down to their unit, so that the integers go the way that the trained tree goes
with the features as they are rounded, but for one below -128, where a feature at its lowest end goes to the left.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.trees.bonsai import input_exponent
from convert.trees.coding import Int8

Floats = npt.NDArray[Any]

MAGIC = b"DTR1"
ONE = 255  # a score of 1
_HEADER = struct.Struct("<4sHHBb")


@dataclass(frozen=True)
class DecisionTree:
    """A tree of integers; the children of node k are k + 1 and other[k]."""

    classes: int
    features: int
    input_exponent: int  # a feature is x * 2^input_exponent
    feature: npt.NDArray[np.uint16]  # (nodes,), `features` at a leaf
    value: Int8  # threshold, or the bits of the class's number
    other: npt.NDArray[np.uint16]  # right child, or score

    @property
    def nodes(self) -> int:
        """Inner nodes and leaves."""
        return len(self.feature)

    @property
    def score_scale(self) -> float:
        """What one unit of a score stands for."""
        return float(np.float32(1 / ONE))

    @property
    def feature_bytes(self) -> int:
        """Size of a feature's number as stored."""
        return 1 if self.features < 256 else 2

    @property
    def other_bytes(self) -> int:
        """Size of a child's number as stored."""
        return 1 if self.nodes <= 256 else 2

    @property
    def constant_bytes(self) -> int:
        """All constants in flash."""
        return self.nodes * (self.feature_bytes + 1 + self.other_bytes)

    @property
    def ram_bytes(self) -> int:
        """Static RAM: inputs and scores."""
        return self.features + 4 * self.classes

    @property
    def projection_macs(self) -> int:
        """Nothing is multiplied."""
        return 0

    @property
    def macs(self) -> int:
        """Nothing is multiplied."""
        return 0

    @property
    def parameters(self) -> int:
        """Thresholds, and classes and scores of leaves."""
        leaves = int(np.count_nonzero(self.feature == self.features))
        return self.nodes - leaves + 2 * leaves


def run(tree: DecisionTree, x: Int8) -> npt.NDArray[np.int32]:
    """Scores int32 (n, classes) of samples int8 (n, features): the reference that the C has to equal bit by bit."""
    node = np.zeros(len(x), int)
    padded = np.concatenate([x, np.zeros((len(x), 1), np.int8)], 1)  # a leaf's "feature"
    while (inner := tree.feature[node] < tree.features).any():
        left = padded[np.arange(len(x)), tree.feature[node]] <= tree.value[node]
        node = np.where(inner, np.where(left, node + 1, tree.other[node]), node)
    scores = np.zeros((len(x), tree.classes), np.int32)
    scores[np.arange(len(x)), tree.value[node].view(np.uint8)] = tree.other[node]
    return scores


def quantize(p: Mapping[str, Floats], classes: int, x: Floats) -> DecisionTree:
    """Integers for a grown tree.

    `p` holds feature, left, right, threshold (nodes,) and share (nodes, classes), a leaf being its own child; `x` are
    training samples (n, features), which say what unit features need.
    """
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    exponent, features = input_exponent(x), x.shape[1]
    feature, value, other = list[int](), list[int](), list[int]()

    def walk(node: int) -> None:
        place, left = len(feature), int(p["left"][node])
        if left == node:
            share = p["share"][node]
            feature.append(features)
            value.append(int(share.argmax()))
            other.append(round(ONE * float(share.max())))
            return
        feature.append(int(p["feature"][node]))
        value.append(int(np.clip(np.floor(p["threshold"][node] / 2.0**exponent), -128, 127)) & 255)
        other.append(0)
        walk(left)
        other[place] = len(feature)
        walk(int(p["right"][node]))

    walk(0)
    limits = {"features": (features, 65534), "nodes": (len(feature), 65535), "classes": (classes, 255)}
    for name, (count, most) in limits.items():
        if count > most:
            raise UsageError(f"the tree has {count:,} {name}; at most {most:,} are possible: take a smaller one")
    return DecisionTree(
        classes,
        features,
        exponent,
        np.array(feature, np.uint16),
        np.array(value, np.uint8).view(np.int8),
        np.array(other, np.uint16),
    )


def pack(tree: DecisionTree) -> bytes:
    """The tree's file, little-endian; the same tree gives the same bytes.

    char[4] "DTR1"; uint16 features, nodes; uint8 classes; int8 exponent of a feature's unit; then of all nodes uint16
    feature, int8 threshold or class, uint16 right child or score.
    """
    header = _HEADER.pack(MAGIC, tree.features, tree.nodes, tree.classes, tree.input_exponent)
    return header + tree.feature.astype("<u2").tobytes() + tree.value.tobytes() + tree.other.astype("<u2").tobytes()


def unpack(data: bytes) -> DecisionTree:
    """The tree of a file that `pack` made; raises UsageError for a damaged one."""
    try:
        return _read(data)
    except (ValueError, struct.error) as e:
        raise UsageError(f"damaged decision tree ({e}); make it again with convert/build.py") from e


def _read(data: bytes) -> DecisionTree:
    _, features, nodes, classes, exponent = _HEADER.unpack_from(data)
    if len(data) != _HEADER.size + 5 * nodes or not (0 < features < 65535 and nodes and classes):
        raise ValueError("its header does not fit the rest")
    feature = np.frombuffer(data, "<u2", nodes, _HEADER.size).astype(np.uint16)
    value = np.frombuffer(data, "i1", nodes, _HEADER.size + 2 * nodes)
    other = np.frombuffer(data, "<u2", nodes, _HEADER.size + 3 * nodes).astype(np.uint16)
    leaf, place = feature == features, np.arange(nodes)
    # Every step leads further down the table, so that every walk ends, and at a leaf.
    if (feature > features).any() or (~leaf & ((other <= place + 1) | (other >= nodes))).any() or not leaf[-1]:
        raise ValueError("its nodes lead nowhere")
    if (leaf & ((value.view(np.uint8) >= classes) | (other > ONE))).any():
        raise ValueError("its leaves are out of range")
    return DecisionTree(classes, features, exponent, feature, value, other)
