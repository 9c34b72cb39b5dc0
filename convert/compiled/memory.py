"""The static arena: where each tensor and scratch buffer lies.

Offline placement of buffers with known lifetimes ("dynamic storage allocation"); greedy by size is the method of
Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020). Several orders are tried and the
smallest arena is taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convert.compiled.layer import Layer
from convert.graph import Graph

ALIGNMENT = 16


def align(size: int) -> int:
    """`size` in bytes, rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Buffer:
    """Memory of `size` bytes, needed from operator `first` to operator `last`, both included."""

    size: int
    first: int
    last: int

    def meets(self, other: "Buffer") -> bool:
        """Whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Offsets of buffers in the arena, in the order given to `place`; sizes in bytes."""

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound: int  # the largest sum of (aligned) buffers needed at one time; no plan without overlap is smaller


_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.size, b.first),
    lambda b: (b.first, -b.size),
    lambda b: (b.last, -b.size),
    lambda b: (-(b.last - b.first), -b.size),
    lambda b: (-(b.last - b.first + 1) * b.size, b.first),
)


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Bytes of the largest live set."""
    times = {b.first for b in buffers}
    return max((sum(align(b.size) for b in buffers if b.first <= t <= b.last) for t in times), default=0)


def place(buffers: Sequence[Buffer]) -> Plan:
    """Place buffers so that no two that are needed at the same time overlap."""
    plans = [_first_fit(buffers, order) for order in _ORDERS]
    arena, offsets = min(plans, key=lambda plan: plan[0])
    return Plan(offsets, arena, lower_bound(buffers))


def _first_fit(buffers: Sequence[Buffer], order: Callable[[Buffer], tuple[int, ...]]) -> tuple[int, tuple[int, ...]]:
    """Put each buffer, in the given order, into the lowest gap that holds it; return (arena, offsets)."""
    offsets: dict[int, int] = {}
    for i in sorted(range(len(buffers)), key=lambda i: (order(buffers[i]), i)):
        taken = sorted((offsets[j], align(buffers[j].size)) for j in offsets if buffers[i].meets(buffers[j]))
        at = 0
        for start, size in taken:
            if at + align(buffers[i].size) <= start:
                break
            at = max(at, start + size)
        offsets[i] = at
    arena = max((offsets[i] + align(b.size) for i, b in enumerate(buffers)), default=0)
    return arena, tuple(offsets[i] for i in range(len(buffers)))


@dataclass(frozen=True)
class ModelPlan:
    """A model's arena: the offset of every tensor that lies in it and of each layer's scratch buffer, if any."""

    tensors: dict[int, int]
    scratch: tuple[int | None, ...]
    arena_bytes: int
    lower_bound: int


def roots(layers: Sequence[Layer]) -> dict[int, int]:
    """For every tensor that is another one's memory under a new shape: the tensor that owns the memory."""
    owner: dict[int, int] = {}
    for layer in layers:
        if layer.kernel is None and layer.outputs:
            source = layer.inputs[0]
            owner[layer.outputs[0]] = owner.get(source, source)
    return owner


def plan(graph: Graph, layers: Sequence[Layer]) -> ModelPlan:
    """Place all tensors that are not constant, inputs and outputs included, and all scratch buffers."""
    owner = roots(layers)
    spans: dict[int, tuple[int, int]] = {}
    for i, (first, last) in graph.lifetimes.items():
        root = owner.get(i, i)
        if graph.tensors[root].data is not None:
            continue
        earlier = spans.get(root, (first, last))
        spans[root] = min(first, earlier[0]), max(last, earlier[1])
    names = sorted(spans)
    buffers = [Buffer(graph.tensors[i].nbytes, *spans[i]) for i in names]
    with_scratch = [k for k, layer in enumerate(layers) if layer.scratch_bytes]
    buffers += [Buffer(layers[k].scratch_bytes, k, k) for k in with_scratch]
    placed = place(buffers)
    offsets = dict(zip(names, placed.offsets, strict=False))
    scratch = dict(zip(with_scratch, placed.offsets[len(names) :], strict=True))
    for i in graph.lifetimes:
        if owner.get(i, i) in offsets:
            offsets[i] = offsets[owner.get(i, i)]
    return ModelPlan(offsets, tuple(scratch.get(k) for k in range(len(layers))), placed.arena_bytes, placed.lower_bound)
