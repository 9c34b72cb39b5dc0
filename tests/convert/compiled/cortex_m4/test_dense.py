"""Dense kernels of the Cortex-M4: against the portable kernel call by call, and whole graphs against TFLite Micro."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from kernel_call import assert_golden, call, needs_arm
from tflite_builder import Sweep

from convert.compiled import lowering
from convert.compiled.cortex_m4 import dense
from convert.compiled.layer import Constant, Layer

pytestmark = needs_arm

# Depths that fill steps of 8 and rounds of 32 or not; channels that fill blocks of 4 or not.
SHAPES = [
    *product((1,), (1, 3, 8, 12, 16, 17, 24, 31, 32, 33, 40, 72), (1, 2, 3, 4, 5, 8)),
    (1, 128, 10),
    (3, 8, 4),
    (3, 19, 6),
    (4, 32, 3),
]
STAGES = [("none", -7, True), ("relu", -128, True), ("relu6", 3, True), ("none", -128, False), ("relu6", 0, False)]


def portable(
    shape: tuple[int, int], channels: int, activation: str = "none", zero_point: int = -7, per_channel: bool = True
) -> Layer:
    """A dense layer with random weights."""
    s = Sweep(shape[1] * 10 + channels)
    s.dense(s.input(shape), channels, activation, per_channel, zero_point=zero_point)
    return lowering.lower(s.build())[0]


def numbers(layer: Layer) -> tuple[int, int, int]:
    rows, depth, channels = (layer.params[name] for name in ("rows", "depth", "channels"))
    assert isinstance(rows, int)
    assert isinstance(depth, int)
    assert isinstance(channels, int)
    return rows, depth, channels


def inputs(layer: Layer, seed: int = 0) -> bytes:
    rows, depth, _ = numbers(layer)
    values = np.random.default_rng(seed).integers(-128, 128, rows * depth).astype(np.int8)
    if seed == 1:
        values[:] = -128
    return values.tobytes()


def check(layer: Layer, candidate: Layer, seed: int = 0, **how: int | str) -> int:
    """Assert equal outputs; return the candidate's instructions."""
    rows, _, channels = numbers(layer)
    x = [inputs(layer, seed)]
    expected = call(layer, x, rows * channels)
    got = call(candidate, x, rows * channels, **how)  # type: ignore[arg-type]
    assert got.outputs == expected.outputs, f"{candidate.kernel} {numbers(layer)}"
    return got.instructions


@pytest.mark.parametrize("stage", STAGES)
def test_equals_the_portable_kernel_and_stays_in_its_memory(stage: tuple[str, int, bool]) -> None:
    used = set()
    for rows, depth, channels in SHAPES:
        layer = portable((rows, depth), channels, *stage)
        for candidate in dense.candidates(layer):
            used.add(candidate.kernel)
            for seed in (0, 1):
                check(layer, candidate, seed)
    assert len(used) == (4 if stage[2] else 2)  # one channel is always per tensor


@pytest.mark.parametrize("optimize", ["-Os", "-O3"])
def test_at_other_optimisation_levels(optimize: str) -> None:
    layer = portable((2, 40), 7, "relu6")
    for candidate in dense.candidates(layer):
        check(layer, candidate, optimize=optimize)


@pytest.mark.parametrize("shape,channels", [((1, 40), 40), ((1, 17), 33), ((3, 24), 16), ((3, 16), 24), ((4, 16), 4)])
def test_outputs_may_overlap_the_input_as_far_as_stated(shape: tuple[int, int], channels: int) -> None:
    layer = portable(shape, channels)
    for candidate in dense.candidates(layer):
        (stated,) = candidate.overlaps
        farthest = [stated.distance]
        if shape[0] == 1 and candidate.scratch_bytes:
            assert stated.distance == -shape[1]  # anywhere
            farthest = list(range(-shape[1], channels + 1, 5))
        for distance in farthest:
            check(layer, candidate, distance=distance)


def test_one_byte_beyond_the_stated_overlap_is_wrong() -> None:
    layer = portable((3, 16), 24)
    widened, direct = dense.candidates(layer)
    for candidate in (widened, direct):
        (stated,) = candidate.overlaps
        # Single bytes may hide behind small weights: some inputs show it.
        with pytest.raises(AssertionError, match="kernels_m4_dense"):
            for seed in range(2, 12):
                check(layer, candidate, seed, distance=stated.distance - 1)


