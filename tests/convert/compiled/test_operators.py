"""Every operator over its parameters, every layer against TFLite Micro."""

from itertools import product

import numpy as np
import pytest
from tflite_builder import SAME, VALID, Sweep, assert_exact, needs_compiler, vectors

pytestmark = needs_compiler


def conv_sweep() -> Sweep:
    s = Sweep(1)
    x = s.input((1, 9, 7, 4), scale=0.03, zero_point=-11)
    for size, stride, dilation, padding in product(
        [(1, 1), (3, 3), (2, 3), (1, 4)], [(1, 1), (2, 2), (3, 1)], [(1, 1), (2, 2)], [SAME, VALID]
    ):
        if min(stride) == 1 or dilation == (1, 1):
            s.conv(x, 5, size, stride, dilation, padding)
    for activation in ("relu", "relu6", "relu_n1_to_1"):
        s.conv(x, 3, activation=activation)
    for zero_point in (-128, 127, 0):
        s.conv(x, 3, zero_point=zero_point, activation="relu")
    for per_channel, bias in product((True, False), (True, False)):
        s.conv(x, 6, per_channel=per_channel, bias=bias)
        s.conv(x, 6, (1, 1), per_channel=per_channel, bias=bias)
    for gain in (0.01, 8.0, 300.0, 20000.0):
        s.conv(x, 4, gain=gain, zero_point=0)
        s.conv(x, 4, (1, 1), gain=gain, zero_point=0)
    s.conv(x, 8, groups=2)
    s.conv(x, 4, groups=4, stride=(2, 1))
    s.conv(x, 2, (9, 7), padding=VALID)  # one window, the whole image
    s.conv(x, 2, (9, 7), padding=SAME)
    s.conv(x, 1, (1, 1))
    batch = s.input((3, 5, 6, 3), scale=0.01, zero_point=127)
    s.conv(batch, 4, stride=(2, 2))
    s.conv(batch, 4, (1, 1))
    s.conv(batch, 4, (5, 6), padding=VALID)
    s.conv(batch, 3, groups=3)
    one = s.input((1, 4, 4, 1), zero_point=-128)
    s.conv(one, 1, (1, 1))
    s.conv(one, 7, (2, 2))
    s.conv(s.conv(one, 7, (2, 2), activation="relu"), 2)  # a chain, so that memory is used again
    return s


def depthwise_sweep() -> Sweep:
    s = Sweep(2)
    x = s.input((1, 8, 7, 6), scale=0.02, zero_point=9)
    for size, stride, dilation, padding in product(
        [(3, 3), (2, 3), (1, 4)], [(1, 1), (2, 2), (1, 3)], [(1, 1), (2, 1)], [SAME, VALID]
    ):
        if min(stride) == 1 or dilation == (1, 1):
            s.depthwise(x, 1, size, stride, dilation, padding)
    for multiplier in (1, 2, 3):
        s.depthwise(x, multiplier)
        s.depthwise(x, multiplier, padding=VALID, stride=(2, 2))
    for activation in ("relu", "relu6", "relu_n1_to_1"):
        s.depthwise(x, activation=activation)
    for per_channel, bias in product((True, False), (True, False)):
        s.depthwise(x, 2, per_channel=per_channel, bias=bias)
    for gain in (0.02, 10.0, 500.0):
        s.depthwise(x, gain=gain, zero_point=0)
    s.depthwise(x, size=(8, 7), padding=VALID)
    s.depthwise(x, size=(11, 9))  # larger than the image
    one = s.input((2, 6, 5, 1), zero_point=-128)
    s.depthwise(one, 8)  # becomes an ordinary convolution
    s.depthwise(one, 1)
    s.depthwise(one, 4, per_channel=False, stride=(2, 2))
    batch = s.input((2, 4, 4, 4))
    s.depthwise(batch)
    s.depthwise(batch, 2)
    return s


