"""TRANSPOSE_CONV over its parameters, against TFLite Micro."""

from collections.abc import Callable
from itertools import product

import pytest
from tflite_builder import SAME, VALID, Sweep, assert_exact, needs_compiler

from convert.compiled import compile_model
from convert.errors import UsageError


def sweep() -> Sweep:
    s = Sweep(40)
    x = s.input((1, 4, 3, 5), scale=0.03, zero_point=-11)
    for size, stride, padding in product(
        [(1, 1), (3, 3), (2, 3), (4, 2), (5, 5)], [(1, 1), (2, 2), (3, 1)], [SAME, VALID]
    ):
        s.transpose_conv(x, 4, size, stride, padding)
    for extra in (-1, 1, 3):
        s.transpose_conv(x, 2, extra=extra)
        s.transpose_conv(x, 2, (2, 2), (3, 3), VALID, extra=extra)
    for activation in ("relu", "relu6", "relu_n1_to_1"):
        s.transpose_conv(x, 3, activation=activation)
    for zero_point in (-128, 127, 0):
        s.transpose_conv(x, 3, zero_point=zero_point, activation="relu")
    for per_channel, bias in product((True, False), (True, False)):
        s.transpose_conv(x, 3, per_channel=per_channel, bias=bias)
    for gain in (0.01, 8.0, 300.0, 20000.0):
        s.transpose_conv(x, 3, gain=gain, zero_point=0)
    batch = s.input((3, 2, 3, 1), scale=0.01, zero_point=127)
    s.transpose_conv(batch, 1)
    s.transpose_conv(s.transpose_conv(batch, 6, stride=(1, 2)), 2, (4, 4), activation="relu")
    return s


@needs_compiler
def test_every_parameter_equals_tflite_micro() -> None:
    g = sweep().build()
    assert_exact(g, sanitize=True)
    # 12 inputs of 5 channels, each with 4 outputs.
    assert g.macs_of(g.operators[0]) == 12 * 5 * 4


def _float_weights(s: Sweep) -> None:
    s.tensors[s.ops[0].inputs[1]].dtype = "f4"


def _computed_weights(s: Sweep) -> None:
    s.inputs.append(s.ops[0].inputs[1])
    s.tensors[s.ops[0].inputs[1]].data = None


def _no_stride(s: Sweep) -> None:
    s.ops[0].fields["strideH"] = 0


def _other_batch(s: Sweep) -> None:
    s.tensors[s.ops[0].outputs[0]].shape = (2, 8, 6, 2)


REFUSED: dict[Callable[[Sweep], None], str] = {
    _float_weights: "is FLOAT32 and the compiled runtime takes INT8",
    _computed_weights: "computed at run time and must be constant",
    _no_stride: r"strides \(0, 2\), window \(3, 3\)",
    _other_batch: "do not suit",
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda f: f.__name__)
def test_refused(damage: Callable[[Sweep], None]) -> None:
    s = Sweep(41)
    s.transpose_conv(s.input((1, 4, 3, 5)), 2)
    damage(s)
    with pytest.raises(UsageError, match=REFUSED[damage]):
        compile_model(s.build())
