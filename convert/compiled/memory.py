"""The static arena: where each tensor and scratch buffer of a model lies, and in which order the layers run.

The graph's side of the plan: lifetimes, which outputs may reach into which inputs, which order needs least. The
geometry is convert/compiled/placement.py's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

from convert.compiled import order as ordering
from convert.compiled import placement
from convert.compiled.layer import Layer, Overlap
from convert.compiled.placement import Buffer, Rule
from convert.graph import Graph

ARENA_ALIGNMENT = 16  # bytes; of the arena itself
ALIGNMENT = placement.ALIGNMENT  # bytes; of what lies in it
_ESTIMATE_SHUFFLES = 20


@dataclass(frozen=True)
class Block:
    """Memory of a tensor, with all that share it, or of a layer's scratch buffer; bytes and places in the order."""

    offset: int
    buffer: Buffer
    tensor: int | None  # None: scratch

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.offset + self.buffer.size


@dataclass(frozen=True)
class ModelPlan:
    """A model's arena: the offset of every tensor that lies in it and of each layer's scratch buffer, if any.

    `order` are numbers of the layers that were given, as they run; `scratch` and the blocks' lifetimes follow it.
    """

    tensors: Mapping[int, int]
    scratch: tuple[int | None, ...]
    arena_bytes: int
    lower_bound: int  # the largest live set: no plan of separate buffers is smaller, in this order
    bound: int  # no plan is smaller, in this order and with what the kernels allow
    order: tuple[int, ...]
    blocks: tuple[Block, ...]
    solver_time: float = 0.0  # CP-SAT's deterministic time; 0: it was not needed

    @property
    def optimal(self) -> bool:
        """Whether the bound proves that the arena is the smallest, for this order of layers."""
        return self.arena_bytes == self.bound

    @property
    def status(self) -> str:
        """The plan's quality in words."""
        return "optimal" if self.optimal else f"feasible (bound {self.bound})"

    def dead(self, place: int) -> list[tuple[int, int]]:
        """Ranges of the arena, (start, end), that hold nothing of use just before the layer at `place` runs.

        After the last layer, `place` is their number: only what persists and the model's outputs are kept.
        """
        kept = [b for b in self.blocks if b.buffer.persistent or b.buffer.first < place <= b.buffer.last]
        if place == 0:
            kept += [b for b in self.blocks if b.buffer.first < 0]
        return _gaps(kept, self.arena_bytes)

    def between_runs(self) -> list[tuple[int, int]]:
        """Ranges of the arena, (start, end), that hold nothing of use between two runs."""
        return _gaps([b for b in self.blocks if b.buffer.persistent], self.arena_bytes)


def _gaps(kept: Sequence[Block], end: int) -> list[tuple[int, int]]:
    gaps, at = [], 0
    for block in sorted(kept, key=lambda b: b.offset):
        if block.offset > at:
            gaps.append((at, block.offset))
        at = max(at, block.end)
    return [*gaps, (at, end)] if at < end else gaps


def roots(layers: Sequence[Layer]) -> dict[int, int]:
    """For every tensor that is another one's memory under a new shape: the tensor that owns the memory."""
    owner: dict[int, int] = {}
    for layer in layers:
        if layer.kernel is None and layer.outputs:
            source = layer.inputs[0]
            owner[layer.outputs[0]] = owner.get(source, source)
    return owner


def lifetimes(graph: Graph, layers: Sequence[Layer], owner: Mapping[int, int]) -> dict[int, Buffer]:
    """Every tensor that owns memory in the arena, with its size and when it is needed.

    Inputs are needed from -1 on, before the first layer, and outputs past the last layer, to its number plus one;
    variables always.
    """
    spans: dict[int, tuple[int, int]] = {}

    def touch(tensor: int, place: int) -> None:
        root = owner.get(tensor, tensor)
        if graph.tensors[root].data is None:
            first, last = spans.get(root, (place, place))
            spans[root] = min(first, place), max(last, place)

    for i in graph.inputs:
        touch(i, -1)
    for place, layer in enumerate(layers):
        for i in (*layer.inputs, *layer.outputs):
            touch(i, place)
    for i in graph.outputs:
        touch(i, len(layers))
    return {
        i: Buffer(graph.tensors[i].nbytes, *spans[i], persistent=graph.tensors[i].is_variable) for i in sorted(spans)
    }


