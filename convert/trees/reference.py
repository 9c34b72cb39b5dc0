"""The integer tree in NumPy: the reference that the C has to equal bit by bit."""

import numpy as np
import numpy.typing as npt

from convert.trees import decision, protonn
from convert.trees.bonsai import TANH, U_MAX, Bonsai
from convert.trees.coding import Int8
from convert.trees.container import Model
from convert.trees.decision import DecisionTree
from convert.trees.protonn import ProtoNN

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


def tanh(u: Int64) -> Int64:
    """tanh of integers in units of 1/128, in units of 1/255: linear between the table's points."""
    u = np.clip(u, -U_MAX, U_MAX)
    at, rest = np.abs(u) >> 4, np.abs(u) & 15
    table = TANH.astype(np.int64)
    return np.asarray(np.sign(u) * (table[at] + ((table[at + 1] - table[at]) * rest + 8 >> 4)))


def run(tree: Model, x: Int8) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features)."""
    if isinstance(tree, DecisionTree):
        return decision.run(tree, x)
    return protonn.run(tree, x) if isinstance(tree, ProtoNN) else _bonsai(tree, x)


def _bonsai(tree: Bonsai, x: Int8) -> Int32:
    z = x.astype(np.int64) @ tree.z.T.astype(np.int64) + tree.bias
    z = np.clip(z >> tree.shift_z, -128, 127)
    theta, w, v = (a.astype(np.int64) for a in (tree.theta, tree.w, tree.v))
    node = np.zeros(len(x), int)
    total = np.zeros((len(x), tree.columns), np.int64)
    for level in range(tree.depth + 1):
        u = np.einsum("ncp,np->nc", v[node], z) + (1 << tree.shift_v >> 1) >> tree.shift_v
        total += np.einsum("ncp,np->nc", w[node], z) * tanh(u)
        if level < tree.depth:
            node = 2 * node + 1 + (np.einsum("np,np->n", theta[node], z) > 0)
    scores = np.concatenate([-total, total], 1) if tree.columns == 1 else total
    assert np.abs(scores).max(initial=0) < 2**31, "bonsai.check keeps scores within 32 bits"
    return scores.astype(np.int32)
