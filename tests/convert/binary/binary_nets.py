"""Networks of random bits, for tests."""

from typing import Any

import numpy as np

from convert.binary.net import BitConv, ImageConv, Int8, Net, Pool, Scores, Window, check


def bits(rng: np.random.Generator, outputs: int, inputs: tuple[int, int, int], **changes: Any) -> BitConv:
    """A layer of bits whose thresholds lie where the sums do, one channel always set and one never."""
    ternary = changes.pop("ternary", False)
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], (outputs, *inputs)).astype(np.int8)
    taps = int(np.prod(inputs))
    limits = np.rint(rng.normal(0, np.sqrt(taps), outputs)).astype(np.int32)
    if outputs > 2:
        limits[:2] = -taps, taps + 1
    return BitConv(weights, limits, changes.pop("strides", (1, 1)), changes.pop("same", True), ternary)


def image(rng: np.random.Generator, outputs: int, inputs: tuple[int, int, int], **changes: Any) -> ImageConv:
    """A first layer."""
    weights = rng.choice([-1, 1], (outputs, *inputs)).astype(np.int8)
    taps = int(np.prod(inputs))
    limits = np.clip(np.rint(rng.normal(0, 100 * np.sqrt(taps), outputs)), -255 * taps, 255 * taps + 1).astype(np.int32)
    return ImageConv(weights, limits, changes.pop("strides", (1, 1)), changes.pop("same", True))


def net(
    seed: int = 0,
    *,
    shape: tuple[int, int, int] = (8, 8, 1),
    filters: tuple[int, int] = (8, 40),
    dense: int = 12,
    kernel: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    same: bool = True,
    ternary: bool = False,
    classes: int = 4,
) -> Net:
    """A LeNet: convolution, pooling, convolution, pooling where there is room, dense layer, scores."""
    rng = np.random.default_rng(seed)
    layers: list[Any] = [image(rng, filters[0], (*kernel, shape[2]), same=same)]

    def here() -> tuple[int, int, int]:
        return Net(shape, 1 / 255, -3, tuple(layers)).shapes[-1]

    def pool() -> None:
        if min(here()[:2]) > 1:
            falling = rng.random(here()[2]) < 0.5
            layers.append(Pool(Window((2, 2), (2, 2), same=False), falling))

    pool()
    layers.append(bits(rng, filters[1], (*kernel, filters[0]), same=same, strides=strides, ternary=ternary))
    pool()
    layers.append(bits(rng, dense, here(), same=False, ternary=ternary))
    signs = rng.choice([-1, 1], (classes, dense)).astype(np.int8)
    factors = rng.integers(-500, 500, classes).astype(np.int16)
    layers.append(Scores(signs, factors, rng.integers(-9999, 9999, classes).astype(np.int32)))
    return check(Net(shape, float(np.float32(1 / 255)), -3, tuple(layers)))


def samples(found: Net, count: int, seed: int = 1) -> Int8:
    """Images int8 (count, features): random, one dark, one bright, one half dark."""
    x = np.random.default_rng(seed).integers(-128, 128, (count, found.features)).astype(np.int8)
    if count > 3:
        x[1], x[2], x[3, : found.features // 2] = -128, 127, -128
    return x
