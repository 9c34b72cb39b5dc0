"""Layers with a state of their own: SVDF, UNIDIRECTIONAL_SEQUENCE_LSTM."""

import math

import numpy as np

from convert.compiled import fixed_point
from convert.compiled.layer import (
    Array,
    Constant,
    Layer,
    Lower,
    Value,
    constant,
    describe,
    int8,
    make,
    output,
    per_tensor,
    refuse,
    require_type,
    tensor,
)
from convert.compiled.stage import multipliers
from convert.graph import Graph, Operator, Tensor


def _state(graph: Graph, op: Operator, index: int, elements: int, *types: str) -> Tensor:
    """Input number `index`, which must be a variable of `elements` elements."""
    state = tensor(graph, op, index)
    require_type(op, state, *types)
    if not state.is_variable or state.elements != elements:
        raise refuse(op, f"{describe(state)} is not a variable of {elements} elements", "convert the model again")
    return state


def _one(op: Operator, real: float) -> tuple[int, int]:
    multiplier, shift = multipliers(op, [real])
    return int(multiplier[0]), int(shift[0])


def svdf(graph: Graph, op: Operator) -> Layer:
    """SVDF of int8 with int8 features and a state and time weights of int16 or int8, any rank; bias required.

    As in TFLite Micro there is no fused activation: ReLU is the output's zero point of -128.
    """
    x, features, time, bias = (tensor(graph, op, i) for i in range(4))
    out = output(graph, op)
    for t, name in ((x, "int8"), (features, "int8"), (bias, "int32"), (out, "int8")):
        require_type(op, t, name)
    rank = int(op.options.get("rank", 0))
    shapes = (x.shape, features.shape, time.shape, out.shape)
    if any(len(s) != 2 for s in shapes) or rank < 1 or features.shape[0] % rank:
        raise refuse(op, f"shapes {shapes} and rank {rank} are invalid", "convert the model again")
    (batches, inputs), (filters, memory), units = x.shape, time.shape, features.shape[0] // rank
    if features.shape != (filters, inputs) or out.shape != (batches, units) or bias.elements != units:
        raise refuse(op, f"shapes {shapes}, rank {rank} and {describe(bias)} do not suit", "convert the model again")
    state = _state(graph, op, 4, batches * filters * memory, "int8", "int16")
    require_type(op, time, state.dtype.name)
    # TFLite Micro combines the scales in float32.
    scale = [np.float32(per_tensor(op, t).scale) for t in (x, features, state, time, out)]
    feature = _one(op, float(scale[0] * scale[1] / scale[2]))
    last = _one(op, float(scale[2] * scale[3] / scale[4]))
    params: dict[str, Value] = {
        "batches": batches,
        "inputs": inputs,
        "units": units,
        "rank": rank,
        "memory": memory,
        "input_zero_point": per_tensor(op, x).zero_point,
        "state_zero_point": per_tensor(op, state).zero_point,
        "zero_point": per_tensor(op, out).zero_point,
        "feature_multiplier": feature[0],
        "feature_shift": feature[1],
        "multiplier": last[0],
        "shift": last[1],
        "features": Constant("weights", int8(constant(op, features)), "[filter][input]"),
        "bias": Constant("bias", np.ascontiguousarray(constant(op, bias), np.int32), "[unit]"),
        "time": Constant("time", np.ascontiguousarray(constant(op, time)), "[filter][oldest first]"),
    }
    kernel = "kernels_svdf_s8" if state.dtype == np.int8 else "kernels_svdf_s16"
    return make(graph, op, kernel, "kernels_svdf_params", params, (x.index, state.index))


_TANH = 4  # ActivationFunctionType of the TFLite schema
# The inputs of the operator, by gate: weights, recurrent weights, bias.
_GATES = {"input_gate": (1, 5, 12), "forget_gate": (2, 6, 13), "cell_gate": (3, 7, 14), "output_gate": (4, 8, 15)}
_ABSENT = {9: "a peephole", 10: "a peephole", 11: "a peephole", 16: "a projection", 17: "a projection"}
_ABSENT |= dict.fromkeys(range(20, 24), "a layer normalisation")
_GATE_SCALE = 2.0**-12  # of a gate's sum
_UNIT_SCALE = 2.0**-15  # of what a gate's function gives
# Sums of products must fit 32 bits.
_MAX_DEPTH = 1 << 16


def _gate(graph: Graph, op: Operator, name: str, inputs: int, units: int) -> dict[str, Value]:
    """The kernel's `kernels_lstm_gate`."""
    x, hidden = tensor(graph, op, 0), tensor(graph, op, 18)
    w, recurrent, bias = (tensor(graph, op, i) for i in _GATES[name])
    for t, shape, dtype in (
        (w, (units, inputs), "int8"),
        (recurrent, (units, units), "int8"),
        (bias, (units,), "int32"),
    ):
        require_type(op, t, dtype)
        if t.shape != shape:
            raise refuse(op, f"{describe(t)} does not have the shape {list(shape)}", "convert the model again")
    for t in (w, recurrent):
        if per_tensor(op, t).zero_point != 0:
            raise refuse(op, f"{describe(t)} has a zero point where weights have 0", "convert the model again")
    qx, qh = per_tensor(op, x), per_tensor(op, hidden)
    first = _one(op, qx.scale * per_tensor(op, w).scale / _GATE_SCALE)
    second = _one(op, qh.scale * per_tensor(op, recurrent).scale / _GATE_SCALE)
    return {
        "weights": Constant(f"{name}_weights", int8(constant(op, w)), "[unit][input]"),
        "recurrent": Constant(f"{name}_recurrent", int8(constant(op, recurrent)), "[unit][unit]"),
        "bias": _folded(f"{name}_bias", constant(op, w), qx.zero_point, constant(op, bias)),
        "recurrent_bias": _folded(f"{name}_recurrent_bias", constant(op, recurrent), qh.zero_point, np.zeros(units)),
        "multiplier": first[0],
        "shift": first[1],
        "recurrent_multiplier": second[0],
        "recurrent_shift": second[1],
    }


