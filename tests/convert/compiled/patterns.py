"""Weights that follow a pattern, each made for one or more of the formats."""

from collections.abc import Callable
from typing import Any

import numpy as np
from tflite_builder import Sweep

Generator = np.random.Generator


def _few(rng: Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    return rng.choice(rng.integers(-127, 128, count), shape)


def _sparse(rng: Generator, shape: tuple[int, ...], values: np.ndarray, share: float = 0.08) -> np.ndarray:
    return values * (rng.random(shape) < share)


def _whole(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-128, 128, shape)


def _each_channel_its_own(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([_few(rng, shape[1:], 5) for _ in range(shape[0])])


def _two_of_four(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    flat = _whole(rng, shape).reshape(shape[0], -1)
    for start in range(0, flat.shape[1], 4):
        quad = flat[:, start : start + 4]
        gone = np.argsort(rng.random(quad.shape), axis=1)[:, 2:]
        np.put_along_axis(quad, gone, 0, axis=1)
    return flat.reshape(shape)


def _blocks(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    flat = _whole(rng, shape).reshape(shape[0], -1)
    kept = np.repeat(rng.random((shape[0], -(-flat.shape[1] // 4))) < 0.2, 4, axis=1)[:, : flat.shape[1]]
    return (flat * kept).reshape(shape)


def _nearly_empty(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Channels without a weight, and one whose only weight is the last."""
    values = np.zeros(shape, np.int64)
    values.reshape(shape[0], -1)[shape[0] // 2, -1] = rng.choice([-128, 127])
    return values


PATTERNS: dict[str, Callable[[Generator, tuple[int, ...]], np.ndarray]] = {
    "whole": _whole,
    "int4": lambda rng, shape: rng.integers(-8, 8, shape),
    "int2": lambda rng, shape: rng.integers(-2, 2, shape),
    "few": lambda rng, shape: _few(rng, shape, 9),
    "sixty": lambda rng, shape: _few(rng, shape, 60),
    "each_channel": _each_channel_its_own,
    "sparse": lambda rng, shape: _sparse(rng, shape, _whole(rng, shape)),
    "sparse_few": lambda rng, shape: _sparse(rng, shape, _few(rng, shape, 7)),
    "sparse_int4": lambda rng, shape: _sparse(rng, shape, rng.integers(-8, 8, shape), 0.3),
    "extremes": lambda rng, shape: _sparse(rng, shape, rng.choice([-128, -127, 127], shape), 0.5),
    "two_of_four": _two_of_four,
    "blocks": _blocks,
    "nearly_empty": _nearly_empty,
}


class Patterned(Sweep):
    """Layers whose weights follow a pattern."""

    pattern = "whole"

    def _weights(self, shape: Any, axis: int, per_channel: bool) -> int:
        values = PATTERNS[self.pattern](self.rng, tuple(shape))
        scale = self.rng.uniform(0.002, 0.02, shape[axis] if per_channel else 1)
        return self.tensor(shape, scale=scale, zero_point=0, axis=axis, data=values)
