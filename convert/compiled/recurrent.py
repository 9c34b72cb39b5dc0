"""Layers with a state of their own: SVDF."""

import numpy as np

from convert.compiled.layer import (
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


OPERATORS: dict[str, Lower] = {"SVDF": svdf}
