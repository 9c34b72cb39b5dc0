"""Bonsai in integers: what is stored, what each number stands for, and how trained weights become it.

    z_j   = clip8((bias_j + sum_i Z_ji x_i) >> shift_z)            int8; half a unit is part of the bias
    right = sum_j theta_kj z_j > 0                                  at inner node k: child 2 k + 2, else 2 k + 1
    u     = clip(sum_j V_kcj z_j + half >> shift_v, -511, 511)      1/128 a unit
    s_c  += sum_j W_kcj z_j * tanh(u)                               tanh by TANH, in 1/255

for every node k on the path and every column c; all products are of int8, all sums int32. A value z_j has a unit of
its own, which the columns of theta, V and W have taken in: so each z_j uses all of its eight bits whatever its range.
Units and shifts are found by trying all shifts and comparing the integer tree's scores with the trained one's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.trees import coding

Floats = npt.NDArray[Any]
Int8 = coding.Int8

# tanh at 0, 1/8, ..., 4 in units of 1/255; between them it is linear.
TANH = np.round(255 * np.tanh(np.arange(33) / 8)).astype(np.uint8)
U_BITS = 7  # u is in units of 1/128
U_MAX = 511  # just below 4, where the table ends
_INT32 = 2**31 - 1
_SAMPLES = 1000  # of the training set, that shifts are tried on


@dataclass(frozen=True)
class Bonsai:
    """A tree of integers; node k has the children 2 k + 1 and 2 k + 2."""

    classes: int
    input_exponent: int  # a feature is x * 2^input_exponent
    shift_z: int
    shift_v: int
    score_scale: float  # what one unit of a score stands for
    bias: npt.NDArray[np.int16]  # (projection,)
    z: Int8  # (projection, features)
    theta: Int8  # (inner nodes, projection)
    w: Int8  # (nodes, columns, projection); two classes have one column s for the scores (-s, s)
    v: Int8  # likewise

    @property
    def features(self) -> int:
        """Number of inputs, one int8 each."""
        return int(self.z.shape[1])

    @property
    def projection(self) -> int:
        """Dimension of the space that the tree works in."""
        return len(self.bias)

    @property
    def columns(self) -> int:
        """Scores that are computed."""
        return int(self.w.shape[1])

    @property
    def inner(self) -> int:
        """Nodes with a branch."""
        return len(self.theta)

    @property
    def depth(self) -> int:
        """Branches on a path."""
        return self.inner.bit_length()

    @cached_property
    def coded_z(self) -> coding.Coded:
        """Z as stored."""
        return coding.encode([self.z])

    @cached_property
    def coded_nodes(self) -> coding.Coded:
        """The nodes as stored: theta at an inner one, then rows of V and W in turn."""
        return coding.encode([self._node(k) for k in range(len(self.w))])

    def _node(self, k: int) -> Int8:
        rows = np.stack([self.v[k], self.w[k]], 1).reshape(-1)
        return np.concatenate([self.theta[k], rows]) if k < self.inner else rows

    @property
    def constant_bytes(self) -> int:
        """All constants in flash: bias, Z, nodes, and the table of tanh."""
        return self.bias.nbytes + self.coded_z.nbytes + self.coded_nodes.nbytes + TANH.nbytes

    @property
    def ram_bytes(self) -> int:
        """Static RAM: inputs and scores; z lies on the stack."""
        return self.features + 4 * self.classes

    @property
    def projection_macs(self) -> int:
        """Multiply-accumulates of the projection, zeros not counted."""
        return int(np.count_nonzero(self.z))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the longest path, zeros not counted, with one a node and column for tanh."""
        nodes = [int(np.count_nonzero(self._node(k))) + self.columns for k in range(len(self.w))]
        for k in range(self.inner - 1, -1, -1):
            nodes[k] += max(nodes[2 * k + 1], nodes[2 * k + 2])
        return self.projection_macs + nodes[0]

    @property
    def parameters(self) -> int:
        """Weights that are not zero, and biases."""
        return len(self.bias) + sum(int(np.count_nonzero(a)) for a in (self.z, self.theta, self.w, self.v))


def scores(p: Mapping[str, Floats], x: Floats) -> Floats:
    """The trained tree's scores (n, columns) of samples (n, features); `p` as `quantize` takes it."""
    z = x @ p["z"] + p["b"]
    inner, total = len(p["theta"]), np.zeros((len(x), p["w"].shape[2]))
    node = np.zeros(len(x), int)
    while True:
        predicted = np.einsum("np,npc->nc", z, p["w"][node])
        total += predicted * np.tanh(float(p["sigma"]) * np.einsum("np,npc->nc", z, p["v"][node]))
        if not len(node) or node[0] >= inner:
            return total
        node = 2 * node + 1 + (np.einsum("np,np->n", z, p["theta"][node]) > 0)