def usable_overlaps(layer: Layer, owner: Mapping[int, int]) -> dict[tuple[int, int], Overlap]:
    """A layer's overlaps by (owner of the input's memory, output), as far as they hold for all that it reads there.

    A tensor that is read twice, also under two shapes, needs a statement for each time; the strictest counts.
    """
    reads = Counter(owner.get(i, i) for i in layer.inputs)
    stated: dict[tuple[int, int], list[Overlap]] = {}
    for o in layer.overlaps:
        stated.setdefault((owner.get(o.input, o.input), o.output), []).append(o)
    return {
        (root, output): Overlap(root, output, max(o.distance for o in found), lcm(*(o.step for o in found)))
        for (root, output), found in stated.items()
        if len(found) >= reads[root]
    }


def _rules(
    layers: Sequence[Layer], owner: Mapping[int, int], buffers: Mapping[int, Buffer], number: Mapping[int, int]
) -> list[Rule]:
    """What may overlap: an output, and an input that nothing needs after this layer."""
    rules = []
    for place, layer in enumerate(layers):
        for (root, output), o in usable_overlaps(layer, owner).items():
            if root not in buffers or buffers[root].persistent or buffers[output].persistent:
                continue
            if buffers[root].last == place and buffers[output].first == place:
                rules.append(Rule(number[root], number[output], o.distance, o.step))
    return rules


def plan(graph: Graph, layers: Sequence[Layer], *, exact: bool = True) -> ModelPlan:
    """Place all tensors that are not constant, inputs and outputs included, and all scratch buffers.

    The layers run in the given order unless another one needs less memory. Without `exact`, the solver is left out and
    the search is short: an estimate from above.
    """
    owner = roots(layers)
    given = tuple(range(len(layers)))
    best = _plan(graph, layers, owner, given, exact)
    other = ordering.least_memory(graph, layers, owner, usable_overlaps)
    if other is not None:
        best = min(best, _plan(graph, layers, owner, other, exact), key=lambda p: p.arena_bytes)
    return best


def _plan(
    graph: Graph, layers: Sequence[Layer], owner: Mapping[int, int], order: tuple[int, ...], exact: bool
) -> ModelPlan:
    ordered = [layers[k] for k in order]
    tensors = lifetimes(graph, ordered, owner)
    number = {i: n for n, i in enumerate(tensors)}
    with_scratch = [k for k, layer in enumerate(ordered) if layer.scratch_bytes]
    buffers = [*tensors.values(), *(Buffer(ordered[k].scratch_bytes, k, k) for k in with_scratch)]
    rules = _rules(ordered, owner, tensors, number)
    shuffles = placement.SHUFFLES if exact else _ESTIMATE_SHUFFLES
    placed = placement.place(buffers, rules, exact=exact, shuffles=shuffles)
    offsets = dict(zip(tensors, placed.offsets, strict=False))
    scratch = dict(zip(with_scratch, placed.offsets[len(tensors) :], strict=True))
    names = [*tensors, *(None for _ in with_scratch)]
    blocks = [Block(at, b, name) for at, b, name in zip(placed.offsets, buffers, names, strict=True)]
    offsets.update({i: offsets[root] for i, root in owner.items() if root in offsets})
    return ModelPlan(
        tensors=offsets,
        scratch=tuple(scratch.get(k) for k in range(len(ordered))),
        arena_bytes=placed.total,
        lower_bound=placement.largest_live_set(buffers),
        bound=placed.bound,
        order=order,
        blocks=tuple(blocks),
        solver_time=placed.solver_time,
    )
