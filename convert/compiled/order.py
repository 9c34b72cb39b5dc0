"""The order of the layers that needs least memory, where the graph branches.

What is live after a set of layers has run depends on the set alone, so that the best order is a path through the sets
that are closed under predecessors, with the smallest maximum along it. They are searched best first, exactly while
they are few; beyond that a beam of the most promising sets is followed. Liberis and Lane, "Neural networks on
microcontrollers: saving memory at inference via operator reordering" (2019), do the same without overlaps.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from convert.compiled.layer import Layer, Overlap
from convert.compiled.placement import align, least_extent
from convert.graph import Graph

_MOST_STEPS = 12_000  # of one layer, in each search
_BEAM = 24
_MOST_LAYERS = 300  # each step looks at all of them

Overlaps = Callable[[Layer, Mapping[int, int]], Mapping[tuple[int, int], Overlap]]


@dataclass
class _Memory:
    """A tensor with all that share its memory; layers are bits of a mask."""

    size: int
    made_by: int = 0  # 0: it is an input of the model
    read_by: int = 0
    kept: bool = False  # an output of the model


class _Search:
    """Layers as nodes of a graph, with what running each needs and frees."""

    def __init__(self, graph: Graph, layers: Sequence[Layer], owner: Mapping[int, int], overlaps: Overlaps) -> None:
        self.count = len(layers)
        self.before = [0] * self.count
        self.memory: dict[int, _Memory] = {}
        self.scratch = [align(layer.scratch_bytes) for layer in layers]
        self.reads: list[list[int]] = [[] for _ in layers]
        self.makes: list[list[int]] = [[] for _ in layers]
        self.overlaps = [list(overlaps(layer, owner).values()) for layer in layers]
        makers: dict[int, int] = {}
        state = 0  # the layer before this one that touches what is kept between runs

        def memory(tensor: int) -> _Memory:
            root = owner.get(tensor, tensor)
            return self.memory.setdefault(root, _Memory(align(graph.tensors[root].nbytes)))

        def in_arena(tensor: int) -> bool:
            t = graph.tensors[owner.get(tensor, tensor)]
            return t.data is None and not t.is_variable

        for i in graph.inputs:
            memory(i)
        for k, layer in enumerate(layers):
            bit = 1 << k
            for i in dict.fromkeys(layer.inputs):
                self.before[k] |= makers.get(i, 0)
                if in_arena(i):
                    memory(i).read_by |= bit
                    self.reads[k].append(owner.get(i, i))
            for i in layer.outputs:
                makers[i] = bit
                if in_arena(i) and i not in owner:
                    memory(i).made_by = bit
                    self.makes[k].append(i)
            if _has_effect(graph, layer):
                self.before[k] |= state
                state = bit
        for i in graph.outputs:
            if in_arena(i):
                memory(i).kept = True

    def run(self, k: int, done: int, live: int) -> tuple[int, int]:
        """Layer k after the layers `done`, with `live` bytes needed before: (bytes at work, bytes live after)."""
        after = done | 1 << k
        ends = {i for i in self.reads[k] if not self.memory[i].kept and not self.memory[i].read_by & ~after}
        work = live + sum(self.memory[i].size for i in self.makes[k]) + self.scratch[k]
        saving = [
            (o.output, self.memory[o.input].size, self.memory[o.output].size, o.distance)
            for o in self.overlaps[k]
            if o.input in ends
        ]
        kept = sum(m.size for i in self.makes[k] if (m := self.memory[i]).read_by or m.kept)
        return least_extent(work, saving), live + kept - sum(self.memory[i].size for i in ends)

    def ready(self, done: int) -> Iterator[int]:
        """Layers that may run next."""
        return (k for k in range(self.count) if not done >> k & 1 and not self.before[k] & ~done)

    def start(self) -> int:
        """Bytes live before the first layer."""
        return sum(m.size for m in self.memory.values() if not m.made_by)

    def peak(self, order: Sequence[int]) -> int:
        """The most bytes at work in an order."""
        done, live, peak = 0, self.start(), 0
        for k in order:
            work, live = self.run(k, done, live)
            done, peak = done | 1 << k, max(peak, work)
        return peak

    def best_first(self, limit: int) -> tuple[tuple[int, ...] | None, bool]:
        """An order with the least peak if that is below `limit`; and whether the search came to an end."""
        came: dict[int, tuple[int, int]] = {0: (0, -1)}
        peaks = {0: 0}
        heap = [(0, 0, 0, self.start())]
        finished: set[int] = set()
        everything = (1 << self.count) - 1
        steps = 0
        while heap and steps < _MOST_STEPS:
            peak, _, done, live = heapq.heappop(heap)
            if done in finished:
                continue
            if done == everything:
                return self._path(came), True
            finished.add(done)
            for k in self.ready(done):
                steps += 1
                work, then = self.run(k, done, live)
                after, most = done | 1 << k, max(peak, work)
                if most < limit and most < peaks.get(after, limit):
                    peaks[after], came[after] = most, (done, k)
                    heapq.heappush(heap, (most, -after.bit_count(), after, then))
        return None, not heap

    def _path(self, came: Mapping[int, tuple[int, int]]) -> tuple[int, ...]:
        path = []
        done = (1 << self.count) - 1
        while done:
            done, k = came[done]
            path.append(k)
        return tuple(reversed(path))

    def beam(self, limit: int) -> tuple[int, ...] | None:
        """An order with a peak below `limit`, if one is found among the most promising."""
        states: dict[int, tuple[int, int, tuple[int, ...]]] = {0: (0, self.start(), ())}
        steps = 0
        for _ in range(self.count):
            found: dict[int, tuple[int, int, tuple[int, ...]]] = {}
            for done, (peak, live, path) in states.items():
                for k in self.ready(done):
                    work, then = self.run(k, done, live)
                    option = max(peak, work), then, (*path, k)
                    after = done | 1 << k
                    if option[0] < limit and (after not in found or option < found[after]):
                        found[after] = option
            steps += len(found)
            width = _BEAM if steps < _MOST_STEPS else 1
            states = dict(sorted(found.items(), key=lambda item: item[1])[:width])
        return next((path for _, _, path in states.values()), None)


def _has_effect(graph: Graph, layer: Layer) -> bool:
    """Whether a layer touches what is kept between runs; such layers stay in their order."""
    touched = (*layer.op.inputs, *layer.op.outputs, *layer.inputs, *layer.outputs)
    tensors = [graph.tensors[i] for i in touched if i >= 0]
    return layer.op.name == "CALL_ONCE" or any(t.is_variable or t.is_resource for t in tensors)


def least_memory(
    graph: Graph, layers: Sequence[Layer], owner: Mapping[int, int], overlaps: Overlaps
) -> tuple[int, ...] | None:
    """An order of the layers whose estimated need of memory is smaller than in the given one; None if none is found.

    `overlaps` gives a layer's usable overlaps. The estimate leaves out how buffers fit together.
    """
    if len(layers) > _MOST_LAYERS:
        return None
    search = _Search(graph, layers, owner, overlaps)
    limit = search.peak(range(len(layers)))
    found, ended = search.best_first(limit)
    return found if ended else search.beam(limit)
