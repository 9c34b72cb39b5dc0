"""1x1 convolutions and dense layers of several rows on the Cortex-M4, against the portable kernel on the same core."""

from dataclasses import replace

import numpy as np
import pytest
from kernel_call import assert_golden, call, needs_arm
from tflite_builder import Sweep

from convert.compiled import lowering
from convert.compiled.cortex_m4 import matmul
from convert.compiled.layer import Constant, Layer

# rows, inputs, output channels: tails of one and two pixels, odd channels, depths beside a multiple of 4 and of 16
SHAPES = [
    (2, 4, 2),
    (3, 8, 4),
    (4, 16, 3),
    (5, 20, 5),
    (7, 3, 7),
    (4, 1, 4),
    (6, 33, 2),
    (10, 50, 9),
    (13, 64, 6),
    (3, 255, 4),
    (2, 8, 16),
    (33, 8, 32),
    (71, 8, 64),
]
STAGES = [("none", -7), ("relu", -128), ("relu6", -128), ("relu6", -3), ("relu_n1_to_1", 4), ("none", 127)]


@pytest.fixture(autouse=True)
def _wide_streams_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_WIDE_PIXELS", 0)


def lowered(rows: int, depth: int, channels: int, **more: object) -> Layer:
    """The portable layer of a dense layer with random weights."""
    s = Sweep(rows + 3 * depth + 7 * channels)
    x = s.input((rows, depth), zero_point=int(s.rng.integers(-128, 128)))
    s.dense(x, channels, **more)  # type: ignore[arg-type]
    return lowering.lower(s.build())[0]


def made(layer: Layer) -> Layer:
    """The kernel with raw-word weights."""
    return matmul.candidates(layer)[0]