def dense_sweep() -> Sweep:
    s = Sweep(3)
    for shape in ((1, 16), (4, 9), (1, 1), (3, 5, 7)):
        x = s.input(shape, scale=0.04, zero_point=-3)
        for per_channel, bias in product((True, False), (True, False)):
            s.dense(x, 6, per_channel=per_channel, bias=bias)
        for gain in (0.05, 20.0, 5000.0):
            s.dense(x, 3, gain=gain, zero_point=0, per_channel=gain > 1)
        s.dense(x, 1)
        s.dense(x, 5, activation="relu6")
    # A converter clamps the bias of a channel with a tiny scale, whose weights are then 0.
    x = s.input((1, 3), scale=0.04, zero_point=-3)
    w = s.tensor((4, 3), scale=[1e-12, 1e-9, 1e-7, 0.1], zero_point=0, data=np.zeros((4, 3)))
    bias = s.tensor((4,), "i4", None, data=[-(2**31), 2**31 - 1, -(2**31), 2**31 - 1])
    s.op("FULLY_CONNECTED", [x, w, bias], s.tensor((1, 4), scale=0.1), "FullyConnectedOptions")
    wide = s.input((2, 1000), scale=0.01, zero_point=127)
    s.dense(wide, 10, activation="relu", zero_point=-128)
    return s


def pool_sweep() -> Sweep:
    s = Sweep(4)
    x = s.input((2, 7, 8, 5), scale=0.05, zero_point=-20)
    for kind, size, stride, padding in product(
        ("AVERAGE", "MAX"), [(2, 2), (3, 2), (1, 1), (7, 8)], [(1, 1), (2, 2), (3, 1)], (SAME, VALID)
    ):
        s.pool(x, kind, size, stride, padding)
    for kind, activation in product(("AVERAGE", "MAX"), ("relu", "relu6", "relu_n1_to_1")):
        s.pool(x, kind, activation=activation)
    for zero_point in (-128, 127):
        y = s.input((1, 4, 4, 2), zero_point=zero_point)
        s.pool(y, "AVERAGE", padding=SAME, size=(3, 3))
        s.pool(y, "MAX", activation="relu6")
    return s


def mean_sweep() -> Sweep:
    s = Sweep(5)
    x = s.input((2, 5, 6, 3), scale=0.05, zero_point=-20)
    for axes, keep in product(
        [(1, 2), (2, 1), (1,), (2,), (3,), (0,), (-1,), (-3, -2), (0, 2), (1, 3), (0, 1, 2, 3), (2, 2)], (True, False)
    ):
        s.mean(x, axes, keep)
    for gain in (1e-9, 0.01, 0.5, 3.0, 40.0):
        s.mean(x, (1, 2), False, gain=gain)
        s.mean(x, (3,), False, gain=gain)
    y = s.input((1, 16, 4), scale=0.02, zero_point=127)
    s.mean(y, (1,), False)
    s.mean(y, (1,), True, gain=1.7)
    z = s.input((3, 10), zero_point=-128)
    s.mean(z, (1,), False)
    s.mean(z, (0,), False, zero_point=-128)
    return s


def add_sweep() -> Sweep:
    s = Sweep(6)
    x = s.input((1, 4, 5, 3), scale=0.05, zero_point=-20)
    y = s.input((1, 4, 5, 3), scale=0.11, zero_point=40)
    for scale, activation in product((0.3, 0.12, 0.002), ("none", "relu", "relu6", "relu_n1_to_1")):
        s.add(x, y, scale, activation=activation)
    s.add(x, x, 0.1)
    for shape in ((3,), (1,), (), (1, 1, 1, 3), (1, 4, 1, 3), (1, 1, 5, 1), (4, 1, 1), (5, 3)):
        other = s.input(shape, scale=0.07, zero_point=1)
        s.add(x, other, 0.2)
        s.add(other, x, 0.2)
    constant = s.tensor((1, 4, 5, 3), scale=0.09, zero_point=5, data=s.rng.integers(-128, 128, (1, 4, 5, 3)))
    s.add(x, constant, 0.2)
    s.add(constant, x, 0.2)
    bias = s.tensor((3,), scale=0.01, zero_point=0, data=[-128, 5, 127])
    s.add(x, bias, 0.06)
    # All pairs of int8 values, at several ratios of scales.
    for a, b, out in ((1.0, 1.0, 1.0), (0.013, 0.5, 0.4), (0.9, 1e-4, 0.01)):
        rows = s.tensor((256, 1), scale=a, zero_point=-5, data=np.arange(-128, 128))
        columns = s.input((1, 256), scale=b, zero_point=77)
        s.add(rows, columns, out)
    return s


