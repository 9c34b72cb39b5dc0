"""Resource variables: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE.

A variable is a tensor that lives throughout (convert/variables.py) and that compiled_model_reset gives its first
value, so that handles and initialisation need no code in a run.
"""

from convert.compiled.layer import Layer, Lower, describe, make, output, refuse, tensor
from convert.graph import Graph, Operator


def nothing(_: Graph, op: Operator) -> Layer:
    """VAR_HANDLE and CALL_ONCE of an initialisation that assigns constants to variables.

    Neither leaves code in a run.
    """
    return Layer(op, None, {}, (), ())


def read_variable(graph: Graph, op: Operator) -> Layer:
    """READ_VARIABLE of any type, as a copy."""
    out = output(graph, op)
    return make(graph, op, "kernels_copy", "kernels_copy_params", {"bytes": out.nbytes}, (_variable(graph, op),))


def assign_variable(graph: Graph, op: Operator) -> Layer:
    """ASSIGN_VARIABLE of any type, as a copy; the value is kept for the inferences that follow."""
    value = tensor(graph, op, 1)
    if value.is_variable:
        raise refuse(op, f"{describe(value)} is a variable", "assign a copy of it")
    inputs = (value.index, _variable(graph, op))
    return make(graph, op, "kernels_copy", "kernels_copy_params", {"bytes": value.nbytes}, inputs)


def _variable(graph: Graph, op: Operator) -> int:
    return graph.resources[op.inputs[0]]


OPERATORS: dict[str, Lower] = {
    "VAR_HANDLE": nothing,
    "CALL_ONCE": nothing,
    "READ_VARIABLE": read_variable,
    "ASSIGN_VARIABLE": assign_variable,
}
