"""Operators that copy elements to other places: every layer against TFLite Micro."""

from itertools import permutations, product

import numpy as np
import pytest
from tflite_builder import Sweep, assert_exact, needs_compiler, vectors

from convert.compiled import compile_model, host

pytestmark = needs_compiler


def transpose_sweep() -> Sweep:
    s = Sweep(41)
    x = s.input((2, 3, 4, 5))
    for order in permutations(range(4)):
        s.transpose(x, order)
    for dtype in ("i2", "f4"):
        for order in ((1, 0), (0, 1)):
            s.transpose(s.input((3, 5), dtype, None), order)
    y = s.input((2, 3, 1, 2, 3))
    for order in ((4, 3, 2, 1, 0), (1, 0, 2, 4, 3), (0, 2, 1, 3, 4), (3, 4, 0, 1, 2)):
        s.transpose(y, order)
    s.transpose(s.input((7,)), (0,))
    return s


def slice_sweep() -> Sweep:
    s = Sweep(42)
    x = s.input((2, 5, 4, 3))
    for begin, size in (
        ((0, 0, 0, 0), (-1, -1, -1, -1)),
        ((0, 1, 0, 0), (2, 3, 4, 3)),
        ((1, 2, 1, 1), (1, 2, 3, 2)),
        ((0, 0, 2, 1), (-1, 4, -1, 1)),
        ((1, 4, 3, 2), (1, 1, 1, 1)),
    ):
        for dtype in ("i4", "i8"):
            s.slice(x, begin, size, dtype)
    for dtype in ("i2", "i4", "f4"):
        y = s.input((4, 6), dtype, None)
        s.slice(y, (1, 2), (2, 3))
        s.strided_slice(y, (3, 0), (0, 6), (-2, 2))
    s.slice(s.input((2, 3, 2, 3, 2)), (1, 0, 1, 0, 0), (1, -1, 1, 2, -1))
    for begin, end, strides, masks in (
        ((0, 0, 0, 0), (2, 5, 4, 3), (1, 1, 1, 1), (0, 0, 0)),
        ((0, 1, 0, 0), (2, 5, 4, 3), (1, 2, 1, 1), (0, 0, 0)),
        ((-1, -4, 1, -2), (9, -1, -1, 99), (1, 1, 1, 1), (0, 0, 0)),
        ((1, 4, 3, 2), (-9, -99, -99, 0), (-1, -2, -1, -1), (0, 0, 0)),
        ((1, 2, 3, 1), (0, 0, 0, 0), (1, 1, 2, 1), (0b0110, 0b1111, 0)),
        ((0, 2, 1, 1), (0, 0, 0, 0), (-1, -1, -3, -1), (0b1111, 0b1011, 0)),
        ((1, 2, 0, 0), (2, 3, 4, 3), (1, 1, 1, 1), (0, 0, 0b0001)),
        ((-1, 2, -2, 0), (0, 3, 0, 3), (1, 1, 1, 1), (0, 0, 0b0111)),
        ((0, 0, 0, 2), (0, 0, 0, 0), (1, 1, 1, 1), (0b0111, 0b0111, 0b1000)),
    ):
        s.strided_slice(x, begin, end, strides, *masks)
    s.strided_slice(s.input((9,)), (1,), (8,), (3,))
    s.strided_slice(s.input((9,)), (4,), (5,), (1,), shrink_mask=1)
    z = s.input((3, 4), "b1", None)
    s.slice(z, (1, 1), (2, 2))
    s.strided_slice(z, (2, 3), (0, 0), (-1, -2))
    return s


def reverse_sweep() -> Sweep:
    s = Sweep(43)
    x = s.input((2, 3, 4, 2))
    for axes in ([0], [1], [2], [3], [-1], [1, 2], [2, 1], [0, 1, 2, 3]):
        s.moved("REVERSE_V2", [x, s.constant(axes)], s.shape(x), "ReverseV2Options")
    for dtype in ("u1", "i2", "i4", "i8", "f4", "b1"):
        s.moved("REVERSE_V2", [s.input((3, 4), dtype, None), s.constant([1])], (3, 4), "ReverseV2Options")
    return s


def block_sweep() -> Sweep:
    s = Sweep(44)
    for shape, size in (((1, 4, 6, 3), 2), ((2, 6, 3, 1), 3), ((1, 4, 4, 2), 1), ((2, 4, 8, 2), 4)):
        for dtype in ("i1", "f4"):
            s.blocks("SPACE_TO_DEPTH", s.input(shape, dtype), size)
    for shape, size in (((1, 2, 3, 8), 2), ((2, 2, 1, 18), 3), ((1, 3, 2, 5), 1), ((2, 1, 2, 16), 4)):
        for dtype in ("i1", "f4"):
            s.blocks("DEPTH_TO_SPACE", s.input(shape, dtype), size)
    none = ((0, 0), (0, 0))
    for shape, block, margins in (
        ((1, 4, 6, 3), (2, 2), none),
        ((2, 4, 6, 3), (2, 3), none),
        ((1, 5, 4, 2), (3, 2), ((1, 0), (2, 2))),
        ((2, 3, 3, 1), (2, 2), ((0, 1), (1, 0))),
        ((1, 1, 1, 4), (2, 2), ((2, 1), (0, 3))),
    ):
        for dtype in ("i1", "f4"):
            y = s.batches("SPACE_TO_BATCH_ND", s.input(shape, dtype, zero_point=0), block, margins)
            s.batches("BATCH_TO_SPACE_ND", y, block, margins)
            s.batches("BATCH_TO_SPACE_ND", y, block, none)
    y = s.batches("SPACE_TO_BATCH_ND", s.input((2, 5, 3), zero_point=0), (2,), ((1, 0),))
    s.batches("BATCH_TO_SPACE_ND", y, (2,), ((0, 1),))
    return s


