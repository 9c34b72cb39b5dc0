"""Convolutions on the Cortex-M4, against the portable kernel on the same core."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from kernel_call import call, needs_arm
from tflite_builder import SAME, VALID, Sweep

from convert.compiled import lowering
from convert.compiled.cortex_m4 import conv, matmul
from convert.compiled.layer import Constant, Layer

STAGES = [("none", -7), ("relu", -128), ("relu6", -3)]


@dataclass(frozen=True)
class Case:
    """A convolution: input NHWC, output channels and the window."""

    shape: tuple[int, int, int, int]
    channels: int
    size: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: int = SAME

    def layer(self, **more: object) -> Layer:
        """The portable layer, with random weights and input zero point."""
        s = Sweep(sum(self.shape) + self.channels)
        x = s.input(self.shape, zero_point=int(s.rng.integers(-128, 128)))
        s.conv(x, self.channels, self.size, self.stride, self.dilation, self.padding, **more)  # type: ignore[arg-type]
        return lowering.lower(s.build())[0]

    def data(self, seed: int = 3) -> bytes:
        """Random inputs."""
        return np.random.default_rng(seed).integers(-128, 128, self.shape).astype(np.int8).tobytes()

    def outputs(self, layer: Layer) -> int:
        """Bytes of the output."""
        window = layer.params["window"]
        return window["batches"] * window["output_height"] * window["output_width"] * self.channels  # type: ignore


# Rests of 0 to 3 bytes a row, odd channels, images smaller than the window, several images, one line, one column,
# windows as wide as the image, dilation in one and in both directions, pointwise with a stride.
CASES = [
    Case((1, 5, 5, 1), 2),
    Case((2, 7, 6, 3), 8, stride=(2, 2)),
    Case((1, 6, 7, 4), 5),
    Case((1, 9, 5, 8), 3, (3, 2), (1, 2), (2, 1), VALID),
    Case((1, 9, 9, 5), 4, dilation=(2, 2)),
    Case((1, 8, 9, 2), 4, (2, 3), dilation=(1, 2), padding=VALID),
    Case((1, 13, 10, 1), 6, (10, 4), (2, 2)),
    Case((1, 16, 1, 4), 4, (5, 1)),
    Case((1, 17, 1, 3), 4, (5, 1), (2, 2), (3, 1)),
    Case((1, 1, 16, 4), 4, (1, 5), (2, 2)),
    Case((2, 20, 4, 3), 4, (5, 4), (2, 1), padding=VALID),
    Case((1, 8, 8, 3), 4, (2, 2), (2, 2), padding=VALID),
    Case((1, 2, 2, 6), 2, (5, 5)),
    Case((1, 7, 7, 16), 6, (1, 1), (2, 2)),
    Case((3, 2, 2, 4), 4, (2, 2)),
    # Rows of 3 and 7 bytes are read as words, which may not leave the image.
    Case((1, 6, 6, 1), 4, padding=VALID),
    Case((2, 6, 6, 1), 4, padding=VALID),
    Case((1, 9, 9, 1), 2, (7, 7), (2, 2), padding=VALID),
    Case((1, 5, 5, 1), 12, (2, 1), padding=VALID),
    Case((1, 7, 5, 1), 2, (2, 2), padding=VALID),
    Case((1, 3, 4, 1), 4, padding=VALID),
]


@pytest.fixture(autouse=True)
def _wide_streams_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_WIDE_PIXELS", 0)


def made(layer: Layer) -> Layer:
    """The kernel with raw-word weights, on the image as it is."""
    return conv.candidates(layer)[0]


@needs_arm
@pytest.mark.parametrize("activation,zero_point", STAGES)
def test_equals_portable(activation: str, zero_point: int) -> None:
    for k, case in enumerate(CASES):
        layer = case.layer(activation=activation, zero_point=zero_point, per_channel=k % 2 == 0, gain=1.0 + k % 3)
        assert layer.kernel == "kernels_conv_s8"
        expected = call(layer, [case.data()], case.outputs(layer), check=False)
        assert len(conv.candidates(layer)) in (2, 4)
        for candidate in conv.candidates(layer):
            got = call(candidate, [case.data()], case.outputs(layer))
            assert got.outputs == expected.outputs, (case, candidate.kernel)


@needs_arm
@pytest.mark.parametrize("optimize", ["-Os", "-O3"])
def test_at_other_optimisation_levels(optimize: str) -> None:
    for case in CASES[:3]:
        layer = case.layer()
        expected = call(layer, [case.data()], case.outputs(layer), check=False)
        assert call(made(layer), [case.data()], case.outputs(layer), optimize=optimize).outputs == expected.outputs


@needs_arm
def test_copies_share_memory_with_the_tile() -> None:
    """Windows at the border are copied to where the tile grows; none may be overtaken."""
    for rows in (1, 2, 3, 7):
        for channels in (1, 2, 3, 8):
            case = Case((1, 4, 5, channels), 4, (rows, 4))
            layer = case.layer()
            expected = call(layer, [case.data()], case.outputs(layer), check=False)
            assert call(made(layer), [case.data()], case.outputs(layer)).outputs == expected.outputs, case


@needs_arm
def test_overlap_is_exact_and_tight() -> None:
    broken = 0
    cases = [Case((1, 6, 7, 4), 4), Case((1, 8, 8, 4), 8, stride=(2, 2)), Case((2, 5, 5, 8), 4), Case((1, 9, 4, 2), 6)]
    for case in cases:
        layer = made(case.layer())
        size = case.outputs(layer)
        expected = call(layer, [case.data()], size).outputs
        (overlap,) = layer.overlaps
        for distance in (overlap.distance, overlap.distance + 1, max(overlap.distance, 0) + 5 * case.channels):
            assert call(layer, [case.data()], size, distance=distance).outputs == expected, (case, distance)
        nearer = call(layer, [case.data()], size, distance=overlap.distance - case.channels, check=False)
        broken += nearer.outputs != expected
    assert broken == len(cases), "distances could be smaller"


def test_rows_are_read_as_words_where_that_spares_bytes() -> None:
    layouts = {}
    for size, channels in [((3, 3), 1), ((7, 7), 1), ((3, 3), 3), ((3, 3), 4), ((2, 2), 1)]:
        params = made(Case((1, 12, 12, channels), 4, size).layer()).params
        layouts[size, channels] = params["words"], params["rest"]
    assert layouts[(3, 3), 1] == (1, 0)
    assert layouts[(7, 7), 1] == (2, 0)
    assert layouts[(3, 3), 4] == (3, 0)
    assert layouts[(3, 3), 3] == (2, 1), "three bytes more would be two blocks more"


@needs_arm
def test_padded_image_leaves_the_input_free() -> None:
    for case in CASES:
        for layer in conv.candidates(case.layer()):
            if layer.params["padded"]:
                size = case.outputs(layer)
                expected = call(layer, [case.data()], size).outputs
                (overlap,) = layer.overlaps
                assert overlap.distance == -len(case.data())
                for distance in (0, -5, size - 1):
                    assert call(layer, [case.data()], size, distance=distance).outputs == expected, (case, distance)


@needs_arm
@pytest.mark.parametrize("kind", [0, 1])
def test_instructions_are_linear_in_the_features(kind: int) -> None:
    padded = 0
    seen: dict[str, list[tuple[list[float], int]]] = {}
    for activation, zero_point in (("relu", -128), ("relu6", -3)):
        for case in [
            *(Case((1, h, 7, c), n) for h in (5, 12) for c in (3, 4, 8, 16) for n in (4, 7, 16)),
            *(Case((1, 12, 12, c), 8, stride=(2, 2), padding=p) for c in (1, 3, 8) for p in (SAME, VALID)),
            *(Case((1, 20, 10, c), 16, (10, 4), (2, 2)) for c in (1, 2)),
            *(Case((1, 30, 1, c), 8, (5, 1)) for c in (3, 8, 16)),
            *(Case((1, 12, 12, 1), 8, (3, 3), padding=p) for p in (SAME, VALID)),
        ]:
            for layer in conv.candidates(case.layer(activation=activation, zero_point=zero_point))[kind::2]:
                assert layer.kernel is not None
                assert ("_wide_" in layer.kernel) == (kind == 1)
                padded += layer.params["padded"] != 0
                features = list(conv.FEATURES[layer.kernel](layer).values())
                count = call(layer, [case.data()], case.outputs(layer), check=False).instructions
                seen.setdefault(layer.kernel, []).append((features, count))
    assert len(seen) == 2, "both variants"
    for rows, counts in (zip(*found, strict=True) for found in seen.values()):
        assert len(counts) > 40
        a, b = np.array(rows, float), np.array(counts, float)
        x, *_ = np.linalg.lstsq(a / b[:, None], np.ones_like(b), rcond=None)
        assert np.abs(a @ x / b - 1).max() < 0.02
    assert padded > 10


def test_not_applicable() -> None:
    layer = CASES[0].layer()
    assert conv.candidates(layer)
    grouped = Case((1, 5, 5, 4), 4).layer(groups=2)
    assert grouped.kernel == "kernels_conv_s8"
    assert not conv.candidates(grouped)
    weights = layer.params["weights"]
    assert isinstance(weights, Constant)
    lowest = weights.values.copy()
    lowest[1, 1, 1, 0] = -128
    changed = replace(layer, params={**layer.params, "weights": replace(weights, values=lowest)})
    kernels = {candidate.kernel for candidate in conv.candidates(changed)}
    assert kernels == {"kernels_m4_conv_wide_linear_s8"}, "a weight of -128"
    assert not conv.candidates(CASES[0].layer(gain=4000.0)), "shifts to the left"
