"""Operators over two tensors: every layer against TFLite Micro."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from tflite_builder import Sweep, assert_exact, needs_compiler

from convert.compiled import compile_model

pytestmark = needs_compiler

SHAPES = ((3,), (1,), (), (1, 1, 1, 3), (1, 4, 1, 3), (1, 1, 5, 1), (4, 1, 1), (5, 3), (2, 1, 1, 1, 1))
RANK = {"SQUARED_DIFFERENCE": 4}
BYTES = np.arange(-128, 128)


def all_pairs(s: Sweep, name: str, a: dict[str, Any], b: dict[str, Any], out: dict[str, Any], **more: Any) -> None:
    """All pairs of bytes, the first operand constant."""
    s.binary(name, s.tensor((256, 1), data=BYTES, **a), s.input((1, 256), **b), **out, **more)


def broadcasts(s: Sweep, name: str, a: dict[str, Any], b: dict[str, Any], out: dict[str, Any]) -> None:
    x = s.input((1, 4, 5, 3), **a)
    for shape in (n for n in SHAPES if len(n) <= RANK.get(name, 5)):
        s.binary(name, x, s.input(shape, **b), **out)
        s.binary(name, s.input(shape, **a), s.input((1, 4, 5, 3), **b), **out)
        values = s.rng.integers(-128, 128, shape)
        s.binary(name, x, s.tensor(shape, data=values, **b), **out)
        s.binary(name, s.tensor(shape, data=values, **a), s.input((1, 4, 5, 3), **b), **out)
    s.binary(name, x, x, **out)
    s.binary(name, s.input((4, 1, 3), **a), s.input((1, 5, 1), **b), **out)


def place(scale: float, zero_point: int) -> dict[str, Any]:
    return {"scale": scale, "zero_point": zero_point}


def sub_sweep() -> Sweep:
    s = Sweep(21)
    broadcasts(s, "SUB", place(0.05, -20), place(0.07, 1), place(0.2, 5))
    for activation in ("relu", "relu6", "relu_n1_to_1"):
        all_pairs(s, "SUB", place(0.05, -20), place(0.11, 40), place(0.12, 3), activation=activation)
    ratios = ((1.0, 1.0, 1.0), (0.013, 0.5, 0.4), (0.9, 1e-4, 0.01), (0.1, 0.3, 0.7), (0.037, 0.0111, 0.0173))
    for a, b, out in ratios:
        all_pairs(s, "SUB", place(a, -5), place(b, 77), place(out, 0))
    # Odd subtrahends are ties when they are rescaled, and odd differences when they are rounded.
    all_pairs(s, "SUB", place(0.5, 0), place(0.5 * (1 - 2.0**-21), 0), place(1.0, 0))
    return s


def mul_sweep() -> Sweep:
    s = Sweep(22)
    broadcasts(s, "MUL", place(0.05, -20), place(0.07, 1), place(0.3, 5))
    for activation in ("relu", "relu6", "relu_n1_to_1"):
        all_pairs(s, "MUL", place(0.05, -20), place(0.11, 40), place(0.12, 3), activation=activation)
    for a, b, out in ((1.0, 1.0, 1.0), (0.013, 0.5, 0.4), (0.9, 1e-4, 0.01), (0.25, 0.5, 1.0), (2.0, 9.0, 0.01)):
        all_pairs(s, "MUL", place(a, -128), place(b, 127), place(out, 0))
        all_pairs(s, "MUL", place(a, 0), place(b, 0), place(out, -9))
    return s


def extremum_sweep() -> Sweep:
    s = Sweep(23)
    for name in ("MAXIMUM", "MINIMUM"):
        q = place(0.05, -20)
        broadcasts(s, name, q, q, q)
        all_pairs(s, name, q, q, q)
    return s


def prelu_sweep() -> Sweep:
    s = Sweep(24)
    broadcasts(s, "PRELU", place(0.05, -20), place(0.007, 1), place(0.04, 5))
    for a, b, out in ((1.0, 0.01, 1.0), (0.013, 0.5, 0.02), (0.9, 1e-4, 0.1), (2.0, 1.0, 0.01), (0.5, 0.25, 0.5)):
        all_pairs(s, "PRELU", place(a, -7), place(b, 11), place(out, 0))
        all_pairs(s, "PRELU", place(a, 0), place(b, 0), place(out, -9))
    return s


def squared_difference_sweep() -> Sweep:
    s = Sweep(26)
    broadcasts(s, "SQUARED_DIFFERENCE", place(0.05, -20), place(0.07, 1), place(0.2, -120))
    for a, b, out in ((1.0, 1.0, 200.0), (0.013, 0.5, 8.0), (0.9, 1e-4, 0.01), (0.1, 0.3, 1e-6), (0.5, 0.25, 0.5)):
        all_pairs(s, "SQUARED_DIFFERENCE", place(a, -5), place(b, 77), place(out, -128))
        all_pairs(s, "SQUARED_DIFFERENCE", place(a, 0), place(b, 0), place(out, 9))
    return s


SWEEPS = {
    "squared_difference": squared_difference_sweep,
    "sub": sub_sweep,
    "mul": mul_sweep,
    "extremum": extremum_sweep,
    "prelu": prelu_sweep,
}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_layer_equals_tflite_micro(name: str) -> None:
    assert_exact(SWEEPS[name]().build(), sanitize=True)


def test_a_constant_scalar_makes_a_table() -> None:
    s = Sweep(25)
    same = place(0.05, 3)
    for name, value, swap in product(
        ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU", "SQUARED_DIFFERENCE"), (-128, 0, 127), (True, False)
    ):
        x, c = s.input((1, 256), **same), s.tensor((1, 1), data=[value], **same)
        s.binary(name, *((c, x) if swap else (x, c)), **same)
    g = s.build()
    assert {layer.kernel for layer in compile_model(g).lowered} == {"kernels_table_8"}
    assert_exact(g, np.resize(np.arange(256, dtype=np.uint8), (1, 256 * len(g.inputs))))
