"""Trees of random integers and weights, for tests."""

from typing import Any

import numpy as np

from convert.trees.bonsai import Bonsai


def tree(
    seed: int = 0,
    *,
    features: int = 30,
    projection: int = 5,
    depth: int = 2,
    classes: int = 3,
    density: float = 0.5,
    shift_z: int = 7,
    shift_v: int = 3,
) -> Bonsai:
    """A tree whose every number is drawn from the whole range that its type has."""
    rng = np.random.default_rng(seed)
    columns, inner = 1 if classes == 2 else classes, 2**depth - 1

    def matrix(*shape: int) -> Any:
        return (rng.integers(-127, 128, shape) * (rng.random(shape) < density)).astype(np.int8)

    return Bonsai(
        classes=classes,
        input_exponent=-4,
        shift_z=shift_z,
        shift_v=shift_v,
        score_scale=0.25,
        bias=rng.integers(-32768, 32768, projection).astype(np.int16),
        z=matrix(projection, features),
        theta=matrix(inner, projection),
        w=matrix(2 * inner + 1, columns, projection),
        v=matrix(2 * inner + 1, columns, projection),
    )


def inputs(of: Bonsai, count: int, seed: int = 0) -> np.ndarray:
    """Samples int8 (n, features): the extremes, then random ones of different widths."""
    rng = np.random.default_rng(seed)
    width = rng.choice([2, 30, 128], (count, 1))
    drawn = np.clip(rng.integers(-(10**6), 10**6, (count, of.features)) % (2 * width) - width, -128, 127)
    extremes = [np.full(of.features, value) for value in (-128, -1, 0, 1, 127)]
    return np.concatenate([extremes, drawn]).astype(np.int8)


def weights(
    seed: int = 0, *, features: int = 20, projection: int = 6, depth: int = 2, columns: int = 4
) -> dict[str, Any]:
    """What training gives: real weights of a tree, with some zeros."""
    rng = np.random.default_rng(seed)
    inner = 2**depth - 1

    def matrix(*shape: int) -> Any:
        return rng.normal(size=shape) * (rng.random(shape) < 0.7) / np.sqrt(projection)

    return {
        "z": matrix(features, projection),
        "b": rng.normal(size=projection),
        "w": matrix(2 * inner + 1, projection, columns),
        "v": matrix(2 * inner + 1, projection, columns),
        "theta": matrix(inner, projection),
        "sigma": np.array(1.5),
    }
