"""Operators over int16 activations ("int16x8"), every layer against TFLite Micro."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from tflite_builder import SAME, VALID, Sweep, assert_exact, needs_compiler, vectors

from convert.compiled import compile_model
from convert.errors import UsageError


class Wide(Sweep):
    """A sweep whose activations are int16 and whose biases are of `bias_type`; weights stay int8."""

    bias_type = "i8"

    def tensor(
        self, shape: Sequence[int], dtype: str = "i1", scale: Any = 0.05, zero_point: Any = 0, **more: Any
    ) -> int:
        if dtype == "i4" and scale is not None:
            dtype = self.bias_type
            more["data"] = np.asarray(more["data"]) * 256
        if dtype == "i1" and more.get("data") is None:
            dtype, zero_point = "i2", 0
        return super().tensor(shape, dtype, scale, zero_point, **more)


def conv_sweep(bias_type: str) -> Sweep:
    s = Wide(60)
    s.bias_type = bias_type
    x = s.input((1, 7, 6, 4), scale=0.03)
    for size, stride, padding in product([(1, 1), (3, 3), (2, 3)], [(1, 1), (2, 2), (3, 1)], [SAME, VALID]):
        s.conv(x, 5, size, stride, padding=padding)
    s.conv(x, 3, dilation=(2, 2), padding=SAME)
    for activation in ("relu", "relu6", "relu_n1_to_1"):
        s.conv(x, 3, activation=activation)
    for per_channel, bias in product((True, False), (True, False)):
        s.conv(x, 4, per_channel=per_channel, bias=bias)
    for gain in (0.01, 8.0, 60.0):
        s.conv(x, 4, gain=gain)
    s.conv(x, 8, groups=2)
    s.conv(s.conv(s.input((2, 4, 4, 1)), 7, (2, 2), activation="relu"), 2)
    return s


def depthwise_sweep() -> Sweep:
    s = Wide(61)
    x = s.input((2, 6, 5, 3), scale=0.02)
    for size, stride, padding in product([(3, 3), (2, 3)], [(1, 1), (2, 2)], [SAME, VALID]):
        s.depthwise(x, 1, size, stride, padding=padding)
    for multiplier, per_channel, bias in product((1, 2), (True, False), (True, False)):
        s.depthwise(x, multiplier, per_channel=per_channel, bias=bias)
    for gain in (0.02, 10.0, 60.0):
        s.depthwise(x, gain=gain)
    s.depthwise(x, activation="relu6", dilation=(2, 1))
    return s


def dense_sweep(bias_type: str) -> Sweep:
    s = Wide(62)
    s.bias_type = bias_type
    for shape in ((1, 16), (4, 9), (3, 5, 7), (1, 700)):
        x = s.input(shape, scale=0.04)
        for per_channel, bias in product((True, False), (True, False)):
            s.dense(x, 6, per_channel=per_channel, bias=bias)
        for gain in (0.05, 20.0, 40.0):
            s.dense(x, 3, gain=gain)
        s.dense(x, 5, activation="relu6")
    return s


def pool_sweep() -> Sweep:
    s = Wide(63)
    x = s.input((2, 7, 8, 3), scale=0.05)
    for kind, size, stride, padding in product(
        ("AVERAGE", "MAX"), [(2, 2), (3, 2), (7, 8)], [(1, 1), (2, 2)], (SAME, VALID)
    ):
        s.pool(x, kind, size, stride, padding)
    for kind, activation in product(("AVERAGE", "MAX"), ("relu", "relu6", "relu_n1_to_1")):
        s.pool(x, kind, activation=activation)
    for axes, keep, gain in product([(1, 2), (1,), (3,), (0, 1, 2, 3)], (True, False), (0.3, 1.0, 7.0)):
        s.mean(x, axes, keep, gain=gain, zero_point=0)
    return s


def add_sweep() -> Sweep:
    s = Wide(64)
    x, y = s.input((1, 4, 5, 3), scale=0.05), s.input((1, 4, 5, 3), scale=0.11)
    for scale, activation in product((0.3, 0.12, 0.002), ("none", "relu", "relu6", "relu_n1_to_1")):
        s.add(x, y, scale, activation=activation)
    for shape in ((3,), (1,), (1, 1, 5, 1)):
        other = s.input(shape, scale=0.07)
        s.add(x, other, 0.2)
        s.add(other, x, 0.2)
    constant = s.tensor((1, 4, 5, 3), "i2", 0.09, 0, data=s.rng.integers(-32768, 32768, (1, 4, 5, 3)))
    s.add(x, constant, 0.2)
    s.reshape(s.add(x, x, 0.1), (5, 12))
    return s


def more_sweep() -> Sweep:
    """Products, differences, straight lines, padding and transposed convolutions."""
    s = Wide(73)
    x, y = s.input((1, 4, 5, 3), scale=0.0005), s.input((1, 1, 5, 1), scale=0.011)
    for name, scale in product(("MUL", "SUB"), (0.3, 0.02, 0.001)):
        options = f"{name.title()}Options"
        for a, b in ((x, x), (x, y), (y, x)):
            s.op(name, [a, b], s.tensor((1, 4, 5, 3), scale=scale), options, fusedActivationFunction=scale < 0.01)
    for scale in (0.0005, 0.0001, 0.03):
        s.unary("RELU", x, scale, 0)
        for alpha in (0.1, -0.3, 2.0):
            s.op("LEAKY_RELU", [x], s.tensor((1, 4, 5, 3), scale=scale), "LeakyReluOptions", alpha=alpha)
    s.unary("RELU6", x, 0.0005, 0)
    s.unary("RELU6", y, 0.011, 0)
    s.pad(x, ((0, 0), (1, 2), (0, 1), (2, 1)))
    s.pad(s.input((7,)), ((2, 3),))
    for size, stride, padding in product([(3, 3), (2, 4)], [(1, 1), (2, 3)], [SAME, VALID]):
        s.transpose_conv(x, 2, size, stride, padding)
    for per_channel, bias in product((True, False), (True, False)):
        s.transpose_conv(x, 3, per_channel=per_channel, bias=bias, activation="relu6")
    return s


def quantize_sweep() -> Sweep:
    s = Wide(65)
    f = s.input((1, 200), "f4", None)
    for scale in (0.5, 0.003, 0.0001):
        q = s.op("QUANTIZE", [f], s.tensor((1, 200), "i2", scale, 0))
        s.op("DEQUANTIZE", [q], s.tensor((1, 200), "f4", None))
    x = s.input((1, 100), "i2", 0.01, 0)
    for scale in (0.01, 0.003, 2.0, 1e-6):
        s.op("QUANTIZE", [x], s.tensor((1, 100), "i2", scale, 0))
    # int8 on either side; a tensor with data is left alone by Wide.
    narrow = Sweep.tensor(s, (1, 100), "i1", 0.05, 7)
    s.inputs.append(narrow)
    for scale, zero_point in ((0.05, 0), (2.0, -128), (100.0, 5)):
        s.op("QUANTIZE", [x], Sweep.tensor(s, (1, 100), "i1", scale, zero_point))
        s.op("QUANTIZE", [narrow], s.tensor((1, 100), "i2", scale / 1000, 0))
    return s


SWEEPS: dict[str, Callable[[], Sweep]] = {
    "conv with 64-bit sums": lambda: conv_sweep("i8"),
    "conv with 32-bit sums": lambda: conv_sweep("i4"),
    "depthwise": depthwise_sweep,
    "dense with 64-bit sums": lambda: dense_sweep("i8"),
    "dense with 32-bit sums": lambda: dense_sweep("i4"),
    "pool": pool_sweep,
    "add": add_sweep,
    "more": more_sweep,
    "quantize": quantize_sweep,
}


@needs_compiler
@pytest.mark.parametrize("name", SWEEPS)
def test_every_layer_equals_tflite_micro(name: str) -> None:
    assert_exact(SWEEPS[name]().build(), sanitize=True)


@needs_compiler
def test_functions_hold_for_every_input() -> None:
    s = Wide(66)
    for scale in (2.0**-12, 2.0**-11, 2.0**-13, 0.0003, 1e-5, 1e-9, 0.1, 2.6):
        x = s.input((1, 1 << 16), scale=scale)
        s.unary("LOGISTIC", x, 2.0**-15, 0)
        s.unary("TANH", x, 2.0**-15, 0)
    g = s.build()
    assert_exact(g, np.tile(np.arange(-(1 << 15), 1 << 15, dtype=np.int16).view(np.uint8), (1, len(g.inputs))))


@needs_compiler
def test_softmax_over_distances_and_depths() -> None:
    s = Wide(67)
    for scale, beta in product((1e-6, 1e-4, 0.0007, 0.01, 1.5), (1.0, 0.25)):
        s.unary("SOFTMAX", s.input((2, 128), scale=scale), 2.0**-15, 0, beta=beta)
    for shape in ((1, 1), (1, 2), (3, 5), (1, 2, 3, 7), (1, 3000)):
        s.unary("SOFTMAX", s.input(shape, scale=0.0003), 2.0**-15, 0, beta=1.0)
    assert_exact(s.build(), sanitize=True)


@needs_compiler
def test_softmax_of_two_over_all_distances() -> None:
    s = Wide(68)
    for scale in (10 / 65535, 0.0001, 0.003):
        s.unary("SOFTMAX", s.input((1 << 16, 2), scale=scale), 2.0**-15, 0, beta=1.0)
    pairs = np.stack([np.full(1 << 16, 32767), np.arange(-(1 << 15), 1 << 15)], axis=1).astype(np.int16)
    assert_exact(s.build(), np.tile(pairs.view(np.uint8).reshape(1, -1), (1, 3)))


@needs_compiler
def test_a_network_from_int16_to_int16() -> None:
    s = Wide(69)
    x = s.conv(s.input((1, 8, 8, 2), scale=0.001), 4, activation="relu")
    x = s.add(x, s.depthwise(x), 0.0002)
    x = s.dense(s.reshape(s.pool(x), (1, 64)), 3)
    s.unary("SOFTMAX", x, 2.0**-15, 0, beta=1.0)
    g = s.build()
    assert_exact(g, vectors(g, 20), sanitize=True)


def _change(index: int, **changes: object) -> Callable[[Sweep], None]:
    def damage(s: Sweep) -> None:
        for name, value in changes.items():
            setattr(s.tensors[index], name, value)

    damage.__name__ = f"tensor_{index}_{'_'.join(changes)}"
    return damage


REFUSED: dict[Callable[[Sweep], None], str] = {
    _change(0, zero_point=4): "has zero point 4, not 0",
    _change(3, zero_point=-4): "has zero point -4, not 0",
    _change(3, dtype="i1"): "is INT8",
    _change(1, dtype="i2"): "is INT16",
    _change(1, zero_point=3): "has zero point 3 where weights have 0",
    _change(2, dtype="f4"): "takes INT64 or INT32 here|is FLOAT32",
    _change(2, data=[1 << 47, 0]): "may exceed 47 bits",
    _change(3, scale=1e-6): "rescaling is out of range",
    _change(3, shape=(1, 4, 4, 5)): "do not suit",
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda f: f.__name__)
def test_refused(damage: Callable[[Sweep], None]) -> None:
    s = Wide(70)
    s.conv(s.input((1, 4, 4, 2)), 2)
    damage(s)
    with pytest.raises(UsageError, match=REFUSED[damage]):
        compile_model(s.build())


def test_depthwise_biases_have_64_bits() -> None:
    s = Wide(71)
    s.bias_type = "i4"
    s.depthwise(s.input((1, 4, 4, 2)))
    with pytest.raises(UsageError, match="is INT32"):
        compile_model(s.build())