def _folded(role: str, weights: Array, zero_point: int, bias: Array) -> Constant:
    """The bias less what the zero point adds to each unit's sum."""
    sums = bias.astype(np.int64) - zero_point * weights.astype(np.int64).sum(axis=1)
    values = np.array([fixed_point.wrap32(int(v)) for v in sums], np.int32)
    return Constant(role, values, "[unit], zero point folded in")


def _lstm_sizes(graph: Graph, op: Operator) -> tuple[int, int, int, int, bool]:
    """(batches, steps, inputs, units, whether time comes first)."""
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "int8")
    require_type(op, out, "int8")
    if len(op.inputs) != 24:
        raise refuse(op, f"it has {len(op.inputs)} inputs where 24 are expected", "convert the model again")
    for i, what in _ABSENT.items():
        if op.inputs[i] >= 0:
            raise refuse(op, f"it has {what} (input {i})", "use a plain LSTM layer")
    if int(op.options.get("fusedActivationFunction", 0)) != _TANH:
        raise refuse(op, "its activation is not tanh", "use a plain LSTM layer")
    if len(x.shape) != 3 or len(out.shape) != 3 or x.shape[:2] != out.shape[:2]:
        raise refuse(op, f"{describe(x)} and {describe(out)} do not suit", "convert the model again")
    first, second, inputs = x.shape
    time_major = bool(op.options.get("timeMajor", False))
    batches, steps = (second, first) if time_major else (first, second)
    if max(inputs, out.shape[2]) >= _MAX_DEPTH:
        raise refuse(op, f"{describe(x)} and {describe(out)} may overflow 32 bits", f"use fewer than {_MAX_DEPTH}")
    return batches, steps, inputs, out.shape[2], time_major


def lstm(graph: Graph, op: Operator) -> Layer:
    """UNIDIRECTIONAL_SEQUENCE_LSTM of int8 with int8 weights (per tensor) and an int16 cell state, batch- or
    time-major, without peephole, projection, layer normalisation or coupled gates: what tf_keras' LSTM becomes.

    The states are kept from one inference to the next, until a reset. Each step's hidden state lies in the output, so
    that no scratch memory is needed.
    """
    batches, steps, inputs, units, time_major = _lstm_sizes(graph, op)
    hidden = _state(graph, op, 18, batches * units, "int8")
    cell = _state(graph, op, 19, batches * units, "int16")
    qh, qc = per_tensor(op, hidden), per_tensor(op, cell)
    power = fixed_point.round_away(math.log(float(np.float32(qc.scale))) / math.log(2.0))
    if not -40 <= power <= 2:
        raise refuse(op, f"{describe(cell)} has the scale {qc.scale:g}", "convert the model again")
    # tanh's argument in steps of the table, 3/4 of a step of 2^-9.
    left = power + 12
    forget, update, last = (
        _one(op, real)
        for real in (
            _UNIT_SCALE * qc.scale / qc.scale,
            _UNIT_SCALE * _UNIT_SCALE / qc.scale,
            _UNIT_SCALE * _UNIT_SCALE / qh.scale,
        )
    )
    clip = float(np.float32(op.options.get("cellClip", 0.0)))
    if math.isnan(clip):
        raise refuse(op, "its cell clip is no number", "convert the model again")
    params: dict[str, Value] = {
        "batches": batches,
        "steps": steps,
        "inputs": inputs,
        "units": units,
        "batch_step": 1 if time_major else steps,
        "time_step": batches if time_major else 1,
        **{name: _gate(graph, op, name, inputs, units) for name in _GATES},
        "forget_multiplier": forget[0],
        "forget_shift": forget[1],
        "update_multiplier": update[0],
        "update_shift": update[1],
        "hidden_multiplier": last[0],
        "hidden_shift": last[1],
        "hidden_zero_point": qh.zero_point,
        "tanh_multiplier": 3 << max(left, 0),
        "tanh_shift": max(-left, 0),
        "clip": int(max(0.0, min(clip / qc.scale, 32767.0))),
        "table": Constant("sigmoid", fixed_point.sigmoid_table(), "1 / (1 + exp(-i / 24)) as Q0.16"),
    }
    arguments = (op.inputs[0], hidden.index, cell.index)
    return make(graph, op, "kernels_lstm_s8", "kernels_lstm_params", params, arguments)


OPERATORS: dict[str, Lower] = {"SVDF": svdf, "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm}
