"""Depthwise convolutions on the Cortex-M4, against the portable kernel on the same core."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kernel_call import assert_golden, call, needs_arm
from tflite_builder import SAME, VALID, Sweep, needs_compiler

from convert.compiled import host, lowering
from convert.compiled.cortex_m4 import depthwise
from convert.compiled.layer import Constant, Layer

# Heights and widths beside every limit: of a block, of a group of eight, of a pitch.
SIZES = [(1, 1), (1, 6), (2, 2), (2, 5), (3, 3), (3, 8), (4, 9), (5, 4), (6, 6), (7, 7), (8, 12), (9, 13), (9, 1)]
WIDE = [(3, 14), (4, 15), (5, 30), (3, 31), (4, 61), (3, 62), (3, 63), (5, 125), (3, 126)]
STAGES = [("relu", -128), ("none", -7), ("relu6", -128), ("relu_n1_to_1", 4), ("none", 127), ("none", -128)]


def lowered(height: int, width: int, channels: int, batches: int = 1, **more: object) -> Layer:
    """The portable layer of a depthwise convolution with random weights."""
    s = Sweep(height + 3 * width + 7 * channels)
    x = s.input((batches, height, width, channels), zero_point=int(s.rng.integers(-128, 128)))
    s.depthwise(x, **more)  # type: ignore[arg-type]
    return lowering.lower(s.build())[0]


def window_of(layer: Layer) -> dict[str, int]:
    window = layer.params["window"]
    assert isinstance(window, dict)
    return window


def elements(layer: Layer) -> tuple[int, int]:
    """Bytes of input and output."""
    w, channels, multiplier = window_of(layer), layer.params["input_channels"], layer.params["multiplier"]
    assert isinstance(channels, int)
    assert isinstance(multiplier, int)
    pixels = [w["batches"] * w[f"{which}_height"] * w[f"{which}_width"] for which in ("input", "output")]
    return pixels[0] * channels, pixels[1] * channels * multiplier


def data(count: int, seed: int = 3) -> bytes:
    """Random inputs, a part of them at the ends of the range."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-128, 128, count)
    return np.where(rng.random(count) < 0.2, rng.choice([-128, 127], count), values).astype(np.int8).tobytes()


