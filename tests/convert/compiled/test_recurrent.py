"""Layers with a state over their parameters, against TFLite Micro over a sequence of inferences."""

from collections.abc import Callable
from itertools import product

import pytest
from tflite_builder import Sweep, assert_exact, needs_compiler, vectors

from convert.compiled import compile_model
from convert.errors import UsageError


def svdf_sweep() -> Sweep:
    s = Sweep(50)
    x = s.input((1, 9), scale=0.03, zero_point=-11)
    for rank, memory, state in product((1, 2, 3), (1, 2, 5), ("i1", "i2")):
        s.svdf(x, 4, rank, memory, state)
    for gain, state in product((0.01, 30.0, 5000.0), ("i1", "i2")):
        s.svdf(x, 3, gain=gain, state=state)
    for zero_point, state in product((-128, 127), ("i1", "i2")):
        s.svdf(x, 2, zero_point=zero_point, state=state)
        s.svdf(x, 2, state_zero_point=zero_point // 2, state="i1")
    batch = s.input((3, 5), scale=0.1, zero_point=127)
    s.svdf(s.svdf(batch, 6, 2, zero_point=-128), 3, memory=8)
    s.svdf(batch, 4, state="i1", state_zero_point=9)
    return s


@needs_compiler
def test_svdf_equals_tflite_micro_over_a_sequence() -> None:
    g = svdf_sweep().build()
    assert_exact(g, vectors(g, 12), sanitize=True)
    assert g.macs_of(g.operators[0]) == 4 * (9 + 1)


def _no_bias(s: Sweep) -> None:
    s.ops[0].inputs = [*s.ops[0].inputs[:3], -1, s.ops[0].inputs[4]]


def _no_variable(s: Sweep) -> None:
    s.tensors[s.ops[0].inputs[4]].variable = False
    s.inputs.append(s.ops[0].inputs[4])


def _short_state(s: Sweep) -> None:
    s.tensors[s.ops[0].inputs[4]].shape = (1, 7)


def _rank(s: Sweep) -> None:
    s.ops[0].fields["rank"] = 3


def _no_rank(s: Sweep) -> None:
    s.ops[0].fields["rank"] = 0


def _other_time(s: Sweep) -> None:
    s.tensors[s.ops[0].inputs[2]].dtype = "i1"
    s.tensors[s.ops[0].inputs[2]].data %= 100


def _computed_time(s: Sweep) -> None:
    s.tensors[s.ops[0].inputs[2]].data = None
    s.inputs.append(s.ops[0].inputs[2])


def _other_units(s: Sweep) -> None:
    s.tensors[s.ops[0].outputs[0]].shape = (1, 3)


REFUSED: dict[Callable[[Sweep], None], str] = {
    _no_bias: "input 3 is missing",
    _no_variable: "is not a variable of 8 elements",
    _short_state: "is not a variable of 8 elements",
    _rank: "rank 3 are invalid",
    _no_rank: "rank 0 are invalid",
    _other_time: "takes INT16 here",
    _computed_time: "computed at run time",
    _other_units: "do not suit",
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda f: f.__name__)
def test_svdf_refused(damage: Callable[[Sweep], None]) -> None:
    s = Sweep(51)
    s.svdf(s.input((1, 3)), 2)
    damage(s)
    with pytest.raises(UsageError, match=REFUSED[damage]):
        compile_model(s.build())
