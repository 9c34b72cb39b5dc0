"""Copies, reductions and functions of two tensors, with outputs as far over their inputs as the kernels allow."""

import numpy as np
import pytest
from squeeze import overlapped, squeezed
from tflite_builder import Sweep, assert_exact, needs_compiler, vectors

from convert import golden
from convert.compiled import compile_model, host

pytestmark = needs_compiler


def operators() -> Sweep:
    """Each operator has an input of its own, which it consumes."""
    s = Sweep(81)
    for dtype in ("i1", "f4"):
        s.transpose(s.input((3, 4), dtype), (1, 0))
        s.transpose(s.input((2, 3, 4, 2), dtype), (0, 2, 1, 3))
        for begin, size in (((0, 3), (5, 4)), ((2, 0), (3, 7)), ((3, 4), (2, 3)), ((0, 0), (2, 7)), ((1, 1), (1, 1))):
            s.slice(s.input((5, 7), dtype), begin, size)
        s.strided_slice(s.input((9, 6), dtype), (1, 0), (9, 6), (2, 3))
        s.strided_slice(s.input((9, 6), dtype), (8, 5), (-20, -20), (-1, -1))
        s.blocks("SPACE_TO_DEPTH", s.input((1, 4, 6, 2), dtype), 2)
        s.blocks("DEPTH_TO_SPACE", s.input((1, 3, 2, 8), dtype), 2)
        s.batches("BATCH_TO_SPACE_ND", s.input((4, 3, 3, 2), dtype), (2, 2), ((1, 0), (2, 1)))
        s.batches("SPACE_TO_BATCH_ND", s.input((1, 4, 6, 2), dtype, zero_point=0), (2, 3), ((0, 0), (0, 0)))
        s.mirror_pad(s.input((3, 5, 2), dtype), ((1, 1), (2, 0), (0, 0)), 0)
        s.resize("NEAREST_NEIGHBOR", s.input((1, 6, 8, 2), dtype), (3, 4))
        s.resize("NEAREST_NEIGHBOR", s.input((1, 2, 3, 1), dtype), (5, 6))
        for axis, places in ((0, (3, 1)), (1, (0, 2)), (2, (1, 1, 0))):
            s.gather(s.input((4, 3, 2), dtype), s.constant(places), axis)
        for axis in (0, 1):
            s.concatenation([s.input((3, 4), dtype) for _ in range(3)], axis)
            s.pack([s.input((3, 4), dtype) for _ in range(2)], axis)
            s.divided("SPLIT", s.input((4, 6), dtype), axis, (2, 2) if axis == 0 else (2, 2, 2))
            s.divided("UNPACK", s.input((4, 3), dtype), axis, [1] * (4, 3)[axis])
        x = s.input((3, 4), dtype)
        s.concatenation([x, s.input((3, 1), dtype), x], 1)
    for axes in ((0,), (1,), (2,), (0, 2)):
        s.extreme("REDUCE_MAX", s.input((4, 3, 5)), axes, False)
        s.extreme("REDUCE_MIN", s.input((4, 3, 5)), axes, False)
        s.mean(s.input((4, 3, 5)), axes, True, name="SUM")
    for shape in ((1, 9), (5, 4)):
        s.op("L2_NORMALIZATION", [s.input(shape)], s.tensor(shape, scale=1 / 128, zero_point=0), "L2NormOptions")
    s.binary("PRELU", s.input((3, 4)), s.input((4,)), 0.05)
    return s


def test_outputs_at_the_stated_distance_are_exact() -> None:
    g = operators().build()
    compiled = compile_model(g)
    used = {compiled.lowered[place].kernel for place in overlapped(compiled)}
    kernels = {"kernels_move", "kernels_move_from", "kernels_gather", "kernels_join", "kernels_divide"}
    assert used >= kernels | {"kernels_reduce_max_s8", "kernels_reduce_min_s8", "kernels_mean_s8"}
    # The sanitizer sees copies onto themselves.
    assert_exact(g, sanitize=True)


@pytest.mark.parametrize("name", ["kernels_move", "kernels_reduce_max_s8"])
def test_a_distance_that_is_too_short_is_found_out(name: str) -> None:
    """An element less, and some output differs."""
    g = operators().build()
    compiled = compile_model(g)
    places = [p for p in overlapped(compiled, 1) if compiled.lowered[p].kernel == name]
    assert places
    inputs = vectors(g)
    reference = golden.run(g, inputs, layers=True).layers
    _, layers = host.run(squeezed(compiled, 1), inputs, layers=True)
    assert reference is not None
    assert layers is not None
    outputs = [i for p in places for i in compiled.lowered[p].outputs]
    assert any(not np.array_equal(layers[i], reference[i]) for i in outputs)
