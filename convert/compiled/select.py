"""Which kernel runs a layer, where several can: the fastest, or the smallest, that the arena has room for."""

from collections.abc import Callable, Mapping, Sequence

from convert.compiled import memory, placement
from convert.compiled.layer import Layer, Overlap
from convert.graph import Graph

# What speed may cost: the arena may become larger than with the leanest kernels by this part, or by these bytes.
ARENA_SLACK = 0.2
ARENA_SLACK_BYTES = 1024
# What size may cost: a kernel that saves this many cycles in one inference may take a byte of flash more.
CYCLES_A_BYTE = 500


def arena_limit(lean: int) -> float:
    """What a layer may need where the leanest kernels need `lean` bytes."""
    return lean + max(ARENA_SLACK * lean, ARENA_SLACK_BYTES)


def fastest(graph: Graph, options: Sequence[Sequence[Layer]], cycles: Callable[[Layer], float]) -> tuple[Layer, ...]:
    """For every layer the option with the fewest cycles, under a limit on the memory that it needs while it runs.

    The limit is the largest need of any layer, each with its leanest option, and some more: a kernel that takes
    scratch memory where there is plenty is free, and one that would make the arena much larger is not taken.
    """
    # What a layer without a choice costs is not known, and need not be.
    return tuple(min(given, key=cycles) if len(given) > 1 else given[0] for given in _within_limit(graph, options))


def smallest(
    graph: Graph,
    options: Sequence[Sequence[Layer]],
    code: Callable[[Layer], Mapping[str, float]],
    cycles: Callable[[Layer], float],
) -> tuple[Layer, ...]:
    """For every layer the option that leaves the least flash, constants and code together.

    Time has a price, too, or nobody would want the result: CYCLES_A_BYTE saved in one inference outweigh a byte.
    `code` gives the sizes of the functions that an option needs, by name: what two layers share counts once. Layers
    are decided one after the other, given the others, until nothing changes; once from the first options on and once
    from each kernel wherever it is one, and the best end is taken. The arena is limited as in `fastest`.
    """
    allowed = _within_limit(graph, options)
    free = [k for k, given in enumerate(allowed) if len(given) > 1]

    def price(chosen: Sequence[Layer]) -> float:
        functions: dict[str, float] = {}
        for k in free:
            functions.update(code(chosen[k]))
        constants = sum(chosen[k].weight_bytes for k in free)
        return sum(functions.values()) + constants + sum(cycles(chosen[k]) for k in free) / CYCLES_A_BYTE

    def improved(chosen: list[Layer]) -> list[Layer]:
        before = None
        while before != chosen:
            before = list(chosen)
            for k in free:
                chosen[k] = min(allowed[k], key=lambda layer: price([*chosen[:k], layer, *chosen[k + 1 :]]))
        return chosen

    names = {layer.kernel: None for k in free for layer in allowed[k]}
    starts = [
        [next((layer for layer in given if layer.kernel == name), given[0]) for given in allowed]
        for name in (None, *names)
    ]
    ends = [improved(start) for start in starts]
    prices = [price(end) for end in ends]
    return tuple(ends[prices.index(min(prices))])


def _within_limit(graph: Graph, options: Sequence[Sequence[Layer]]) -> list[list[Layer]]:
    """The options that the arena's limit allows, at least one a layer."""
    needs = _needs(graph, options)
    limit = arena_limit(max(min(need) for need in needs))
    return [
        [layer for layer, size in zip(given, need, strict=True) if size <= limit]
        for given, need in zip(options, needs, strict=True)
    ]


def _needs(graph: Graph, options: Sequence[Sequence[Layer]]) -> list[list[int]]:
    """Bytes that are needed while each layer runs with each of its options.

    Outputs lie over inputs as far as the kernel allows, and nothing is lost in gaps: a bound from below.
    """
    layers = [given[0] for given in options]
    owner = memory.roots(layers)
    buffers = memory.lifetimes(graph, layers, owner)
    needs = []
    for place, given in enumerate(options):
        live = {i: b for i, b in buffers.items() if b.persistent or b.first <= place <= b.last}
        kept = sum(placement.align(b.size) for b in live.values())
        needs.append([_need(live, place, kept, layer, memory.usable_overlaps(layer, owner)) for layer in given])
    return needs


def _need(
    live: Mapping[int, placement.Buffer],
    place: int,
    kept: int,
    layer: Layer,
    overlaps: Mapping[tuple[int, int], Overlap],
) -> int:
    reaches = [
        (o.output, placement.align(live[o.input].size), placement.align(live[o.output].size), o.distance)
        for o in overlaps.values()
        if o.input in live and live[o.input].last == place and not live[o.input].persistent
    ]
    return placement.least_extent(kept, reaches) + placement.align(layer.scratch_bytes)
