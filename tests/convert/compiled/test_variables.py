"""Resource variables: kept from one inference to the next, and started as TFLite Micro starts them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from models import Op, T, add_subgraph, model, pack, schema
from tflite_builder import assert_exact, needs_compiler, vectors

from convert import golden, graph
from convert.compiled import compile_model, host
from convert.errors import UsageError

pytestmark = needs_compiler

SHAPE = (1, 6)
INITIAL = np.arange(6) * 21 - 60


def handle(tensor: int, name: str = "sum") -> Op:
    return Op("VAR_HANDLE", [], [tensor], "VarHandleOptions", {"sharedName": name.encode()})


def read(variable: int, to: int) -> Op:
    return Op("READ_VARIABLE", [variable], [to], "ReadVariableOptions")


def assign(variable: int, value: int) -> Op:
    return Op("ASSIGN_VARIABLE", [variable, value], [], "AssignVariableOptions")


def adder(once: bool = True, initial: Any = INITIAL) -> Any:
    """y = x + sum; sum = y, with the sum in a variable that starts with `initial`."""
    tensors = [
        T(SHAPE, scale=0.1, zero_point=-5, name="x"),
        T((), "resource", None),
        T(SHAPE, scale=0.2, zero_point=7),
        T(SHAPE, scale=0.2, zero_point=7, name="y"),
    ]
    ops = [Op("CALL_ONCE", [], [], "CallOnceOptions", {"initSubgraphIndex": 1})] if once else []
    ops += [handle(1), read(1, 2), Op("ADD", [0, 2], [3], "AddOptions"), assign(1, 3)]
    m = model(tensors, ops, [0], [3])
    if once:
        constant = T(SHAPE, scale=0.2, zero_point=7, data=initial)
        add_subgraph(m, [T((), "resource", None), constant], [handle(0), assign(0, 1)])
    return m


def check(g: graph.Graph, n: int = 5) -> np.ndarray:
    assert_exact(g, vectors(g, n), sanitize=True)
    return golden.run(g, vectors(g, n)).outputs


def test_a_variable_is_kept_and_starts_with_its_constant() -> None:
    g = graph.load(pack(adder()))
    check(g)
    assert g.has_state and len(g.tensors) == 5 and g.tensors[4].name == "sum"
    # The same input again gives another output.
    x = vectors(g, 1)
    repeated = golden.run(g, np.repeat(x, 3, axis=0)).outputs
    assert (repeated[0] != repeated[1]).any()
    np.testing.assert_array_equal(host.run(compile_model(g), np.repeat(x, 3, axis=0))[0], repeated)
    # Apart from each other all start with the constant.
    apart = golden.run(g, np.repeat(x, 3, axis=0), apart=True).outputs
    np.testing.assert_array_equal(apart, np.repeat(repeated[:1], 3, axis=0))


def test_without_a_constant_a_variable_starts_at_the_zero_point() -> None:
    g = graph.load(pack(adder(once=False)))
    check(g)
    source = compile_model(g).render()["compiled_model.c"]
    assert "memset(at(arena, " in source and ", 7, 6);" in source
    other = graph.load(pack(adder(initial=np.full(6, 7))))
    np.testing.assert_array_equal(check(g), check(other))


def test_zero_points_of_wider_types_are_taken_byte_by_byte() -> None:
    """TFLite Micro fills the memory of an int16 variable with the low byte of its zero point; a ring of two cells."""
    tensors = [T((1, 4), "i2", scale=0.1, zero_point=300, name="x"), T((), "resource", None), T((), "resource", None)]
    tensors += [T((1, 4), "i2", scale=0.1, zero_point=300) for _ in range(2)]
    ops = [handle(1, "a"), handle(2, "b"), read(2, 3), read(1, 4), assign(2, 4), assign(1, 0)]
    check(graph.load(pack(model(tensors, ops, [0], [3, 4]))))


def test_two_handles_of_one_variable() -> None:
    m = adder()
    tensors = [T((), "resource", None)]
    sub = m.subgraphs[0]
    other = model(tensors, [handle(0)], [], [])
    sub.tensors.append(other.subgraphs[0].tensors[0])
    code = next(i for i, c in enumerate(m.operatorCodes) if c.builtinCode == schema.BuiltinOperator.VAR_HANDLE)
    sub.operators[3:3] = other.subgraphs[0].operators
    sub.operators[3].opcodeIndex = code
    sub.operators[3].outputs = [4]
    sub.operators[-1].inputs = [4, 3]
    g = graph.load(pack(m))
    assert set(g.resources.values()) == {5}
    check(g)


def test_a_model_without_state_resets_nothing() -> None:
    tensors = [T((1, 4)), T((1, 4))]
    g = graph.load(pack(model(tensors, [Op("RELU", [0], [1])], [0], [1])))
    source = compile_model(g).render()["compiled_model.c"]
    assert not g.has_state
    assert "(void)arena;" in source and "memset" not in source and "string.h" not in source


def _named_subgraph(index: int) -> Callable[[Any], None]:
    def damage(m: Any) -> None:
        m.subgraphs[0].operators[0].builtinOptions.initSubgraphIndex = index

    damage.__name__ = f"subgraph_{index}"
    return damage


def _cycle(m: Any) -> None:
    m.subgraphs[1].operators.append(m.subgraphs[0].operators[0])


def _unnamed(m: Any) -> None:
    add_subgraph(m, [], [])


def _computed(m: Any) -> None:
    m.subgraphs[1].tensors[1].buffer = 0


def _foreign_operator(m: Any) -> None:
    m.subgraphs[1].operators.append(m.subgraphs[0].operators[3])
    m.subgraphs[1].operators[-1].inputs, m.subgraphs[1].operators[-1].outputs = [1, 1], [1]


def _other_shape(m: Any) -> None:
    m.subgraphs[0].tensors[2].shape = [1, 5]


def _other_type_assigned(m: Any) -> None:
    m.subgraphs[0].tensors[3].type = 7  # INT16


def _value_as_handle(m: Any) -> None:
    m.subgraphs[0].operators[-1].inputs = [2, 3]


def _handle_as_value(m: Any) -> None:
    m.subgraphs[0].operators[3].inputs = [1, 2]


def _handle_as_output(m: Any) -> None:
    m.subgraphs[0].outputs = [3, 1]


def _no_handle(m: Any) -> None:
    del m.subgraphs[0].operators[1]


def _no_options(m: Any) -> None:
    m.subgraphs[0].operators[0].builtinOptions = None
    m.subgraphs[0].operators[0].builtinOptionsType = 0


def _no_name(m: Any) -> None:
    m.subgraphs[0].operators[1].builtinOptions.sharedName = None


def _one_input(m: Any) -> None:
    m.subgraphs[0].operators[-1].inputs = [1]


def _missing_input(m: Any) -> None:
    m.subgraphs[0].operators[-1].inputs = [1, -1]


def _late(m: Any) -> None:
    ops = m.subgraphs[0].operators
    ops.append(ops.pop(0))


def _never_assigned(m: Any) -> None:
    m.subgraphs[0].operators.pop()
    m.subgraphs[1].operators[0].builtinOptions.sharedName = b"other"


def _loop(m: Any) -> None:
    loop = model([T(SHAPE)], [Op("WHILE", [0], [], "WhileOptions", {"condSubgraphIndex": 1})], [0], [0])
    m.operatorCodes.append(loop.operatorCodes[0])
    m.subgraphs[0].operators.insert(0, loop.subgraphs[0].operators[0])
    m.subgraphs[0].operators[0].opcodeIndex = len(m.operatorCodes) - 1


REFUSED: dict[Callable[[Any], None], str] = {
    _named_subgraph(0): "names subgraph 0 of 2",
    _named_subgraph(2): "names subgraph 2 of 2",
    _named_subgraph(-1): "names subgraph -1 of 2",
    _cycle: r"operator 2 \(CALL_ONCE\) of subgraph 1: an initialisation assigns constants",
    _unnamed: "3 subgraphs and nothing runs subgraph 2",
    _computed: "before any operator writes it|not constant",
    _foreign_operator: "of subgraph 1|written|writes",
    _other_shape: r"variable 'sum' is int8 \[1, 6\] and here int8 \[1, 5\]|shape",
    _other_type_assigned: "a variable keeps one type and shape",
    _value_as_handle: "tensor 2 where a variable is expected",
    _handle_as_value: "tensor 1 where a value is expected",
    _handle_as_output: "stands for a variable and cannot be an input or output",
    _no_handle: "reads tensor 1",
    _no_options: "names subgraph -1|lacks the option",
    _no_name: "has no name",
    _one_input: "has 1 inputs and 0 outputs",
    _missing_input: "uses tensor -1 where a value is expected",
    _late: "after its first use",
    _never_assigned: "variable 'sum' is never assigned",
    _loop: "operator 0 is WHILE, and control flow is not supported",
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda f: f.__name__)
def test_refused(damage: Callable[[Any], None]) -> None:
    m = adder()
    damage(m)
    with pytest.raises(UsageError, match=REFUSED[damage]):
        graph.load(pack(m))
