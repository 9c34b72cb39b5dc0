"""Proof of the memory plan: whatever the plan says is of no more use is overwritten before each layer runs.

The test programs (host, device) do so whenever they trace the layers: a plan that takes memory too early, or a kernel
that still reads what its output has covered, shows as a difference.
"""

from convert import emit
from convert.compiled.model import CompiledModel


def render(compiled: CompiledModel) -> str:
    """The header poison.h, with the ranges of the arena to overwrite by the number of outputs traced so far."""
    plan = compiled.plan
    ranges: dict[int, list[tuple[int, int]]] = {}
    traced = 0
    for place, layer in enumerate(compiled.lowered):
        # After a layer without outputs nothing is traced; its successor must do with what was overwritten before.
        ranges.setdefault(traced, plan.dead(place))
        traced += len(layer.outputs)
    ranges.setdefault(traced, plan.dead(len(compiled.lowered)))
    context = {"ranges": [(n, *r) for n, found in ranges.items() for r in found], "between": plan.between_runs()}
    return emit.render("compiled/poison.h.j2", context)
