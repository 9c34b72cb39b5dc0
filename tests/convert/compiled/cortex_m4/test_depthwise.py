"""Depthwise convolutions on the Cortex-M4, against the portable kernel on the same core."""

from collections.abc import Iterator

import numpy as np
import pytest
from kernel_call import call, needs_arm
from tflite_builder import SAME, VALID, Sweep

from convert.compiled import lowering
from convert.compiled.cortex_m4 import depthwise
from convert.compiled.layer import Layer

# Heights and widths beside every limit: of a block, of a group of eight, of a pitch.
SIZES = [(1, 1), (1, 6), (2, 2), (2, 5), (3, 3), (3, 8), (4, 9), (5, 4), (6, 6), (7, 7), (8, 12), (9, 13), (9, 1)]
WIDE = [(3, 14), (4, 15), (5, 30), (3, 31), (4, 61), (3, 62)]
STAGES = [("relu", -128), ("none", -7), ("relu6", -128), ("relu_n1_to_1", 4), ("none", 127), ("none", -128)]


def lowered(height: int, width: int, channels: int, batches: int = 1, **more: object) -> Layer:
    """The portable layer of a depthwise convolution with random weights."""
    s = Sweep(height + 3 * width + 7 * channels)
    x = s.input((batches, height, width, channels), zero_point=int(s.rng.integers(-128, 128)))
    s.depthwise(x, **more)  # type: ignore[arg-type]
    return lowering.lower(s.build())[0]


def elements(layer: Layer) -> tuple[int, int]:
    """Bytes of input and output."""
    w, channels = layer.params["window"], layer.params["input_channels"]
    assert isinstance(w, dict)
    assert isinstance(channels, int)
    pixels = [w["batches"] * w[f"{which}_height"] * w[f"{which}_width"] for which in ("input", "output")]
    return pixels[0] * channels, pixels[1] * channels


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
        found = depthwise.candidates(layer)
        assert found or 4 * depthwise.plane(layer.params["window"]).words > 128, (height, width)  # type: ignore[arg-type]
        for made in found:
            assert call(made, [x], outputs).outputs == expected, (height, width, stride, padding, made.kernel)
