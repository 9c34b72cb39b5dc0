"""From the graph to a list of layers, one an operator."""

from convert.compiled import (
    activation,
    conv,
    elementwise,
    int16,
    join,
    move,
    normalize,
    pool,
    quantize,
    recurrent,
    reduce,
    reshape,
    resize,
    transpose_conv,
    variables,
)
from convert.compiled.layer import Layer, Lower, describe, refuse
from convert.errors import UsageError
from convert.graph import Graph

# Sizes that the kernels' 32-bit places hold with room to spare, and that the plans of memory are made for in seconds.
MAX_TENSOR = 1 << 22  # bytes of one activation
MAX_BYTES = 1 << 26  # of all activations, and of all constants
MAX_LAYERS = 2048
# Types of constants that a kernel may read like any other input.
OPERANDS = ("int8", "uint8", "int16", "int32")

# An operator family adds its operators here; see docs/adding_an_operator.md.
OPERATORS: dict[str, Lower] = {
    name: lower
    for family in (
        activation,
        conv,
        elementwise,
        join,
        move,
        normalize,
        pool,
        quantize,
        recurrent,
        reduce,
        reshape,
        resize,
        transpose_conv,
        variables,
    )
    for name, lower in family.OPERATORS.items()
}

# Operators that keep a state in variable tensors.
_STATEFUL = ("SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM")


def supported() -> list[str]:
    """Names of the operators that the compiled runtime has, sorted."""
    return sorted(OPERATORS)


def check_operators(graph: Graph) -> None:
    """Raise UsageError if the graph has an operator that the compiled runtime does not have."""
    missing = [name for name in graph.op_names if name not in OPERATORS]
    if missing:
        raise UsageError(
            f"the compiled runtime does not have {', '.join(missing)}; it has {', '.join(supported())}. "
            "Use --runtime tflm, or rebuild the model from these operators"
        )


def lower(graph: Graph) -> tuple[Layer, ...]:
    """The graph's operators as kernel calls, in execution order.

    Raises UsageError for an operator, a type or a parameter that the kernels do not take, naming it.
    """
    check_operators(graph)
    layers = []
    if len(graph.operators) > MAX_LAYERS:
        raise UsageError(
            f"the model has {len(graph.operators)} operators and at most {MAX_LAYERS} are supported; unroll no loops"
        )
    constants = activations = 0
    for op in graph.operators:
        for i in (*op.inputs, *op.outputs):
            if i >= 0 and graph.tensors[i].is_variable and op.name not in _STATEFUL:
                raise refuse(
                    op, f"{describe(graph.tensors[i])} is a variable", "use a stateless model or --runtime tflm"
                )
            if i >= 0 and graph.tensors[i].elements == 0:
                raise refuse(op, f"{describe(graph.tensors[i])} is empty", "remove it from the model")
            if i >= 0 and graph.tensors[i].data is None and graph.tensors[i].nbytes > MAX_TENSOR:
                raise refuse(
                    op, f"{describe(graph.tensors[i])} is over {MAX_TENSOR >> 20} MiB", "use a smaller input or batch"
                )
        constants += sum(graph.tensors[i].nbytes for i in op.inputs if i >= 0 and graph.tensors[i].data is not None)
        activations += sum(graph.tensors[i].nbytes for i in op.outputs)
        if max(constants, activations) > MAX_BYTES:
            what = "write over {} MiB of activations" if activations > MAX_BYTES else "read over {} MiB of constants"
            raise refuse(op, f"it and those before {what.format(MAX_BYTES >> 20)}", "no microcontroller does that")
        wide = int16.OPERATORS.get(op.name) if int16.is_wide(graph, op) else None
        layer = (wide or OPERATORS[op.name])(graph, op)
        for t in (graph.tensors[i] for i in layer.inputs):
            if t.data is not None and t.dtype.name not in OPERANDS:
                raise refuse(op, f"{describe(t)} is constant", "let the converter fold what is computed from it")
        layers.append(layer)
    return tuple(layers)
