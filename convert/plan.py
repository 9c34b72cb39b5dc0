"""A model's needs against a board's budgets, as the report and the error messages say them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convert import budget
from convert.errors import DoesNotFitError
from convert.graph import Graph, Operator


@dataclass(frozen=True)
class Widest:
    """The operator during which the most activations are kept, and their bytes."""

    operator: Operator
    output: tuple[int, ...] | None  # shape of its first output
    bytes: int


def widest_point(graph: Graph) -> Widest:
    """Where the activations need the most memory, each in memory of its own."""
    live = [
        sum(graph.tensors[i].nbytes for i, (first, last) in graph.lifetimes.items() if first <= op.index <= last)
        for op in graph.operators
    ]
    op = graph.operators[max(range(len(live)), key=live.__getitem__)]
    output = graph.tensors[op.outputs[0]].shape if op.outputs else None
    return Widest(op, output, live[op.index])


def widest(graph: Graph) -> str:
    """Where the activations need the most memory, for the message that they do not fit."""
    point = widest_point(graph)
    shape = "" if point.output is None else ", output " + "x".join(map(str, point.output))
    where = f"operator {point.operator.index} ({point.operator.name}{shape})"
    return f"The widest point is {where} with {point.bytes:,} B of live tensors."


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
        "decompression": parts.get("decoded weights"),
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