def pad_sweep() -> Sweep:
    s = Sweep(7)
    x = s.input((1, 3, 4, 2), zero_point=17)
    for value in (None, -128, 55):
        s.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), value)
        s.pad(x, ((0, 0), (0, 2), (3, 0), (0, 0)), value)
        s.pad(x, ((1, 0), (0, 1), (2, 1), (1, 2)), value)
        s.pad(x, ((0, 0), (0, 0), (0, 0), (0, 0)), value)
    y = s.input((5,), zero_point=-128)
    s.pad(y, ((2, 3),))
    s.pad(s.input((2, 3)), ((1, 0), (0, 2)))
    s.pad(s.input((2, 1, 2, 3, 2)), ((0, 1), (1, 0), (0, 0), (1, 1), (0, 2)))
    return s


def shape_sweep() -> Sweep:
    s = Sweep(8)
    x = s.input((1, 4, 3, 2))
    y = s.reshape(x, (1, 24))
    s.dense(y, 5)
    s.reshape(y, (2, 3, 4))
    s.dense(s.reshape(s.conv(x, 3), (1, 36)), 4)
    s.reshape(s.input((1, 3, 1, 2)), (3, 2), "SQUEEZE")
    s.reshape(s.reshape(s.dense(y, 6), (1, 1, 6), "EXPAND_DIMS"), (6,))
    return s


def quantize_sweep() -> Sweep:
    s = Sweep(9)
    f = s.input((1, 200), "f4", None)
    for scale, zero_point in ((0.5, 0), (0.05, -128), (0.003, 127), (7.0, 12)):
        q = s.tensor((1, 200), scale=scale, zero_point=zero_point)
        s.op("QUANTIZE", [f], q)
        back = s.tensor((1, 200), "f4", None)
        s.op("DEQUANTIZE", [q], back)
    u = s.input((1, 256), "u1", 0.05, 128)
    i = s.input((1, 256), "i1", 0.05, 0)
    for scale, zero_point in ((0.05, 0), (0.05, 3), (0.02, -50), (0.7, 127), (0.0001, 0)):
        s.unary("QUANTIZE", u, scale, zero_point)
        s.unary("QUANTIZE", i, scale, zero_point)
    s.unary("QUANTIZE", i, 0.05, 128, "u1")
    s.unary("QUANTIZE", i, 0.02, 9, "u1")
    s.op("DEQUANTIZE", [u], s.tensor((1, 256), "f4", None))
    return s


SWEEPS = {
    "conv": conv_sweep,
    "depthwise": depthwise_sweep,
    "dense": dense_sweep,
    "pool": pool_sweep,
    "mean": mean_sweep,
    "add": add_sweep,
    "pad": pad_sweep,
    "shape": shape_sweep,
    "quantize": quantize_sweep,
}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_layer_equals_tflite_micro(name: str) -> None:
    # With the sanitizers: the kernels neither leave their buffers nor overflow.
    assert_exact(SWEEPS[name]().build(), sanitize=True)


