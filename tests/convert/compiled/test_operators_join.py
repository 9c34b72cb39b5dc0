"""Operators that put tensors together or take them apart: every layer against TFLite Micro."""

import pytest
from tflite_builder import Sweep, assert_exact, needs_compiler

from convert.compiled import compile_model

pytestmark = needs_compiler


def concatenation_sweep() -> Sweep:
    s = Sweep(61)
    x = s.input((2, 3, 4, 2))
    for axis in (0, 1, 2, 3, -1):
        for sizes in ((1,), (2, 5), (1, 3, 1, 2)):
            parts = [x]
            for size in sizes:
                shape = list(s.shape(x))
                shape[axis] = size
                parts.append(s.input(shape))
            s.concatenation(parts, axis)
    s.concatenation([x, x, s.concatenation([x, x], 1)], 1)
    constant = s.tensor((2, 3, 4, 1), data=s.rng.integers(-128, 128, (2, 3, 4, 1)))
    s.concatenation([constant, x, constant], 3)
    for dtype in ("i2", "i4", "i8", "f4", "b1"):
        s.concatenation([s.input((2, 3), dtype, None), s.input((2, 1), dtype, None)], 1)
    s.concatenation([s.input((2, 3, 1, 2, 1)), s.input((2, 3, 2, 2, 1))], 2)
    s.concatenation([s.input((2, 5)) for _ in range(10)], 0)
    return s


def pack_sweep() -> Sweep:
    s = Sweep(62)
    for axis in (0, 1, 2, 3, -1, -4):
        s.pack([s.input((2, 3, 4)) for _ in range(3)], axis)
    for dtype in ("i2", "i4", "i8", "f4"):
        s.pack([s.input((5,), dtype, None), s.input((5,), dtype, None)], 1)
    x = s.input(())
    s.pack([x, x, s.tensor((), data=7)], 0)
    s.pack([x], 0)
    return s


def split_sweep() -> Sweep:
    s = Sweep(63)
    x = s.input((2, 6, 4, 3))
    for axis, count in ((0, 2), (1, 3), (1, 6), (2, 2), (3, 3), (-1, 3), (-3, 2), (1, 1)):
        s.divided("SPLIT", x, axis, [s.shape(x)[axis] // count] * count)
    for axis, sizes in ((0, (1, 1)), (1, (1, 3, 2)), (1, (6,)), (2, (3, 1)), (-1, (1, 2))):
        s.divided("SPLIT_V", x, axis, sizes)
    for axis in (0, 1, 2, 3, -1):
        s.divided("UNPACK", x, axis, [1] * s.shape(x)[axis])
    for dtype in ("i2", "i4", "f4"):
        y = s.input((4, 3), dtype, None)
        s.divided("SPLIT", y, 0, (2, 2))
        s.divided("SPLIT_V", y, 1, (1, 2))
        s.divided("UNPACK", y, 1, (1, 1, 1))
    # Parts that are used again, and only some of them.
    a, _, c = s.divided("SPLIT", s.input((1, 9, 2)), 1, (3, 3, 3))
    s.concatenation([c, a], 2)
    s.pack(s.divided("UNPACK", s.input((3, 4)), 0, (1, 1, 1))[::-1], 1)
    return s


SWEEPS = {"concatenation": concatenation_sweep, "pack": pack_sweep, "split": split_sweep}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_layer_equals_tflite_micro(name: str) -> None:
    assert_exact(SWEEPS[name]().build(), sanitize=True)


def test_one_part_costs_nothing() -> None:
    s = Sweep(64)
    x = s.input((2, 3))
    s.concatenation([x], 0)
    s.pack([x], 1)
    s.divided("SPLIT", x, 0, (2,))
    s.divided("UNPACK", s.input((1, 3)), 0, (1,))
    assert [layer.kernel for layer in compile_model(s.build()).lowered] == [None] * 4
