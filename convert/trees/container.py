"""A tree as a file, little-endian: a header, then the constants as they lie in flash; protonn.py and decision.py have
their own.

char[4]  "BNS1"                        uint8   bits: 1 Z has a bitmap, 2 nodes have one
uint16   features                      uint8   projection, depth, classes
int8     exponent of an input's unit   uint8   shift of z, shift of V
float32  what a score's unit stands for
uint16   values of Z, values of nodes
int16[projection] bias; bitmap and values of Z; bitmap and values of the nodes (see coding.py, bonsai.py)
"""

import struct
from typing import TypeAlias

import numpy as np

from convert.errors import UsageError
from convert.trees import coding, decision, protonn
from convert.trees.bonsai import Bonsai, check
from convert.trees.decision import DecisionTree
from convert.trees.protonn import ProtoNN

Model: TypeAlias = Bonsai | ProtoNN | DecisionTree

MAGIC = b"BNS1"
_HEADER = struct.Struct("<4sBHBBBbBBfHH")


def pack(tree: Model) -> bytes:
    """The model's file; the same model gives the same bytes. Raises UsageError for one too large for the format."""
    if isinstance(tree, ProtoNN):
        return protonn.pack(tree)
    if isinstance(tree, DecisionTree):
        return decision.pack(tree)
    parts = tree.coded_z, tree.coded_nodes
    limits = {"features": (tree.features, 65535), "classes": (tree.classes, 255), "projection": (tree.projection, 127)}
    limits["values"] = max(len(part.values) for part in parts), 65535
    for name, (value, most) in limits.items():
        if value > most:
            raise UsageError(f"the tree has {value:,} {name}; at most {most:,} are possible: take a smaller one")
    header = _HEADER.pack(
        MAGIC,
        sum(part.sparse << i for i, part in enumerate(parts)),
        tree.features,
        tree.projection,
        tree.depth,
        tree.classes,
        tree.input_exponent,
        tree.shift_z,
        tree.shift_v,
        tree.score_scale,
        *(len(part.values) for part in parts),
    )
    return header + tree.bias.astype("<i2").tobytes() + coding.body(parts)


def unpack(data: bytes) -> Model:
    """The model of a file that `pack` made; raises UsageError for anything else."""
    if data[:4] == protonn.MAGIC:
        return protonn.unpack(data)
    if data[:4] == decision.MAGIC:
        return decision.unpack(data)
    if data[:4] != MAGIC or len(data) < _HEADER.size:
        raise UsageError(
            "not a tree: the file does not begin with BNS1, PNN1 or DTR1; train one with a recipe of architecture "
            "bonsai, protonn or decision_tree"
        )
    try:
        tree = _read(data)
    except (ValueError, struct.error, IndexError) as e:
        raise UsageError(f"damaged tree ({e}); make it again with convert/build.py") from e
    check(tree)
    return tree


def _read(data: bytes) -> Bonsai:
    _, bits, features, projection, depth, classes, exponent, *rest = _HEADER.unpack_from(data)
    shift_z, shift_v, scale, *counts = rest
    if not (features and projection and classes >= 2 and depth <= 6 and shift_z < 16 and shift_v < 16):
        raise ValueError("its header has values out of range")
    inner, columns = 2**depth - 1, 1 if classes == 2 else classes
    theta, rows = projection, 2 * columns * projection
    node_sizes = [theta + rows] * inner + [rows] * (inner + 1)
    reader = coding.Reader(data, _HEADER.size)
    bias = reader.take(projection, "<i2").astype(np.int16)
    groups = [
        reader.groups(counts[index], bits >> index & 1, sizes)
        for index, sizes in enumerate(([features * projection], node_sizes))
    ]
    reader.end()
    (z,), nodes = groups
    pairs = np.stack([node[-rows:].reshape(columns, 2, projection) for node in nodes])
    return Bonsai(
        classes=classes,
        input_exponent=exponent,
        shift_z=shift_z,
        shift_v=shift_v,
        score_scale=scale,
        bias=bias,
        z=z.reshape(projection, features),
        theta=_thetas(nodes[:inner], projection),
        w=np.ascontiguousarray(pairs[:, :, 1]),
        v=np.ascontiguousarray(pairs[:, :, 0]),
    )


def _thetas(nodes: list[coding.Int8], projection: int) -> coding.Int8:
    return np.concatenate([*(node[:projection] for node in nodes), np.zeros(0, np.int8)]).reshape(-1, projection)
