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

# Sizes that the kernels' 32-bit places hold with room to spare.
MAX_BYTES = 1 << 26
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
    constants = 0
    for op in graph.operators:
        for i in (*op.inputs, *op.outputs):
            if i >= 0 and graph.tensors[i].is_variable and op.name not in _STATEFUL:
                raise refuse(
                    op, f"{describe(graph.tensors[i])} is a variable", "use a stateless model or --runtime tflm"
                )
            if i >= 0 and graph.tensors[i].elements == 0:
                raise refuse(op, f"{describe(graph.tensors[i])} is empty", "remove it from the model")
            if i >= 0 and graph.tensors[i].nbytes > MAX_BYTES:
                raise refuse(
                    op, f"{describe(graph.tensors[i])} is over {MAX_BYTES >> 20} MiB", "no microcontroller holds it"
                )
        constants += sum(graph.tensors[i].nbytes for i in op.inputs if i >= 0 and graph.tensors[i].data is not None)
        if constants > MAX_BYTES:
            raise refuse(
                op, f"it and those before read over {MAX_BYTES >> 20} MiB of constants", "no microcontroller holds them"
            )
        wide = int16.OPERATORS.get(op.name) if int16.is_wide(graph, op) else None
        layer = (wide or OPERATORS[op.name])(graph, op)
        for t in (graph.tensors[i] for i in layer.inputs):
            if t.data is not None and t.dtype.name not in OPERANDS:
                raise refuse(op, f"{describe(t)} is constant", "let the converter fold what is computed from it")
        layers.append(layer)
    return tuple(layers)
