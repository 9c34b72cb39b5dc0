"""int4 kernels of the Cortex-M4 against the portable kernels, call by call, with every access to memory checked."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from kernel_call import call, needs_arm
from tflite_builder import SAME, VALID, Sweep

from convert.compiled import lowering
from convert.compiled.formats import catalogue
from convert.compiled.layer import Constant, Layer, Value

pytestmark = needs_arm

_MODEL: Mapping[str, Value] = {"slots": 0, "entries": 0, "shift": 0}
# kernels_coded_weights with what the format has no use for.
_WEIGHTS: Mapping[str, Value] = {
    **dict.fromkeys(("depth", "channels", "stream", "table", "table_step", "code"), 0),
    **{"gaps": _MODEL, "values": _MODEL, "stage": {}},
}


def int4(layer: Layer, seed: int = 3) -> Layer:
    """The layer with random weights of four bits."""
    weights = layer.params["weights"]
    assert isinstance(weights, Constant)
    values = np.random.default_rng(seed).integers(-8, 8, weights.values.shape).astype(np.int8)
    return replace(layer, params={**layer.params, "weights": replace(weights, values=values)})


def candidate(layer: Layer) -> Layer:
    """The kernel that the catalogue has for int4 on this processor, its parameters complete."""
    found = next(o.layer for o in catalogue.options(layer, wide=True) if o.format == "int4")
    assert (found.kernel or "").startswith("kernels_m4_int4_")
    weights = found.params["weights"]
    assert isinstance(weights, Mapping)
    return replace(found, params={**found.params, "weights": {**_WEIGHTS, **weights}})


def check(layer: Layer, shape: tuple[int, ...], output_bytes: int) -> str:
    """Equal outputs, also where the memory plan may put them; returns the kernel."""
    other = candidate(layer)
    for fill in (None, -128):
        x = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
        if fill is not None:
            x[:] = fill
        # Unwatched: the C library's memcpy has conditional loads, see kernel_call.
        expected = call(layer, [x.tobytes()], output_bytes, check=False)
        assert call(other, [x.tobytes()], output_bytes).outputs == expected.outputs, f"{other.kernel} {shape}"
        for overlap in other.overlaps:
            if overlap.distance > -x.size:
                beside = call(other, [x.tobytes()], output_bytes, distance=overlap.distance, check=False)
                assert beside.outputs == expected.outputs, f"{other.kernel} {shape} {overlap}"
    return other.kernel or ""


@pytest.mark.parametrize("rows", [1, 2, 4, 5])
def test_rows(rows: int) -> None:
    for depth in (1, 2, 5, 7, 8, 9, 16, 33):
        for channels in (1, 3):
            s = Sweep(depth * 10 + channels)
            s.dense(s.input((rows, depth)), channels, "relu6", zero_point=-3)
            kernel = check(int4(lowering.lower(s.build())[0]), (rows, depth), rows * channels)
            assert kernel == f"kernels_m4_int4_{'row' if rows == 1 else 'matmul'}_s8"


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), (1, 1)), ((2, 3), (2, 1)), ((5, 1), (1, 2))])
def test_convolutions(padding: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    for pixel in (1, 3, 8):
        s = Sweep(pixel)
        s.conv(s.input((2, 6, 5, pixel)), 5, kernel, stride, padding=padding)
        graph = s.build()
        layer = int4(lowering.lower(graph)[0])
        assert check(layer, (2, 6, 5, pixel), graph.tensors[graph.outputs[0]].nbytes) == "kernels_m4_int4_conv_s8"
