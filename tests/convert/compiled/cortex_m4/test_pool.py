"""Pooling and means on the Cortex-M4: the division over all sums, memory, and whole graphs against TFLite Micro."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from kernel_call import assert_golden, call, needs_arm
from tflite_builder import SAME, VALID, Sweep

from convert.compiled import lowering
from convert.compiled.cortex_m4 import pool
from convert.compiled.layer import Layer


def pooled(shape: tuple[int, ...], kind: str, **how: Any) -> Layer:
    s = Sweep(1)
    s.pool(s.input(shape, zero_point=-20), kind, **how)
    return lowering.lower(s.build())[0]


def averaged(shape: tuple[int, ...], axes: tuple[int, ...] = (1, 2)) -> Layer:
    s = Sweep(1)
    s.mean(s.input(shape, zero_point=-20), axes, False)
    return lowering.lower(s.build())[0]


def candidate(layer: Layer) -> Layer:
    (found,) = pool.CANDIDATES[layer.kernel or ""](layer)
    return found


def size(layer: Layer) -> int:
    """Bytes of the output."""
    if "kept" in layer.params:
        return int(np.prod(layer.params["kept"]))  # type: ignore[call-overload]
    w = layer.params["window"]
    assert isinstance(w, dict)
    return int(w["batches"] * w["output_height"] * w["output_width"] * layer.params["channels"])


def check(layer: Layer, shape: tuple[int, ...], seed: int = 0, **how: Any) -> int:
    """Assert that the candidate's output is the portable one's; return its instructions."""
    values = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    if seed == 1:
        values[:] = -128
    expected = call(layer, [values.tobytes()], size(layer))
    got = call(candidate(layer), [values.tobytes()], size(layer), **how)
    assert got.outputs == expected.outputs, layer.kernel
    return got.instructions


def test_the_averages_arithmetic_for_all_sums() -> None:
    for n in range(1, 256):
        sums = np.arange(-128 * n, 127 * n + 1, dtype=np.int64)
        exact = np.where(sums > 0, sums + n // 2, -(-sums + n // 2))
        expected = np.sign(exact) * (np.abs(exact) // n)
        factor = (1 << 30) // n + 1
        got = (((factor * sums) >> 16) + (1 << 13)) >> 14
        assert np.array_equal(got, expected), n


SHAPES = [(1, 5, 6, 4), (1, 4, 4, 8), (2, 5, 7, 13), (1, 6, 5, 23), (1, 3, 3, 40)]
HOW: list[dict[str, Any]] = [
    {},
    {"size": (3, 2), "stride": (1, 2), "padding": SAME},
    {"size": (3, 3), "stride": (2, 1), "padding": SAME, "activation": "relu6"},
    {"size": (1, 1), "stride": (1, 1)},
    {"size": (3, 3), "stride": (1, 1), "padding": VALID},
]


@needs_arm
@pytest.mark.parametrize("kind", ["MAX", "AVERAGE"])
def test_pooling_equals_the_portable_kernel_and_stays_in_its_memory(kind: str) -> None:
    for shape, how, seed in product(SHAPES, HOW, (0, 1)):
        check(pooled(shape, kind, **how), shape, seed)


@needs_arm
def test_means_equal_the_portable_kernel_and_stay_in_their_memory() -> None:
    for shape, seed in product([*SHAPES, (1, 16, 16, 5), (2, 17, 31, 12)], (0, 1)):
        check(averaged(shape), shape, seed)
    check(averaged((4, 9, 11), (1,)), (4, 9, 11))
    check(averaged((9, 11), (0,)), (9, 11))


@needs_arm
@pytest.mark.parametrize("optimize", ["-Os", "-O3", "-O2 -DKERNELS_M4_WITHOUT_ACLE", "-Os -DKERNELS_M4_WITHOUT_ACLE"])
def test_at_other_optimisation_levels(optimize: str) -> None:
    shape = (1, 6, 7, 15)
    for kind in ("MAX", "AVERAGE"):
        check(pooled(shape, kind, size=(3, 3), padding=SAME), shape, optimize=optimize)
    check(averaged(shape), shape, optimize=optimize)


@needs_arm
def test_largest_window() -> None:
    shape = (1, 15, 17, 8)
    check(pooled(shape, "AVERAGE", size=(15, 17)), shape)
    check(pooled(shape, "AVERAGE", size=(15, 17)), shape, 1)
    assert not pool.average(pooled((1, 16, 16, 8), "AVERAGE", size=(16, 16)))


@needs_arm
def test_outputs_may_overlap_the_input_as_far_as_stated() -> None:
    for shape, how in product(SHAPES, HOW):
        for kind in ("MAX", "AVERAGE"):
            layer = pooled(shape, kind, **how)
            check(layer, shape, distance=candidate(layer).overlaps[0].distance)
    for shape in ((1, 4, 4, 8), (3, 2, 2, 13), (5, 1, 3, 4)):
        layer = averaged(shape)
        check(layer, shape, distance=candidate(layer).overlaps[0].distance)


@needs_arm
def test_one_byte_beyond_the_stated_overlap_is_wrong() -> None:
    shape = (1, 6, 7, 13)
    layer = pooled(shape, "MAX", size=(3, 3), stride=(1, 1), padding=SAME)
    with pytest.raises(AssertionError, match="kernels_max_pool_s8"):
        for seed in range(2, 12):
            check(layer, shape, seed, distance=candidate(layer).overlaps[0].distance - 1, check=False)


@needs_arm
@pytest.mark.parametrize("kind", ["MAX", "AVERAGE", "MEAN"])
def test_features_give_the_instructions(kind: str) -> None:
    rows, counts = [], []
    for k, (h, w, channels) in enumerate(product((4, 6, 9), (4, 7), (8, 12, 16, 21, 24, 31))):
        shape = (1 + k % 2, h, w, channels)
        padding = (SAME, VALID)[k % 2]
        layer = averaged(shape) if kind == "MEAN" else pooled(shape, kind, size=(2 + k % 3, 3), padding=padding)
        made = candidate(layer)
        found = pool.FEATURES[made.kernel or ""](made)
        rows.append([found[name] for name in sorted(found)])
        counts.append(check(layer, shape))
    x, y = np.array(rows), np.array(counts, float)
    fitted, *_ = np.linalg.lstsq(x, y, rcond=None)
    assert np.abs(x @ fitted / y - 1).max() < 0.02


@needs_arm
def test_graphs_equal_tflite_micro() -> None:
    s = Sweep(4)
    x = s.input((2, 7, 8, 13), scale=0.05, zero_point=-20)
    for kind, how in product(("MAX", "AVERAGE"), HOW):
        s.pool(x, kind, **how)
    s.mean(x, (1, 2), False)
    s.mean(x, (1, 2), True, gain=1.7)
    s.mean(x, (1,), False)
    s.mean(s.pool(s.conv(x, 8, activation="relu"), "MAX"), (1, 2), False, zero_point=-128)

    def choose(layer: Layer) -> Layer:
        make = pool.CANDIDATES.get(layer.kernel or "")
        found = make(layer) if make else []
        return found[0] if found else layer

    assert set(pool.FEATURES) <= set(assert_golden(s.build(), choose))
