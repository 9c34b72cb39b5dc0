"""From the graph to a list of layers, one an operator."""

from convert.compiled import activation, conv, elementwise, pool, quantize, reshape, transpose_conv
from convert.compiled.layer import Layer, Lower, describe, refuse
from convert.errors import UsageError
from convert.graph import Graph

# An operator family adds its operators here; see docs/adding_an_operator.md.
OPERATORS: dict[str, Lower] = {
    name: lower
    for family in (activation, conv, elementwise, pool, quantize, reshape, transpose_conv)
    for name, lower in family.OPERATORS.items()
}


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
    for op in graph.operators:
        for i in (*op.inputs, *op.outputs):
            if i >= 0 and graph.tensors[i].is_variable:
                raise refuse(
                    op, f"{describe(graph.tensors[i])} is a variable", "use a stateless model or --runtime tflm"
                )
            if i >= 0 and graph.tensors[i].elements == 0:
                raise refuse(op, f"{describe(graph.tensors[i])} is empty", "remove it from the model")
        layers.append(OPERATORS[op.name](graph, op))
    return tuple(layers)
