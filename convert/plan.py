"""A model's needs against a board's budgets, as the report and the error messages say them."""

from collections.abc import Mapping
from typing import Any

from convert import budget
from convert.errors import DoesNotFitError
from convert.graph import Graph


def widest(graph: Graph) -> str:
    """Where the activations need the most memory, for the message that they do not fit."""
    live = [
        sum(graph.tensors[i].nbytes for i, (first, last) in graph.lifetimes.items() if first <= op.index <= last)
        for op in graph.operators
    ]
    op = graph.operators[max(range(len(live)), key=live.__getitem__)]
    shapes = [", output " + "x".join(map(str, graph.tensors[i].shape)) for i in op.outputs[:1]]
    where = f"operator {op.index} ({op.name}{''.join(shapes)})"
    return f"The widest point is {where} with {live[op.index]:,} B of live tensors."


def check(messages: list[str], graph: Graph) -> None:
    """Raise DoesNotFitError if a budget is exceeded."""
    if messages:
        raise DoesNotFitError("\n".join([*messages, widest(graph)]))


def memory(
    ram: budget.Memory, flash: budget.Memory, stack_reserve: int, build: Mapping[str, Any], environment: str
) -> Mapping[str, Any]:
    """The report's memory section as far as two budgets and build.json tell it."""
    need = build["memory"][build["runtimes"][environment]]
    parts = {part.name: part.bytes for part in (*ram.parts, *flash.parts)}
    return {
        "arena": parts["arena"],
        "arena_budget": ram.budget - (ram.used - parts["arena"]),
        "lower_bound": need.get("lower_bound"),
        "plan": need.get("plan"),
        "stack_reserve": stack_reserve,
        "ram_budget": ram.budget,
        "weights": parts["weights"],
        "code": parts.get("code"),
        "vectors": parts["test vectors"],
        "flash_budget": flash.budget,
    }
