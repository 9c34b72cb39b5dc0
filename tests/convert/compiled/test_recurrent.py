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


def lstm_sweep() -> Sweep:
    s = Sweep(52)
    x = s.input((1, 6, 5), scale=0.03, zero_point=-11)
    for units, gain in product((1, 4, 7), (0.1, 1.0, 20.0)):
        s.lstm(x, units, gain=gain)
    for power in (-20, -15, -13, -12, -9, -3, 0, 2):
        s.lstm(x, 3, cell_power=power)
    for scale, zero_point in ((1 / 128, -128), (1 / 100, 127), (1 / 300, 5), (0.0001, -9), (3.0, 0)):
        s.lstm(x, 3, hidden_scale=scale, hidden_zero_point=zero_point)
    for clip in (0.001, 0.3, 100.0):
        s.lstm(x, 3, clip=clip, gain=4.0)
    batch = s.input((3, 4, 5), scale=0.1, zero_point=127)
    s.lstm(s.lstm(batch, 6, hidden_zero_point=3), 2)
    s.lstm(s.lstm(batch, 6, time_major=True), 2, time_major=True)
    return s


@needs_compiler
def test_lstm_equals_tflite_micro_over_a_sequence() -> None:
    g = lstm_sweep().build()
    assert_exact(g, vectors(g, 8), sanitize=True)
    assert g.macs_of(g.operators[0]) == 6 * 4 * (5 * 1 + 1 * 1)


def _lstm_damage(index: int, **changes: object) -> Callable[[Sweep], None]:
    def damage(s: Sweep) -> None:
        for name, value in changes.items():
            setattr(s.tensors[s.ops[0].inputs[index]], name, value)

    damage.__name__ = f"input_{index}_{'_'.join(changes)}"
    return damage


def _peephole(s: Sweep) -> None:
    s.ops[0].inputs = [*s.ops[0].inputs[:9], 2, *s.ops[0].inputs[10:]]


def _coupled_gates(s: Sweep) -> None:
    s.ops[0].inputs = [s.ops[0].inputs[0], -1, *s.ops[0].inputs[2:]]


def _few_inputs(s: Sweep) -> None:
    s.ops[0].inputs = s.ops[0].inputs[:20]


def _relu(s: Sweep) -> None:
    s.ops[0].fields["fusedActivationFunction"] = 1


def _flat(s: Sweep) -> None:
    s.tensors[0].shape = (6, 5)


REFUSED_LSTM: dict[Callable[[Sweep], None], str] = {
    _lstm_damage(1, scale=[0.1] * 3): "3 scales where one scale is needed",
    _lstm_damage(2, zero_point=4): "has a zero point where weights have 0",
    _lstm_damage(12, data=None): "reads tensor|computed at run time",
    _lstm_damage(18, variable=False): "before any operator writes it|is not a variable",
    _lstm_damage(19, dtype="i4"): "is INT32",
    _lstm_damage(19, scale=30.0): "has the scale 30",
    _lstm_damage(13, dtype="f4"): "is FLOAT32",
    _peephole: "it has a peephole",
    _coupled_gates: "input 1 is missing",
    _few_inputs: "it has 20 inputs where 24",
    _relu: "its activation is not tanh",
    _flat: "do not suit",
}


@pytest.mark.parametrize("damage", REFUSED_LSTM, ids=lambda f: f.__name__)
def test_lstm_refused(damage: Callable[[Sweep], None]) -> None:
    s = Sweep(53)
    s.lstm(s.input((1, 6, 5)), 3)
    damage(s)
    with pytest.raises(UsageError, match=REFUSED_LSTM[damage]):
        compile_model(s.build())
