"""Transposed convolutions: TRANSPOSE_CONV."""

from dataclasses import replace

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
from convert.compiled.stage import output_stage
from convert.compiled.window import transposed_window
from convert.graph import Graph, Operator


def transpose_conv(graph: Graph, op: Operator) -> Layer:
    """TRANSPOSE_CONV of int8 with int8 weights (per tensor or per channel), any stride, SAME or VALID, with or without
    bias and fused activation.

    Every output gathers the inputs that reach it, so that no accumulators are kept where TFLite Micro keeps four bytes
    an output. The output's shape is the tensor's; the operand that repeats it is not read, as in TFLite Micro.
    """
    x, w, out = tensor(graph, op, 2), tensor(graph, op, 1), output(graph, op)
    for t in (x, w, out):
        require_type(op, t, "int8")
    weights = constant(op, w)
    if len(w.shape) != 4 or len(x.shape) != 4 or len(out.shape) != 4:
        raise refuse(op, f"{describe(x)}, {describe(w)} or {describe(out)} is not NHWC", "reshape to 4 dimensions")
    if (w.shape[0], w.shape[3]) != (out.shape[3], x.shape[3]) or x.shape[0] != out.shape[0]:
        raise refuse(
            op, f"weights {describe(w)} do not suit {describe(x)} and {describe(out)}", "convert the model again"
        )
    window = transposed_window(op, x, out, (w.shape[1], w.shape[2]))
    # The same roles in the order of a convolution's inputs.
    as_convolution = replace(op, inputs=(op.inputs[2], op.inputs[1], *op.inputs[3:4]))
    flat = weights.reshape(len(weights), -1)
    params: dict[str, Value] = {
        "window": window.params,
        "input_channels": x.shape[3],
        "output_channels": out.shape[3],
        "input_zero_point": per_tensor(op, x).zero_point,
        "weights": Constant("weights", int8(weights), "OHWI"),
        "stage": output_stage(graph, as_convolution, flat, axis=0, fold=False),
    }
    inputs = op.inputs[2:3]
    return make(graph, op, "kernels_transpose_conv_s8", "kernels_transpose_conv_params", params, inputs)


OPERATORS: dict[str, Lower] = {"TRANSPOSE_CONV": transpose_conv}
