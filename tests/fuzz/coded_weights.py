"""Weights of all kinds to try the coded formats with, and output stages for them."""

from collections.abc import Callable

import numpy as np
from coded_streams import Array, Call, Stage, damaged, formats

Rng = np.random.Generator


def _any(rng: Rng, shape: tuple[int, int]) -> Array:
    return rng.integers(-128, 128, shape)


def _extremes(rng: Rng, shape: tuple[int, int]) -> Array:
    return rng.choice([-128, -127, 127, 126, 1, -1, 0], shape)


def _few_values(rng: Rng, shape: tuple[int, int]) -> Array:
    return rng.choice(rng.integers(-128, 128, rng.integers(1, 17)), shape)


def _narrow(rng: Rng, shape: tuple[int, int]) -> Array:
    half = 1 << int(rng.integers(1, 4))
    return rng.integers(-half, half, shape)


def _thin(values: Callable[[Rng, tuple[int, int]], Array]) -> Callable[[Rng, tuple[int, int]], Array]:
    def made(rng: Rng, shape: tuple[int, int]) -> Array:
        share = rng.choice([0.5, 0.2, 0.05, 0.01])
        return np.where(rng.random(shape) < share, values(rng, shape), 0)

    return made


def _two_of_four(rng: Rng, shape: tuple[int, int]) -> Array:
    channels, depth = shape
    blocks = _few_values(rng, (channels * -(-depth // 4), 4))
    keep = np.argsort(rng.random(blocks.shape), axis=1) < 2
    return np.where(keep, blocks, 0).reshape(channels, -1)[:, :depth]


def _blocks(rng: Rng, shape: tuple[int, int]) -> Array:
    channels, depth = shape
    used = np.repeat(rng.random((channels, -(-depth // 4))) < rng.choice([0.5, 0.1]), 4, axis=1)[:, :depth]
    return np.where(used, _narrow(rng, shape), 0)


def _last_only(rng: Rng, shape: tuple[int, int]) -> Array:
    weights = np.zeros(shape, int)
    weights[:, -1] = rng.integers(-128, 128, shape[0])
    return weights


def _zeros(_rng: Rng, shape: tuple[int, int]) -> Array:
    return np.zeros(shape, int)


KINDS = [_any, _extremes, _few_values, _narrow, _thin(_any), _thin(_few_values), _thin(_narrow), _two_of_four, _blocks]
KINDS += [_last_only, _zeros]


def stage(rng: Rng, channels: int, depth: int) -> Stage:
    """Multipliers that spread the sums over the outputs' range; some shift less than what `right` asks for."""
    entries = int(rng.choice([1, channels]))
    usual = -max(2, int(np.log2(60 * np.sqrt(depth)))) - 1
    shift = rng.integers(usual, usual + 3, entries) if rng.random() < 0.7 else rng.integers(-6, 1, entries)
    minimum, maximum = sorted(rng.integers(-128, 128, 2).tolist()) if rng.random() < 0.5 else (-128, 127)
    return Stage(
        rng.integers(-(1 << 16), 1 << 16, channels).astype(np.int32),
        rng.integers(1 << 30, (1 << 31) - 1, entries).astype(np.int32),
        shift.astype(np.int8),
        int(rng.integers(-128, 128)),
        minimum,
        maximum,
    )


def damage(seed: int, count: int) -> list[Call]:
    """Calls with damaged streams, of every format: `count` sets of weights, one damage a variant."""
    rng = np.random.default_rng(seed)
    return [damaged(call, rng) for k in range(count) for call in calls(rng, k)]


def calls(rng: Rng, kind: int) -> list[Call]:
    """One set of weights, of a kind, in all formats, with one input."""
    shape = int(rng.integers(1, 9)), int(rng.choice([1, 5, 16, 33, 64, 300, rng.integers(1, 900)]))
    weights = KINDS[kind % len(KINDS)](rng, shape).astype(np.int8)
    rows = int(rng.choice([1, 2, 4, 5]))
    x = rng.integers(-128, 128, (rows, shape[1])).astype(np.int8)
    at, wide = stage(rng, *shape), bool(rng.integers(2)) and rows > 1
    return [Call(name, packed, weights, x, at, wide=wide) for name, packed in formats(weights)]


def fixed_places(call: Call) -> bool:
    """Whether no field says where to read: places are given by the depth alone, or stay in their block."""
    depth = call.weights.shape[1]
    at = call.packed.layout
    return not at.coded_values and (at.positions == "all" or (at.positions == "two_of_four" and depth % 4 == 0))