def test_scale_products_are_taken_in_the_same_precision() -> None:
    """With an output scale of twice the product of scales, odd sums are ties, which the smallest difference moves."""
    s = Sweep(14)
    sums = np.array([[v, 0] for v in (-101, -3, -1, 1, 3, 5, 99, 101)])
    for scale, weight in product((0.1, 0.037, 1.3), (0.7, 0.011, 0.0093)):
        tie = float(np.float32(scale) * np.float32(weight)) * 2
        for channels in (1, 8):
            x = s.input((1, 2), scale=scale, zero_point=0)
            w = s.tensor((channels, 2), scale=weight, zero_point=0, data=sums[-channels:])
            y = s.tensor((1, channels), scale=tie, zero_point=0)
            s.op("FULLY_CONNECTED", [x, w], y, "FullyConnectedOptions")
        image = s.input((1, 1, 1, 2), scale=scale, zero_point=0)
        w = s.tensor((8, 1, 1, 2), scale=weight, zero_point=0, data=sums)
        s.op(
            "CONV_2D",
            [image, w],
            s.tensor((1, 1, 1, 8), scale=tie, zero_point=0),
            "Conv2DOptions",
            strideH=1,
            strideW=1,
            dilationHFactor=1,
            dilationWFactor=1,
        )
    g = s.build()
    ones = np.full((1, 2 * len(g.inputs)), 1, np.uint8)
    assert_exact(g, np.concatenate([ones, np.full_like(ones, 255)]))


def test_tables_hold_for_every_input() -> None:
    s = Sweep(10)
    for scale, zero_point in product((1e-6, 0.003, 0.0117, 0.05, 0.11, 0.5, 3.0), (-128, -9, 0, 127)):
        x = s.input((1, 256), scale=scale, zero_point=zero_point)
        s.unary("LOGISTIC", x, 1 / 256, -128)
        s.unary("RELU", x, scale, zero_point)
        s.unary("RELU", x, scale * 1.7, -128)
        s.unary("RELU", x, scale / 300, 5)
        s.unary("RELU6", x, scale, zero_point)
    g = s.build()
    assert_exact(g, np.resize(np.arange(256, dtype=np.uint8), (1, 256 * len(g.inputs))), sanitize=True)


def test_softmax_over_distances_and_depths() -> None:
    s = Sweep(11)
    for scale, beta in product((1e-5, 0.002, 0.04, 0.1, 0.5, 6.0), (1.0, 0.25)):
        x = s.input((2, 256), scale=scale, zero_point=4)
        s.unary("SOFTMAX", x, 1 / 256, -128, beta=beta)
    for shape in ((1, 1), (1, 2), (3, 5), (1, 2, 3, 7), (1, 511)):
        s.unary("SOFTMAX", s.input(shape, scale=0.08), 1 / 256, -128, beta=1.0)
    g = s.build()
    # Every distance from the maximum, and random rows.
    assert_exact(g, np.concatenate([vectors(g), np.resize(np.arange(256, dtype=np.uint8), (1, vectors(g).shape[1]))]))


def test_softmax_of_two_over_all_distances() -> None:
    s = Sweep(12)
    pairs = np.stack([np.full(256, 127), np.arange(-128, 128)], axis=1)
    for scale in (0.0009, 0.02, 0.09, 0.3):
        s.unary("SOFTMAX", s.input((256, 2), scale=scale), 1 / 256, -128, beta=1.0)
    g = s.build()
    assert_exact(g, np.tile(pairs.astype(np.int8).view(np.uint8).reshape(1, -1), (1, len(g.inputs))))


def test_float_model_inputs_and_outputs() -> None:
    s = Sweep(13)
    x = s.input((1, 6, 6, 2), "f4", None)
    q = s.op("QUANTIZE", [x], s.tensor((1, 6, 6, 2), scale=0.1, zero_point=0))
    y = s.dense(s.reshape(s.pool(s.conv(q, 4, activation="relu")), (1, 36)), 3)
    s.op("DEQUANTIZE", [y], s.tensor((1, 3), "f4", None))
    assert_exact(s.build())