def mirror_pad_sweep() -> Sweep:
    s = Sweep(45)
    for mode in (0, 1):
        for dtype in ("i1", "f4"):
            x = s.input((1, 4, 5, 3), dtype)
            s.mirror_pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode)
            s.mirror_pad(x, ((0, 0), (3, 0), (0, 3), (2, 1)), mode, "i8")
        s.mirror_pad(s.input((2, 3, 4, 2)), ((0, 1), (2, 2), (3, 3), (1, 1)), mode)
        s.mirror_pad(s.input((2, 2, 3, 4, 2)), ((0, 0), (0, 0), (2, 2), (0, 0), (0, 0)), mode)
        s.mirror_pad(s.input((6,)), ((5, 4),), mode)
    s.mirror_pad(s.input((3, 4)), ((3, 3), (4, 4)), 1)
    return s


def nearest_sweep() -> Sweep:
    s = Sweep(46)
    x = s.input((2, 5, 7, 3))
    for size, (align, half) in product(
        [(10, 14), (5, 7), (1, 1), (3, 4), (13, 9), (40, 2)],
        [(False, False), (True, False), (False, True), (True, True)],
    ):
        s.resize("NEAREST_NEIGHBOR", x, size, align, half)
    for dtype in ("i2", "f4"):
        s.resize("NEAREST_NEIGHBOR", s.input((1, 3, 2, 2), dtype, None), (6, 5))
    for length in (1, 2, 3, 11, 37):
        y = s.input((1, length, 1, 1))
        for count in (2, 5, 6, 7, 22, 23, 49):
            s.resize("NEAREST_NEIGHBOR", y, (count, 1), count % 2 == 0, count % 3 == 0)
    return s


def gather_sweep() -> Sweep:
    s = Sweep(47)
    x = s.input((2, 5, 4, 3))
    for axis in (0, 1, 2, 3, -1):
        for places in ((0,), (1, 0, 1, 1), ((0, 1), (1, 0))):
            s.gather(x, s.constant(places), axis)
    s.gather(x, s.constant(1), 2)
    y = s.input((2, 3, 4), "f4", None)
    s.gather(y, s.constant((2, 0)), 1)
    s.gather(y, s.constant(((2, 0, 1, 1), (0, 1, 2, 0))), 1, 1)
    s.gather(y, s.constant(((3, 0, 1), (0, 1, 2))), 2, 1)
    s.gather(y, s.constant(((3, 0, 1), (0, 1, 2))), 2, 2)
    return s


SWEEPS = {
    "transpose": transpose_sweep,
    "slice": slice_sweep,
    "reverse": reverse_sweep,
    "block": block_sweep,
    "mirror_pad": mirror_pad_sweep,
    "nearest": nearest_sweep,
    "gather": gather_sweep,
}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_layer_equals_tflite_micro(name: str) -> None:
    assert_exact(SWEEPS[name]().build(), sanitize=True)


def test_gathering_by_computed_indices() -> None:
    s = Sweep(48)
    x = s.input((2, 5, 3))
    for shape, axis, batch in (((4,), 1, 0), ((2, 2), 1, 1), ((1, 3), 0, 0), ((), 2, 0), ((2,), 1, 1)):
        s.gather(x, s.input(shape, "i4", None), axis, batch)
    s.gather(s.input((7, 2), "f4", None), s.input((9,), "i4", None))
    g = s.build()
    raw = vectors(g)
    at = 0
    rng = np.random.default_rng(1)
    for t in (g.tensors[i] for i in g.inputs):
        if t.dtype == np.int32:
            # Within the shortest axis that any of them is used for.
            places = rng.integers(0, 2, (len(raw), t.elements)).astype(np.int32)
            raw[:, at : at + t.nbytes] = places.view(np.uint8).reshape(len(raw), -1)
        at += t.nbytes
    assert_exact(g, raw, sanitize=True)


def test_computed_indices_are_kept_within_the_tensor() -> None:
    s = Sweep(49)
    s.gather(s.input((3, 1)), s.input((4,), "i4", None))
    g = s.build()
    vector = np.concatenate([np.arange(3, dtype=np.uint8), np.array([-1, 3, 2**31 - 1, 1], np.int32).view(np.uint8)])
    outputs, _ = host.run(compile_model(g), vector.reshape(1, -1), sanitize=True)
    assert outputs.tolist() == [[0, 2, 2, 1]]


def test_what_stays_in_order_costs_nothing() -> None:
    s = Sweep(50)
    x = s.input((2, 1, 4, 3))
    s.transpose(x, (1, 0, 2, 3))
    s.slice(x, (0, 0, 0, 0), (2, 1, 4, -1))
    s.blocks("SPACE_TO_DEPTH", x, 1)
    assert [layer.kernel for layer in compile_model(s.build()).lowered] == [None] * 3
