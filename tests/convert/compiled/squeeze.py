"""Plans in which every output lies as far over its input as the kernel allows, or a little further."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import lcm

from convert.compiled import memory
from convert.compiled.layer import Overlap
from convert.compiled.model import CompiledModel
from convert.compiled.placement import Buffer


@dataclass(frozen=True)
class Pair:
    """An output over an input that its layer, at `place`, consumes; bytes."""

    place: int
    overlap: Overlap
    unit: int  # what the difference of their addresses is a multiple of
    difference: int  # the output starts this much before the input


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def pairs(compiled: CompiledModel, tensors: dict[int, Buffer], less: int) -> Iterator[Pair]:
    """All that may overlap, at the smallest difference; with `less`, that many units below it."""
    owner = memory.roots(compiled.lowered)
    for place, layer in enumerate(compiled.lowered):
        for (root, output), o in memory.usable_overlaps(layer, owner).items():
            before, after = tensors.get(root), tensors[output]
            if before is None or before.persistent or after.persistent:
                continue
            if before.last != place or after.first != place or o.distance >= after.size:
                continue
            element = max(compiled.graph.tensors[i].dtype.itemsize for i in (root, output))
            unit = lcm(o.step, element if compiled.target == "portable" else memory.ALIGNMENT)
            difference = _up(max(o.distance, -before.size), unit)
            if less and difference <= _up(-before.size, unit):
                continue  # it may lie anywhere: nothing is too far
            yield Pair(place, o, unit, difference - less * unit)


def squeezed(compiled: CompiledModel, less: int = 0) -> CompiledModel:
    """The model with every output at the exact distance over its input, wherever that leaves the rest in peace.

    Groups of buffers that overlap one another have memory of their own. With `less`, outputs start so many units too
    late.
    """
    graph, layers = compiled.graph, compiled.lowered
    owner = memory.roots(layers)
    tensors = memory.lifetimes(graph, layers, owner)
    width = {i: graph.tensors[i].dtype.itemsize for i in tensors}
    group = {i: {i: 0} for i in tensors}  # offsets of the buffers that are tied together
    for pair in pairs(compiled, tensors, less):
        upper, lower = group[pair.overlap.input], group[pair.overlap.output]
        if upper is lower:
            continue
        shift = upper[pair.overlap.input] - pair.difference - lower[pair.overlap.output]
        moved = {i: at + shift for i, at in lower.items()}
        tied = {pair.overlap.input, pair.overlap.output}
        right = (
            (a + tensors[i].size <= b or b + tensors[j].size <= a or {i, j} == tied or not tensors[i].meets(tensors[j]))
            and (a - b) % min(width[i], width[j]) == 0
            for i, a in upper.items()
            for j, b in moved.items()
        )
        if all(right):
            upper.update(moved)
            group.update(dict.fromkeys(moved, upper))
    offsets: dict[int, int] = {}
    end = 0
    for members in {id(g): g for g in group.values()}.values():
        base = end - min(members.values())
        # Of bytes only the first is aligned.
        base += -(base + members[min(members, key=lambda i: (-width[i], tensors[i].first))]) % memory.ARENA_ALIGNMENT
        offsets.update({i: base + at for i, at in members.items()})
        end = max(offsets[i] + tensors[i].size for i in members)
    scratch: list[int | None] = []
    blocks = [memory.Block(offsets[i], b, i) for i, b in tensors.items()]
    for place, layer in enumerate(layers):
        at = _up(end, memory.ARENA_ALIGNMENT)
        scratch.append(at if layer.scratch_bytes else None)
        if layer.scratch_bytes:
            blocks.append(memory.Block(at, Buffer(layer.scratch_bytes, place, place), None))
            end = at + layer.scratch_bytes
    offsets.update({i: offsets[root] for i, root in owner.items() if root in offsets})
    plan = replace(
        compiled.plan, tensors=offsets, scratch=tuple(scratch), arena_bytes=_up(end, 16), blocks=tuple(blocks)
    )
    return replace(compiled, plan=plan)


def overlapped(compiled: CompiledModel, less: int = 0) -> list[int]:
    """Places of the layers whose output overlaps an input as `squeezed` would have it."""
    tensors = memory.lifetimes(compiled.graph, compiled.lowered, memory.roots(compiled.lowered))
    offsets = squeezed(compiled, less).plan.tensors
    return sorted(
        {
            p.place
            for p in pairs(compiled, tensors, less)
            if offsets[p.overlap.input] - offsets[p.overlap.output] == p.difference
        }
    )
