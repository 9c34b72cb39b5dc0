"""Channels that answer the same for every input do not keep a layer from the fast kernels."""

import numpy as np
import pytest
from tflite_builder import Sweep, assert_exact, needs_device

from convert.compiled import device, lowering
from convert.compiled.cortex_m4.settle import settled


def with_dead_channels(kind: str, activation: str = "none") -> Sweep:
    """A layer of six channels: alive, tiny scales, large biases, weights of zero."""
    s = Sweep(3)
    name, shape, axis = {
        "dense": ("FULLY_CONNECTED", (6, 8), 0),
        "pointwise": ("CONV_2D", (6, 1, 1, 8), 0),
        "conv": ("CONV_2D", (6, 3, 3, 8), 0),
        "depthwise": ("DEPTHWISE_CONV_2D", (1, 3, 3, 6), 3),
    }[kind]
    channels_in = shape[-1]
    x = s.input((3, channels_in) if kind == "dense" else (1, 5, 4, channels_in), scale=0.04, zero_point=-7)
    values = s.rng.integers(-127, 128, shape)
    moved = np.moveaxis(values, axis, 0)
    moved[4:] = 0
    scale = np.array([0.01, 1e-11, 1e-9, 0.02, 1e-7, 0.03])
    w = s.tensor(shape, scale=scale, zero_point=0, axis=axis, data=values)
    bias = s.tensor((6,), "i4", 0.04 * scale, 0, data=[500, 2**31 - 2**21, -(2**30), -900, 2**29, 700])
    out = s.tensor((*s.shape(x)[:-1], 6), scale=0.1, zero_point=-128 if activation == "relu" else 5)
    options = {"FULLY_CONNECTED": "FullyConnectedOptions", "CONV_2D": "Conv2DOptions"}
    window = {} if kind == "dense" else {"padding": 0, "strideH": 1, "strideW": 1}
    window |= {} if kind == "dense" else {"dilationHFactor": 1, "dilationWFactor": 1}
    window |= {"depthMultiplier": 1} if kind == "depthwise" else {}
    s.op(name, [x, w, bias], out, options.get(name, "DepthwiseConv2DOptions"),
         fusedActivationFunction={"none": 0, "relu": 1}[activation], **window)  # fmt: skip
    return s


@pytest.mark.parametrize("kind", ["dense", "pointwise", "conv", "depthwise"])
def test_dead_channels_are_found_and_no_others(kind: str) -> None:
    (layer,) = lowering.lower(with_dead_channels(kind).build())
    new = settled(layer)
    axis = -1 if kind == "depthwise" else 0
    zero = [bool((np.moveaxis(new.params["weights"].values, axis, 0)[c] == 0).all()) for c in range(6)]
    assert zero == [False, True, True, False, True, True]
    assert new.params["stage"]["shift"].values[[1, 2, 4, 5]].tolist() == [-1] * 4
    assert new is not layer


def test_a_layer_that_is_alive_stays_as_it_is() -> None:
    s = Sweep(4)
    s.conv(s.input((1, 4, 4, 4)), 4)
    (layer,) = lowering.lower(s.build())
    assert settled(layer) is layer


@needs_device
@pytest.mark.parametrize("kind", ["dense", "pointwise", "conv", "depthwise"])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_dead_channels_answer_like_tflite_micro(kind: str, activation: str) -> None:
    assert_exact(with_dead_channels(kind, activation).build(), target="cortex_m4", where=device)
