"""Functions of one int8 value, for every value: every layer against TFLite Micro."""

from itertools import product

import numpy as np
import pytest
from tflite_builder import Sweep, assert_exact, needs_compiler

from convert.compiled import compile_model

pytestmark = needs_compiler

SCALES = (1e-6, 0.003, 0.0117, 1 / 32, 0.05, 0.11, 0.5, 3.0)
ZERO_POINTS = (-128, -9, 0, 127)


def tanh_sweep() -> Sweep:
    s = Sweep(31)
    for scale, zero_point in product((*SCALES, 1e-8, 1e6), ZERO_POINTS):
        s.unary("TANH", s.input((1, 256), scale=scale, zero_point=zero_point), 1 / 128, 0)
    return s


def leaky_relu_sweep() -> Sweep:
    s = Sweep(32)
    for scale, zero_point in product(SCALES, ZERO_POINTS):
        x = s.input((1, 256), scale=scale, zero_point=zero_point)
        for alpha, gain, out in ((0.1, 1.0, 0), (0.3, 1.7, -20), (1.5, 0.4, 100), (0.0, 1.0, -128), (0.01, 300.0, 5)):
            s.unary("LEAKY_RELU", x, scale / gain, out, alpha=alpha)
        s.unary("LEAKY_RELU", x, scale, zero_point, alpha=-0.7)
    return s


def hard_swish_sweep() -> Sweep:
    s = Sweep(33)
    for scale, zero_point in product((1e-5, 0.003, 0.0117, 0.0235, 1 / 32, 0.05, 0.11, 0.5, 3.0), ZERO_POINTS):
        x = s.input((1, 256), scale=scale, zero_point=zero_point)
        for gain, out in ((1.0, zero_point), (0.6, -128), (0.01, 3), (1.9, 0), (60.0, -100)):
            s.unary("HARD_SWISH", x, scale / gain, out)
    return s


def elu_sweep() -> Sweep:
    s = Sweep(34)
    for scale, zero_point in product(SCALES, ZERO_POINTS):
        x = s.input((1, 256), scale=scale, zero_point=zero_point)
        for gain, out in ((1.0, zero_point), (0.6, -128), (37.0, 3), (1e-6, 0)):
            s.unary("ELU", x, scale / gain, out)
    return s


def abs_sweep() -> Sweep:
    s = Sweep(35)
    for scale, zero_point in product(SCALES, ZERO_POINTS):
        x = s.input((1, 256), scale=scale, zero_point=zero_point)
        for gain, out in ((1.0, zero_point), (0.6, -128), (37.0, 3)):
            s.unary("ABS", x, scale / gain, out)
    return s


SWEEPS = {
    "tanh": tanh_sweep,
    "leaky_relu": leaky_relu_sweep,
    "hard_swish": hard_swish_sweep,
    "elu": elu_sweep,
    "abs": abs_sweep,
}


@pytest.mark.parametrize("name", SWEEPS)
def test_tables_hold_for_every_input(name: str) -> None:
    g = SWEEPS[name]().build()
    assert {layer.kernel for layer in compile_model(g).lowered} == {"kernels_table_8"}
    assert_exact(g, np.resize(np.arange(256, dtype=np.uint8), (1, 256 * len(g.inputs))))