def limits(odd: int, even: int, depth: int) -> Layer:
    """A layer of four channels whose weights are all `even` in channels 0 and 2, `odd` in 1 and 3."""
    layer = portable((1, depth), 4, per_channel=False)
    weights = np.tile(np.array([[even], [odd]], np.int8), (2, depth))
    laid = Constant("weights", weights, "[output channel][input]")
    return replace(layer, params={**layer.params, "weights": laid})


def test_extreme_weights_and_sums() -> None:
    for odd, even in ((127, -127), (-127, -127), (-127, 127), (-128, 0), (-128, 127), (127, -128)):
        layer = limits(odd, even, 72)
        found = dense.candidates(layer)
        assert len(found) == 2
        for candidate, seed in product(found, (0, 1)):
            check(layer, candidate, seed)


def test_refuses_what_does_not_fit() -> None:
    assert dense.candidates(limits(-127, -1, 72))
    assert not dense.candidates(limits(-128, -1, 72))  # the borrow does not fit
    assert dense.candidates(limits(127, 127, 514))
    assert not dense.candidates(limits(127, 127, 529))  # 24 bits are not enough, and it is no multiple of 8
    assert dense.candidates(limits(127, 127, 1024))
    assert not dense.candidates(limits(127, 127, 1088))  # nor for the halves
    assert dense.candidates(limits(1, 127, 528))


@pytest.mark.parametrize("depth", [528, 544, 552, 640, 968, 1024])
@pytest.mark.parametrize("stage", STAGES)
def test_sums_in_two_parts(depth: int, stage: tuple[str, int, bool]) -> None:
    layer = portable((2, depth), 6, *stage)
    # Large everywhere, and different in the two channels that share words.
    weights = np.random.default_rng(depth).choice(np.array([-127, 126, 127], np.int8), (6, depth))
    weights[0], weights[3] = 127, -127
    laid = Constant("weights", weights, "[output channel][input]")
    layer = replace(layer, params={**layer.params, "weights": laid})
    (candidate,) = dense.candidates(layer)
    assert candidate.kernel is not None
    assert candidate.kernel.startswith("kernels_m4_dense_long_")
    for seed in (0, 1):
        check(layer, candidate, seed)
    check(layer, candidate, distance=candidate.overlaps[0].distance)


def test_features_give_the_instructions() -> None:
    """A linear model of the features, fitted to some shapes, foretells others."""
    shapes = [(1, 8, 4), (1, 64, 4), (1, 64, 64), (3, 72, 12), (1, 32, 16), (1, 40, 8), (2, 96, 20), (1, 136, 36)]
    for which, variant in product((0, 1), ("none", "relu6")):
        rows, counts = [], []
        for r, depth, channels in shapes:
            layer = portable((r, depth), channels, variant)
            candidate = dense.candidates(layer)[which]
            found = dense.FEATURES[candidate.kernel or ""](candidate)
            rows.append([found[name] for name in sorted(found)])
            counts.append(check(layer, candidate))
        x, y = np.array(rows), np.array(counts, float)
        fitted, *_ = np.linalg.lstsq(x, y, rcond=None)
        assert np.abs(x @ fitted - y).max() < 0.5 + 0.01 * y.max()


@pytest.mark.parametrize("pick", [0, 1])
def test_graphs_equal_tflite_micro(pick: int) -> None:
    s = Sweep(5)
    for shape in ((1, 16), (4, 8), (1, 9), (3, 5, 8)):
        x = s.input(shape, scale=0.04, zero_point=-3)
        for per_channel, activation, zero_point in product((True, False), ("none", "relu", "relu6"), (-128, 5)):
            s.dense(x, 6, activation, per_channel, zero_point=zero_point)
        for gain in (0.05, 3.0, 20.0):
            s.dense(x, 3, gain=gain, zero_point=0)
    y = s.input((1, 640), scale=0.01, zero_point=127)
    for channels in (8, 40, 17):
        y = s.dense(y, channels, "relu", zero_point=-128)

    def choose(layer: Layer) -> Layer:
        found = dense.candidates(layer)
        return found[min(pick, len(found) - 1)] if found else layer

    chosen: Callable[[Layer], Layer] = choose
    kernels = assert_golden(s.build(), chosen)
    assert len({k for k in kernels if k.startswith("kernels_m4_dense")}) >= 4