def shapes(sizes: list[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    for height, width in sizes:
        for stride in (1, 2):
            for padding in (SAME, VALID):
                if padding == SAME or min(height, width) >= 3:
                    yield height, width, stride, padding


@needs_arm
@pytest.mark.parametrize("activation,zero_point", STAGES)
def test_equals_portable(activation: str, zero_point: int) -> None:
    for k, (height, width, stride, padding) in enumerate(shapes(SIZES if zero_point != -128 else SIZES + WIDE)):
        layer = lowered(
            height,
            width,
            2 + k % 3,
            1 + (k % 5 == 0),
            stride=(stride, stride),
            padding=padding,
            activation=activation,
            zero_point=zero_point,
            gain=(1.0, 4.0, 0.2)[k % 3],
            per_channel=k % 4 != 0,
        )
        inputs, outputs = elements(layer)
        x = data(inputs, k)
        expected = call(layer, [x], outputs, check=False).outputs
        found = depthwise.candidates_3x3(layer)
        geometry = depthwise.plane(window_of(layer))
        assert bool(found) == (geometry.pairs > 0 and 4 * geometry.words <= 256), (height, width, stride, padding)
        for made in found:
            assert call(made, [x], outputs).outputs == expected, (height, width, stride, padding, made.kernel)


@needs_arm
@pytest.mark.parametrize("optimize", ["-Os", "-O3"])
def test_at_other_optimisation_levels(optimize: str) -> None:
    for stride in (1, 2):
        layer = lowered(7, 10, 3, 2, stride=(stride, stride), activation="relu6", zero_point=-128)
        inputs, outputs = elements(layer)
        x = data(inputs)
        expected = call(layer, [x], outputs, check=False).outputs
        for made in [*depthwise.candidates_3x3(layer), *depthwise.candidates_any(layer)]:
            assert call(made, [x], outputs, optimize=optimize).outputs == expected


@needs_arm
def test_against_tflite_micro() -> None:
    s = Sweep(5)
    for stride, padding in ((1, SAME), (2, SAME), (1, VALID), (2, VALID)):
        for height, width, zero_point in ((9, 11, -128), (6, 6, -128), (5, 8, 3)):
            x = s.input((1, height, width, 4), zero_point=-5)
            activation = "relu" if zero_point == -128 else "relu6"
            s.depthwise(x, stride=(stride, stride), padding=padding, activation=activation, zero_point=zero_point)
    kernels = assert_golden(s.build(), lambda layer: depthwise.candidates(layer)[-1])
    assert {k.split("_")[-2] for k in kernels} == {"relu", "linear"}
    assert all(k.startswith("kernels_m4_depthwise_3x3_") for k in kernels)


def extreme(layer: Layer, weights: np.ndarray, bias: list[int], shift: list[int], multiplier: list[int]) -> Layer:
    """The layer with other weights, (9, channels), and output stage."""
    stage = dict(layer.params["stage"])  # type: ignore[arg-type]
    stage["bias"] = Constant("bias", np.array(bias, np.int32), "")
    stage["shift"] = Constant("shift", np.array(shift, np.int8), "")
    stage["multiplier"] = Constant("multiplier", np.array(multiplier, np.int32), "")
    laid = Constant("weights", weights.astype(np.int8), "")
    return replace(layer, params={**layer.params, "weights": laid, "stage": stage, "input_zero_point": -128})


@needs_arm
def test_largest_sums_and_far_shifts() -> None:
    """Weights and inputs at the ends, shifts on both sides of what the code's one shift takes by itself."""
    shifts = [-3, -9, -10, -11, -14, -22]
    rng = np.random.default_rng(5)
    for stride in (1, 2):
        layer = lowered(6, 7, len(shifts), stride=(stride, stride), zero_point=-128, activation="relu")
        for weights in (np.full((9, 6), -128), np.full((9, 6), 127), rng.integers(-128, 128, (9, 6))):
            for multiplier in (
                [1 << 30] * 6,
                [(1 << 31) - 1] * 6,
                [1518500250, 0, 1999999999, 1 << 30, 1 << 30, 1 << 30],
            ):
                bias = [12345, -54321, 900, 100000, 500000, 100000000]
                changed = extreme(layer, weights, bias, shifts, multiplier)
                inputs, outputs = elements(layer)
                for x in (bytes([128] * inputs), bytes([127] * inputs), data(inputs)):
                    expected = call(changed, [x], outputs, check=False).outputs
                    for made in depthwise.candidates(changed):
                        assert call(made, [x], outputs).outputs == expected, (stride, made.kernel)


@needs_arm
def test_overlap_is_exact_and_tight() -> None:
    broken = banded = 0
    for height, width, channels, batches, stride in [
        (9, 6, 3, 1, 1),
        (14, 5, 2, 1, 1),
        (12, 9, 4, 2, 2),
        (20, 4, 3, 1, 2),
    ]:
        layer = lowered(height, width, channels, batches, stride=(stride, stride), zero_point=-128)
        inputs, outputs = elements(layer)
        x = data(inputs)
        expected = call(layer, [x], outputs, check=False).outputs
        for made in depthwise.candidates(layer):
            (overlap,) = made.overlaps
            assert overlap.step == channels
            assert overlap.distance % channels == 0
            nearest = max(overlap.distance, outputs - inputs)  # the output within the input
            for distance in {nearest, nearest + channels, max(nearest, 0) + 5 * channels}:
                assert call(made, [x], outputs, distance=distance).outputs == expected, (made.kernel, distance)
            if overlap.distance > outputs - inputs or batches > 1:
                banded += 1
                broken += call(made, [x], outputs, distance=overlap.distance - channels).outputs != expected
            got = call(made, [x], outputs, distance=nearest + 1)
            broken += got.outputs != expected
            banded += 1
    assert broken >= banded - 1, "distances could be smaller"


@needs_arm
def test_instructions_are_linear_in_the_features() -> None:
    for zero_point in (-128, -3):
        for stride in (1, 2):
            given, counts = [], []
            for height, width in [
                (5, 6),
                (6, 5),
                (9, 8),
                (12, 12),
                (24, 24),
                (25, 5),
                (3, 3),
                (7, 7),
                (10, 13),
                (6, 10),
            ]:
                for channels in (2, 9):
                    layer = lowered(
                        height, width, channels, stride=(stride, stride), zero_point=zero_point, activation="relu6"
                    )
                    inputs, outputs = elements(layer)
                    for made in depthwise.candidates(layer):
                        assert made.kernel is not None
                        given.append(list(depthwise.FEATURES[made.kernel](made).values()))
                        counts.append(call(made, [data(inputs)], outputs, check=False).instructions)
            a, b = np.array(given, float), np.array(counts, float)
            x, *_ = np.linalg.lstsq(a / b[:, None], np.ones_like(b), rcond=None)
            assert np.abs(a @ x / b - 1).max() < 0.02


WINDOWS: list[dict[str, tuple[int, int]]] = [
    {"size": (5, 5)},
    {"size": (5, 5), "stride": (2, 2)},
    {"size": (1, 9)},
    {"size": (9, 1), "stride": (2, 1)},
    {"size": (3, 3), "dilation": (2, 3)},
    {"size": (2, 4), "stride": (3, 1)},
    {"size": (4, 2), "stride": (1, 3)},
    {"size": (3, 16)},
    {"size": (3, 1), "dilation": (3, 1)},
    {"size": (1, 1), "stride": (2, 3)},
    {"size": (3, 3), "stride": (1, 2)},
    {"size": (3, 3)},
]


@needs_arm
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_any_window_equals_portable(window: dict[str, tuple[int, int]]) -> None:
    for k, (height, width) in enumerate([(1, 1), (30, 1), (1, 30), (2, 3), (5, 4), (9, 7), (12, 21)]):
        for padding in (SAME, VALID):
            size, dilation = window["size"], window.get("dilation", (1, 1))
            extent = [(n - 1) * d + 1 for n, d in zip(size, dilation, strict=True)]
            if padding == VALID and (height < extent[0] or width < extent[1]):
                continue
            activation, zero_point = STAGES[k % len(STAGES)]
            layer = lowered(
                height,
                width,
                2 + k % 2,
                1 + (k == 4),
                multiplier=1 + k % 3,
                padding=padding,
                activation=activation,
                zero_point=zero_point,
                gain=(1.0, 4.0)[k % 2],
                **window,
            )
            inputs, outputs = elements(layer)
            x = data(inputs, k)
            expected = call(layer, [x], outputs, check=False).outputs
            found = depthwise.candidates_any(layer)
            assert found
            for made in found:
                assert call(made, [x], outputs).outputs == expected, (height, width, padding, made.params["band"])


@needs_arm
def test_any_window_overlaps() -> None:
    broken = checked = 0
    for height, width, window in [
        (12, 6, {"size": (5, 5)}),
        (20, 5, {"size": (5, 3), "stride": (2, 2)}),
        (9, 7, {"size": (2, 2)}),
    ]:
        layer = lowered(height, width, 3, **window)
        inputs, outputs = elements(layer)
        x = data(inputs)
        expected = call(layer, [x], outputs, check=False).outputs
        for made in depthwise.candidates_any(layer):
            (overlap,) = made.overlaps
            nearest = max(overlap.distance, outputs - inputs)
            for distance in (nearest, nearest + 3, max(nearest, 0) + 15):
                assert call(made, [x], outputs, distance=distance).outputs == expected, (made.params["band"], distance)
            if overlap.distance > outputs - inputs:
                checked += 1
                broken += call(made, [x], outputs, distance=overlap.distance - 3).outputs != expected
    assert broken == checked > 1, "distances could be smaller"
    two = depthwise.candidates_any(lowered(6, 6, 3, multiplier=2))
    assert two
    assert not any(made.overlaps for made in two)


@needs_arm
def test_instructions_of_any_window() -> None:
    for stride in (1, 2):
        given, counts = [], []
        for height, width in [(5, 6), (9, 8), (12, 12), (24, 24), (25, 5), (3, 30)]:
            for size in [(3, 3), (5, 5), (1, 7), (7, 1), (2, 4)]:
                for dilation in (1, 2) if stride == 1 else (1,):
                    layer = lowered(height, width, 3, size=size, stride=(stride, stride), dilation=(dilation, dilation))
                    inputs, outputs = elements(layer)
                    for made in depthwise.candidates_any(layer):
                        assert made.kernel is not None
                        given.append(list(depthwise.FEATURES[made.kernel](made).values()))
                        counts.append(call(made, [data(inputs)], outputs, check=False).instructions)
        a, b = np.array(given, float), np.array(counts, float)
        x, *_ = np.linalg.lstsq(a / b[:, None], np.ones_like(b), rcond=None)
        assert np.abs(a @ x / b - 1).max() < 0.03


@needs_compiler
@pytest.mark.parametrize(
    "source", sorted((host.KERNELS / "src" / "cortex_m4").glob("depthwise*")), ids=lambda p: p.name
)
def test_sources_are_empty_on_other_processors(source: Path, tmp_path: Path) -> None:
    flags = ["-std=c99", *host.WARNINGS, "-I", str(host.KERNELS / "include")]
    host.call(
        [host.compiler(), *flags, "-c", str(source), "-o", str(tmp_path / "empty.o")], "compiling for this machine"
    )


def test_not_applicable() -> None:
    assert depthwise.candidates_3x3(lowered(6, 6, 4))
    assert not depthwise.candidates_3x3(lowered(6, 6, 4, multiplier=2)), "two outputs a channel"
    assert not depthwise.candidates_3x3(lowered(6, 6, 4, size=(3, 5))), "another window"
    assert not depthwise.candidates_3x3(lowered(6, 6, 4, dilation=(2, 2))), "a dilated window"
    assert not depthwise.candidates_3x3(lowered(6, 6, 4, stride=(1, 2))), "two strides"
    assert not depthwise.candidates_3x3(lowered(6, 1, 4)), "a single column"
    assert not depthwise.candidates_3x3(lowered(3, 128, 2)), "rows that are too long"
    assert not depthwise.candidates(lowered(6, 6, 4, gain=4000.0)), "shifts to the left"
    assert not depthwise.candidates(lowered(6, 40, 4, size=(1, 17))), "more taps than the code has"
