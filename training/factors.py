"""Tensors as products of smaller ones.

Singular values (Eckart and Young 1936), Tucker-2 by higher-order SVD (De Lathauwer et al. 2000; Kim et al.,
"Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications", ICLR 2016) and canonical
polyadic decomposition by alternating least squares (Carroll and Chang 1970; Lebedev et al., "Speeding-up Convolutional
Neural Networks Using Fine-tuned CP-Decomposition", ICLR 2015).
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tucker2:
    """A tensor (..., m, n) as core (..., m, n) times square orthogonal matrices on its last two axes.

    Leading rows and columns of the core hold the most energy, so that a corner of it with the leading columns of both
    matrices is the truncated decomposition.
    """

    left: Array  # (m, m), columns by falling energy
    core: Array
    right: Array  # (n, n), likewise

    @property
    def energies(self) -> Array:
        """Share of the squared norm in the leading i + 1 rows and j + 1 columns, (m, n); ones for a zero tensor."""
        squares = (self.core**2).sum(axis=tuple(range(self.core.ndim - 2)))
        total = squares.sum()
        corners = squares.cumsum(axis=0).cumsum(axis=1)
        return np.asarray(corners / total if total else np.ones_like(corners))

    def truncated(self, rows: int, columns: int) -> tuple[Array, Array, Array]:
        """Left (m, rows), core (..., rows, columns) and right (n, columns)."""
        return self.left[:, :rows], self.core[..., :rows, :columns], self.right[:, :columns]


def svd(matrix: Array) -> tuple[Array, Array, Array]:
    """(m, k), (k,), (k, n) with k = min(m, n): matrix = left * values @ right; values fall."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left, values, right


def energies(values: Array) -> Array:
    """Share of the squared norm in the first k + 1 singular values; ones for a zero matrix."""
    squares = values**2
    return np.asarray(squares.cumsum() / squares.sum() if squares.any() else np.ones_like(squares))


def tucker2(tensor: Array) -> Tucker2:
    """Higher-order SVD on the last two axes of a tensor (..., m, n)."""
    left = np.linalg.svd(_unfolded(tensor, tensor.ndim - 2), full_matrices=True)[0]
    right = np.linalg.svd(_unfolded(tensor, tensor.ndim - 1), full_matrices=True)[0]
    return Tucker2(left, np.einsum("...mn,mi,nj->...ij", tensor, left, right, optimize=True), right)


@dataclass(frozen=True)
class Cp:
    """A tensor as a sum of `rank` outer products: one matrix (size, rank) an axis, columns of equal norms."""

    factors: tuple[Array, ...]
    energy: float  # 1 - squared error / squared norm

    @property
    def whole(self) -> Array:
        """The tensor that the factors make."""
        axes = string.ascii_lowercase[: len(self.factors)]
        return np.asarray(np.einsum(",".join(f"{a}z" for a in axes) + "->" + axes, *self.factors, optimize=True))


def cp(tensor: Array, rank: int, iterations: int, seed: int) -> Cp:
    """Alternating least squares from the leading singular vectors, until an iteration gains less than 1e-7.

    Where a rank is above an axis' size, the other columns start at random.
    """
    rng, total = np.random.default_rng(seed), float((tensor**2).sum())
    factors: list[Array] = [_leading(_unfolded(tensor, axis), rank, rng) for axis in range(tensor.ndim)]
    energy = -np.inf
    for _ in range(iterations):
        for axis in range(tensor.ndim):
            others = [factor for k, factor in enumerate(factors) if k != axis]
            grams = _product([factor.T @ factor for factor in others])
            target = _unfolded(tensor, axis) @ _khatri_rao(others)
            # The ridge keeps columns bounded that nearly cancel each other, as CP's are known to.
            ridge = float(1e-9 * np.trace(grams) / rank) or 1.0
            factors[axis] = np.asarray(np.linalg.solve(grams + ridge * np.eye(rank), target.T).T, np.float64)
        reached = _energy(factors, grams, target, total)
        if reached - energy < 1e-7:
            break
        energy = reached
    return Cp(_balanced(factors), _energy(factors, grams, target, total))


def _energy(factors: Sequence[Array], grams: Array, target: Array, total: float) -> float:
    """From what the last axis' update knew: |x - y|^2 = |x|^2 - 2 <x, y> + |y|^2."""
    last = factors[-1]
    error = total - 2 * float((target * last).sum()) + float((grams * (last.T @ last)).sum())
    return 1 - max(0.0, error) / total if total else 1.0


def _unfolded(tensor: Array, axis: int) -> Array:
    """(size of the axis, product of the others in order)."""
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def _leading(matrix: Array, rank: int, rng: np.random.Generator) -> Array:
    left = np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]
    return np.hstack([left, rng.normal(size=(len(matrix), rank - left.shape[1])) / np.sqrt(len(matrix))])


def _khatri_rao(factors: Sequence[Array]) -> Array:
    """Columnwise Kronecker products (product of sizes, rank), the last factor's index fastest."""
    return reduce(lambda a, b: np.einsum("ir,jr->ijr", a, b).reshape(-1, a.shape[1]), factors)


def _product(arrays: Sequence[Array]) -> Array:
    return np.asarray(np.prod(np.stack(arrays), axis=0))


def _balanced(factors: Sequence[Array]) -> tuple[Array, ...]:
    """The same sum of products, every product's norm shared evenly among its factors."""
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    even = _product(norms) ** (1 / len(factors))
    return tuple(f * (even / np.where(norm > 0, norm, 1)) for f, norm in zip(factors, norms, strict=True))
