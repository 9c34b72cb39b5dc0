"""Reductions, normalisation and bilinear resizing: every layer against TFLite Micro."""

from itertools import product

import numpy as np
import pytest
from tflite_builder import Sweep, assert_exact, needs_compiler, vectors

pytestmark = needs_compiler

AXES = [(1, 2), (2, 1), (1,), (2,), (3,), (0,), (-1,), (-3, -2), (0, 2), (1, 3), (0, 1, 2, 3), (2, 2)]


def sum_sweep() -> Sweep:
    s = Sweep(71)
    x = s.input((2, 5, 6, 3), scale=0.05, zero_point=-20)
    for axes, keep in product(AXES, (True, False)):
        s.mean(x, axes, keep, 0.1, name="SUM")
    for gain, zero_point in ((1e-9, 0), (0.01, 127), (0.5, -128), (3.0, 5), (40.0, 0)):
        s.mean(x, (1, 2), False, gain, zero_point, "SUM")
        s.mean(s.input((1, 16, 4), scale=0.02, zero_point=127), (1,), False, gain, zero_point, "SUM")
    return s


def extreme_sweep() -> Sweep:
    s = Sweep(72)
    x = s.input((2, 5, 6, 3), scale=0.05, zero_point=-20)
    for name, axes, keep in product(("REDUCE_MAX", "REDUCE_MIN"), AXES, (True, False)):
        s.extreme(name, x, axes, keep)
    for name in ("REDUCE_MAX", "REDUCE_MIN"):
        s.extreme(name, s.input((7,)), (0,), True)
        s.extreme(name, s.input((2, 1, 3, 4, 1)), (2,), False)
    return s


def arg_sweep() -> Sweep:
    s = Sweep(73)
    x = s.input((2, 5, 6, 3))
    for name, axis in product(("ARG_MAX", "ARG_MIN"), (0, 1, 2, 3, -1, -2)):
        s.arg(name, x, axis)
    for name in ("ARG_MAX", "ARG_MIN"):
        s.arg(name, s.input((1, 200)), 1)
        s.arg(name, s.input((4, 1)), 1)
        s.arg(name, s.input((9,)), 0)
    return s


def normalize_sweep() -> Sweep:
    s = Sweep(74)
    for shape in ((1, 1), (5, 2), (2, 3, 7), (1, 2, 2, 64), (9,), (1, 3000)):
        for zero_point in (-128, -1, 0, 127):
            x = s.input(shape, zero_point=zero_point)
            s.op("L2_NORMALIZATION", [x], s.tensor(shape, scale=1 / 128, zero_point=0), "L2NormOptions")
    return s


def bilinear_sweep() -> Sweep:
    s = Sweep(75)
    x = s.input((2, 5, 7, 3))
    for size, (align, half) in product(
        [(10, 14), (5, 7), (1, 1), (3, 4), (13, 9), (40, 2)], [(False, False), (True, False), (False, True)]
    ):
        s.resize("BILINEAR", x, size, align, half)
    for length in (1, 2, 3, 11, 37):
        y = s.input((1, length, 1, 1))
        for count in (2, 5, 6, 7, 22, 23, 49):
            s.resize("BILINEAR", y, (count, 1), count % 2 == 0, count % 6 == 1)
    return s


SWEEPS = {
    "sum": sum_sweep,
    "extreme": extreme_sweep,
    "arg": arg_sweep,
    "normalize": normalize_sweep,
    "bilinear": bilinear_sweep,
}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_layer_equals_tflite_micro(name: str) -> None:
    assert_exact(SWEEPS[name]().build(), sanitize=True)


def test_the_first_of_equals_is_found() -> None:
    s = Sweep(76)
    x = s.input((4, 50))
    for name, axis in product(("ARG_MAX", "ARG_MIN"), (0, 1)):
        s.arg(name, x, axis)
    g = s.build()
    assert_exact(g, vectors(g) % 3)


def test_normalisation_of_small_and_large_sums() -> None:
    s = Sweep(77)
    for zero_point in (0, 1):
        x = s.input((256, 2), zero_point=zero_point)
        s.op("L2_NORMALIZATION", [x], s.tensor((256, 2), scale=1 / 128, zero_point=0), "L2NormOptions")
    pairs = np.stack([np.arange(-128, 128), np.arange(-128, 128)[::-1]], axis=1).astype(np.int8)
    small = np.stack([np.arange(256) // 16 % 16, np.arange(256) % 16], axis=1).astype(np.int8)
    rows = np.stack([np.concatenate([v, v]).reshape(-1) for v in (pairs, small)])
    assert_exact(s.build(), rows.view(np.uint8))