def data(rows: int, depth: int, seed: int = 3) -> bytes:
    """Random inputs, with rows at the ends of the range."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    values[rows // 2] = rng.choice([-128, 127], depth)
    return values.tobytes()


@needs_arm
@pytest.mark.parametrize("activation,zero_point", STAGES)
@pytest.mark.parametrize("gain", [1.0, 6.0])
def test_equals_portable(activation: str, zero_point: int, gain: float) -> None:
    for k, (rows, depth, channels) in enumerate(SHAPES):
        layer = lowered(
            rows, depth, channels, activation=activation, zero_point=zero_point, gain=gain, per_channel=k % 2 == 0
        )
        x = data(rows, depth)
        expected = call(layer, [x], rows * channels, check=False)
        for candidate in matmul.candidates(layer):
            assert call(candidate, [x], rows * channels).outputs == expected.outputs, candidate.kernel


def relu_layer(rows: int, depth: int, channels: int, seed: int) -> Layer:
    """A layer with a ReLU whose channels range from dead to saturated, with multipliers from tiny to an eighth."""
    rng = np.random.default_rng(seed)
    layer = lowered(rows, depth, channels, activation="relu", zero_point=-128, per_channel=True)
    weights = rng.integers(-127, 128, (channels, depth)) // rng.choice([1, 1, 3, 20], (channels, 1))
    weights[rng.random(channels) < 0.2] = 0
    spread = np.maximum(np.abs(weights).sum(axis=1), 1) * 128
    scale = rng.choice([30, 200, 600], channels) / spread * np.sqrt(depth)
    scale = np.clip(scale, 2.0**-14, 0.124)
    shift = np.floor(np.log2(scale)).astype(np.int64) + 1
    multiplier = np.clip(np.round(scale * 2.0 ** (31 - shift)), 1 << 30, (1 << 31) - 1).astype(np.int64)
    multiplier[rng.random(channels) < 0.1] = 0
    stage = dict(layer.params["stage"])  # type: ignore[arg-type]
    stage["bias"] = Constant("bias", rng.integers(-spread // 4, spread // 4 + 1).astype(np.int32), "")
    stage["multiplier"] = Constant("multiplier", multiplier.astype(np.int32), "")
    stage["shift"] = Constant("shift", shift.astype(np.int8), "")
    changed = Constant("weights", weights.astype(np.int8), "")
    return replace(layer, params={**layer.params, "weights": changed, "stage": stage})


@needs_arm
def test_fitted_stage_equals_portable() -> None:
    """Dead channels, multiplier 0, saturation, odd numbers of channels: constants fitted to each channel."""
    fitted = 0
    for k, (rows, depth, channels) in enumerate([*SHAPES, (3, 130, 7), (6, 260, 4)]):
        layer = relu_layer(rows, depth, channels, k)
        for seed in range(2):
            x = data(rows, depth, seed)
            expected = call(layer, [x], rows * channels, check=False)
            for candidate in matmul.candidates(layer):
                fitted += "_relu_" in (candidate.kernel or "")
                assert call(candidate, [x], rows * channels).outputs == expected.outputs, candidate.kernel
    assert fitted > 40


@needs_arm
def test_relu_that_cannot_be_fitted_runs_as_linear() -> None:
    rows, depth, channels = 4, 8, 16
    layer = lowered(rows, depth, channels, activation="relu", zero_point=-128)
    stage = dict(layer.params["stage"])  # type: ignore[arg-type]
    for shift, expected_kinds in ((-1, {"linear"}), (-8, {"relu"}), (0, set())):
        stage["shift"] = Constant("shift", np.full(channels, shift, np.int8), "")
        stage["channel_step"] = 1
        stage["multiplier"] = Constant("multiplier", np.full(channels, (1 << 30) + 12345, np.int32), "")
        changed = replace(layer, params={**layer.params, "stage": stage})
        x = data(rows, depth)
        expected = call(changed, [x], rows * channels, check=False)
        made = matmul.candidates(changed)
        assert {(c.kernel or "").split("_")[-2] for c in made} == expected_kinds
        for candidate in made:
            assert call(candidate, [x], rows * channels).outputs == expected.outputs


@needs_arm
def test_fitted_stage_equals_tflite_micro() -> None:
    """1x1 convolutions with ReLU of all three kernels, in QEMU, against TFLite Micro."""
    kernels = set()
    for kind, (depth, channels) in enumerate([(12, 7), (20, 6), (8, 16)]):
        s = Sweep(20 + kind)
        x = s.input((1, 7, 5, depth), zero_point=-128)
        s.conv(x, channels, (1, 1), activation="relu", zero_point=-128, gain=3.0)
        kernels |= set(assert_golden(s.build(), lambda layer, kind=kind: matmul.candidates(layer)[kind]))  # type: ignore
    assert kernels == {f"kernels_m4_matmul{kind}_relu_s8" for kind in ("", "_wide", "8x16")}


@needs_arm
@pytest.mark.parametrize("optimize", ["-Os", "-O3"])
def test_at_other_optimisation_levels(optimize: str) -> None:
    for rows, depth, channels in [(5, 22, 5), (5, 8, 16)]:
        layer = lowered(rows, depth, channels, activation="relu6")
        x = data(rows, depth)
        expected = call(layer, [x], rows * channels, check=False)
        for candidate in matmul.candidates(layer):
            assert call(candidate, [x], rows * channels, optimize=optimize).outputs == expected.outputs


@needs_arm
def test_largest_sums() -> None:
    """Weights and inputs at the ends: the upper sum of a pair just below 2^23."""
    rows, depth, channels = 3, 516, 2
    layer = lowered(rows, depth, channels, zero_point=0)
    for sign in (-127, 127):
        weights = Constant("weights", np.full((channels, depth), sign, np.int8), "")
        stage = dict(layer.params["stage"])  # type: ignore[arg-type]
        stage["shift"] = Constant("shift", np.full(channels, -16, np.int8), "")
        stage["bias"] = Constant("bias", np.array([12345, -54321], np.int32), "")
        extreme = replace(layer, params={**layer.params, "weights": weights, "stage": stage})
        for value in (-128, 127):
            x = np.full(rows * depth, value, np.int8).tobytes()
            expected = call(extreme, [x], rows * channels, check=False)
            for candidate in matmul.candidates(extreme):
                assert call(candidate, [x], rows * channels).outputs == expected.outputs


@needs_arm
def test_weights_of_any_value() -> None:
    for rows, depth, channels in [(4, 21, 5), (4, 8, 16)]:
        layer = lowered(rows, depth, channels)
        values = np.random.default_rng(2).choice([-128, 127, 0], (channels, depth)).astype(np.int8)
        lowest = replace(layer, params={**layer.params, "weights": Constant("weights", values, "")})
        kernels = [candidate.kernel or "" for candidate in matmul.candidates(lowest)]
        assert kernels[0].startswith("kernels_m4_matmul_wide_")
        x = data(rows, depth)
        expected = call(lowest, [x], rows * channels, check=False)
        for candidate in matmul.candidates(lowest):
            assert call(candidate, [x], rows * channels).outputs == expected.outputs, candidate.kernel


@needs_arm
def test_overlap_is_exact_and_tight() -> None:
    broken = 0
    shapes = [(7, 8, 12), (7, 12, 8), (9, 16, 16), (2, 8, 8), (10, 5, 7), (11, 9, 4), (65, 8, 16), (80, 8, 32)]
    for rows, depth, channels in shapes:
        layer = matmul.candidates(lowered(rows, depth, channels))[-1]
        x = data(rows, depth)
        expected = call(layer, [x], rows * channels).outputs
        (overlap,) = layer.overlaps
        for distance in (overlap.distance, overlap.distance + 1, max(overlap.distance, 0) + 5 * channels):
            got = call(layer, [x], rows * channels, distance=distance)
            assert got.outputs == expected, (rows, depth, channels, distance)
        nearer = call(layer, [x], rows * channels, distance=overlap.distance - channels)
        broken += nearer.outputs != expected
    assert broken == len(shapes) - 1, "distances could be smaller; two rows may lie anywhere"


@needs_arm
@pytest.mark.parametrize("kind", [0, 1])
def test_instructions_are_linear_in_the_features(kind: int) -> None:
    seen: dict[str, list[tuple[list[float], int]]] = {}
    for activation, zero_point in (("relu", -128), ("relu6", -3)):
        for rows in (3, 4, 18, 48):
            for depth in (3, 8, 18, 32, 64):
                for channels in (4, 7, 32):
                    layer = lowered(rows, depth, channels, activation=activation, zero_point=zero_point, gain=4.0)
                    layer = matmul.candidates(layer)[kind]
                    assert layer.kernel is not None
                    assert ("_wide_" in layer.kernel) == (kind == 1)
                    features = list(matmul.FEATURES[layer.kernel](layer).values())
                    result = call(layer, [data(rows, depth)], rows * channels, check=False)
                    seen.setdefault(layer.kernel, []).append((features, result.instructions))
    assert len(seen) == 2, "both variants"
    for rows_of_features, counts in (zip(*found, strict=True) for found in seen.values()):
        assert len(counts) > 40
        a, b = np.array(rows_of_features, float), np.array(counts, float)
        x, *_ = np.linalg.lstsq(a / b[:, None], np.ones_like(b), rcond=None)
        assert np.abs(a @ x / b - 1).max() < 0.02


@needs_arm
def test_instructions_of_the_narrow_kernel_are_linear_in_the_features() -> None:
    for activation, zero_point in (("relu", -128), ("relu6", -3)):
        for channels in matmul.NARROW_CHANNELS:
            rows_of_features, counts = [], []
            for rows in (2, 15, 32, 33, 63, 70, 96, 130):
                layer = matmul.candidates(lowered(rows, 8, channels, activation=activation, zero_point=zero_point))[2]
                assert layer.kernel is not None
                rows_of_features.append(list(matmul.FEATURES[layer.kernel](layer).values()))
                counts.append(call(layer, [data(rows, 8)], rows * channels, check=False).instructions)
            a, b = np.array(rows_of_features, float), np.array(counts, float)
            x, *_ = np.linalg.lstsq(a / b[:, None], np.ones_like(b), rcond=None)
            assert np.abs(a @ x / b - 1).max() < 0.01


def test_not_applicable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    layer = lowered(4, 16, 4)
    weights = layer.params["weights"]
    assert isinstance(weights, Constant)

    def kernels(layer: Layer) -> list[str]:
        return [(c.kernel or "").removeprefix("kernels_m4_").removesuffix("_s8") for c in matmul.candidates(layer)]

    assert kernels(layer) == ["matmul_linear"]
    assert kernels(lowered(1, 16, 4)) == [], "one row is a dense layer"
    assert kernels(lowered(4, 16, 1)) == [], "one output channel"
    assert kernels(lowered(4, 16, 4, gain=4000.0)) == [], "shifts to the left"
    assert kernels(lowered(256, 16, 4)) == ["matmul_linear", "matmul_wide_linear"]
    assert kernels(lowered(4, 8, 16)) == ["matmul_linear", "matmul8x16_linear"]
    assert kernels(lowered(4, 8, 20)) == ["matmul_linear"], "20 channels do not suit the narrow kernel"
    lowest = weights.values.copy()
    lowest[1, 3] = -128
    changed = replace(layer, params={**layer.params, "weights": replace(weights, values=lowest)})
    assert kernels(changed) == ["matmul_wide_linear"], "a weight of -128"
    wide = lowered(4, 517, 4)
    full = Constant("weights", np.full((4, 517), 127, np.int8), "")
    changed = replace(wide, params={**wide.params, "weights": full})
    assert kernels(changed) == ["matmul_wide_linear"], "sums of 2^23"