def input_exponent(x: Floats) -> int:
    """The power of two as a feature's unit that leaves the smallest squared error on samples."""

    def error(exponent: int) -> float:
        return float(np.square(quantize_inputs(x, exponent) * 2.0**exponent - x).sum())

    return min(range(-14, 8), key=error)


def quantize_inputs(x: Floats, exponent: int) -> Int8:
    """Features in units of 2^exponent, ties away from zero."""
    scaled = x / 2.0**exponent
    return np.clip(np.trunc(scaled + np.copysign(0.5, scaled)), -128, 127).astype(np.int8)


def quantize(p: Mapping[str, Floats], classes: int, x: Floats) -> Bonsai:
    """Integers for a trained tree.

    `p` holds z (features, projection), b (projection,), w and v (nodes, projection, columns), theta (inner nodes,
    projection) and sigma; `x` are training samples (n, features), from which ranges come. Raises UsageError for a
    tree whose scores could leave int32.
    """
    from convert.trees import reference

    x = np.asarray(x, np.float64).reshape(len(x), -1)
    x = x[:: -(-len(x) // _SAMPLES)]
    exponent = input_exponent(x)
    q = quantize_inputs(x, exponent)
    wanted = scores(p, x)
    best: tuple[float, Bonsai] | None = None
    for shift in range(16):
        tree = _with_shift(p, classes, exponent, q, shift)
        if tree is None:
            continue
        got = reference.run(tree, q)[:, -tree.columns :] * tree.score_scale
        error = float(np.square(got - wanted).mean())
        if best is None or error < best[0]:
            best = error, tree
    if best is None:
        raise UsageError("the tree's projection has weights so far apart that no scale serves them; train it again")
    check(best[1])
    return best[1]


def check(tree: Bonsai) -> None:
    """Raise UsageError unless every sum stays within int32 whatever the inputs are."""
    reach = np.abs(tree.w.astype(np.int64)).sum(2).max(1) * 128 * 255
    for k in range(tree.inner - 1, -1, -1):
        reach[k] += max(reach[2 * k + 1], reach[2 * k + 2])
    if reach[0] > _INT32:
        raise UsageError(
            f"the tree's scores can reach {reach[0]:,}, beyond the {_INT32:,} of 32 bits; lower model.projection or "
            "model.depth"
        )


def _with_shift(p: Mapping[str, Floats], classes: int, exponent: int, q: Int8, shift: int) -> Bonsai | None:
    """The tree with z's sums shifted by so many bits; None where they would leave int16 or carry no weight."""
    z_real, b = np.asarray(p["z"], np.float64), np.asarray(p["b"], np.float64)
    x = q * 2.0**exponent
    # How many units of Z make 1: as many as int8 holds, and no more than leave z itself within int8.
    weights, values = _peak(z_real, 0), _peak(x @ z_real + b, 0)
    gain = np.minimum(127 / weights, 127 * 2.0 ** (shift + exponent) / values)
    z = np.round(z_real * gain).astype(np.int8).T
    bias = np.round(b * gain / 2.0**exponent) + (1 << shift >> 1)
    if np.abs(bias).max() > 32767 or not z.any():
        return None
    unit = 2.0 ** (shift + exponent) / gain  # what one step of z_j stands for

    def rows(a: Floats) -> Floats:
        return np.asarray(np.asarray(a, np.float64).transpose(0, 2, 1) * unit)

    v_real, w_real, theta_real = rows(p["v"]) * float(p["sigma"]), rows(p["w"]), np.asarray(p["theta"]) * unit
    # The largest power of two that int8 holds; tanh is flat long before a value of V beyond that matters.
    shift_v = int(np.clip(np.floor(np.log2(127 / _peak(v_real, None))) - U_BITS, 0, 14))
    scale = 127 / _peak(w_real, None)
    return Bonsai(
        classes=classes,
        input_exponent=exponent,
        shift_z=shift,
        shift_v=shift_v,
        score_scale=float(np.float32(1 / (scale * 255))),
        bias=bias.astype(np.int16),
        z=np.ascontiguousarray(z),
        theta=np.round(theta_real * (127 / _peak(theta_real, 1))[:, None]).astype(np.int8),
        w=np.round(w_real * scale).astype(np.int8),
        v=np.clip(np.round(v_real * 2.0 ** (shift_v + U_BITS)), -127, 127).astype(np.int8),
    )


def _peak(a: Floats, axis: int | None) -> Floats:
    """The largest magnitude; 1 where all are zero, so that it can divide."""
    peak = np.abs(a).max(axis=axis, initial=0.0)
    return np.asarray(np.where(peak > 0, peak, 1.0))
