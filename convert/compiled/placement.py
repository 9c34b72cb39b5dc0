"""Where buffers with known lifetimes lie in one block of memory, exactly or nearly the smallest.

"Dynamic storage allocation" with one addition: a buffer may reach into another one that is live at the same time, as
far as a `Rule` allows (an output over the input that its layer consumes). First fit in several orders, then in random
ones (the method of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, widened for
rules) gives a plan; where it is not as small as a bound says, CP-SAT of OR-tools improves it or proves it. All limits
are counted in steps, not in seconds: the same buffers give the same plan on every machine.
"""

import random
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import combinations
from math import lcm

ALIGNMENT = 4  # bytes; the widest that a kernel reads in one go is a word, and LDRD wants no more than its alignment
SHUFFLES = 300
_FIRST_SHUFFLES = 30  # where CP-SAT follows, which soon proves what they look for in vain
_MOST_SHUFFLED = 200_000  # pairs, in all shuffles together
_MOST_PAIRS = 4000  # for CP-SAT; a network of 100 layers has some hundred
DETERMINISTIC_TIME = 4.0  # CP-SAT's own measure of work, about a second each


def align(size: int) -> int:
    """`size` in bytes, rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Buffer:
    """Memory of `size` bytes, needed from layer `first` to layer `last` of the execution order, both included.

    A persistent buffer keeps its contents between runs: it is needed always.
    """

    size: int
    first: int
    last: int
    persistent: bool = False

    def meets(self, other: "Buffer") -> bool:
        """Whether both are needed at the same time."""
        return self.persistent or other.persistent or (self.first <= other.last and other.first <= self.last)


@dataclass(frozen=True)
class Rule:
    """Buffer `output` may start at least `distance` bytes before buffer `input`, by a multiple of `step` bytes."""

    input: int
    output: int
    distance: int
    step: int = 1


@dataclass(frozen=True)
class Placement:
    """Offsets of buffers, in the order given to `place`; sizes in bytes.

    No placement is smaller than `bound`; `solver_time` is CP-SAT's deterministic time, 0 where it was not needed.
    """

    offsets: tuple[int, ...]
    total: int
    bound: int
    solver_time: float = 0.0

    @property
    def optimal(self) -> bool:
        """Whether no smaller placement exists."""
        return self.total == self.bound


def largest_live_set(buffers: Sequence[Buffer]) -> int:
    """Bytes that are needed at one time, at most: no placement without overlaps is smaller."""
    times = {b.first for b in buffers}
    return max(
        (sum(align(b.size) for b in buffers if b.persistent or b.first <= t <= b.last) for t in times), default=0
    )


@dataclass(frozen=True)
class _Reach:
    """A rule in units of the alignment: the input's start less the output's is a multiple of `step`, from `low` on."""

    low: int
    step: int

    def allows(self, difference: int) -> bool:
        return difference >= self.low and difference % self.step == 0


class _Problem:
    """Buffers and rules in units of the alignment; persistent ones are left out: they lie below everything else.

    That costs nothing. Take them out of any placement and close the gaps: no other buffer contained them, two that did
    not overlap still do not, and two that did had nothing between their starts.
    """

    def __init__(self, buffers: Sequence[Buffer], rules: Sequence[Rule]) -> None:
        self.chosen = [i for i, b in enumerate(buffers) if not b.persistent]
        self.buffers = [buffers[i] for i in self.chosen]
        self.sizes = [align(b.size) // ALIGNMENT for b in self.buffers]
        number = {i: n for n, i in enumerate(self.chosen)}
        self.reaches: dict[tuple[int, int], _Reach] = {}  # (input, output)
        for rule in rules:
            if rule.input in number and rule.output in number:
                self._add(number[rule.input], number[rule.output], rule)
        self.neighbours: list[list[int]] = [[] for _ in self.buffers]
        for i, j in self.pairs:
            self.neighbours[i].append(j)
            self.neighbours[j].append(i)

    def _add(self, i: int, j: int, rule: Rule) -> None:
        step = lcm(rule.step, ALIGNMENT) // ALIGNMENT
        low = -(-rule.distance // ALIGNMENT)
        self.reaches[i, j] = _Reach(-(-low // step) * step, step)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Buffers (i, j), i < j, whose offsets depend on one another."""
        return [
            (i, j)
            for i, j in combinations(range(len(self.buffers)), 2)
            if self.buffers[i].meets(self.buffers[j]) and not self.free(i, j) and not self.free(j, i)
        ]

    def free(self, i: int, j: int) -> bool:
        """Whether output j may lie anywhere over input i."""
        reach = self.reaches.get((i, j))
        return reach is not None and reach.step == 1 and reach.low <= -self.sizes[i]

    def fits(self, i: int, at: int, j: int, other: int) -> bool:
        """Whether neighbours i at `at` and j at `other` are disjoint, or overlap by a rule."""
        if at + self.sizes[i] <= other or other + self.sizes[j] <= at:
            return True
        reach = self.reaches.get((i, j))
        if reach is not None and reach.allows(at - other):
            return True
        reach = self.reaches.get((j, i))
        return reach is not None and reach.allows(other - at)

    def bound(self) -> int:
        """A lower bound from single moments: what is live together, an output over one of its inputs at the best."""
        return max((self._bound_at(t) for t in {b.first for b in self.buffers}), default=0)

    def _bound_at(self, t: int) -> int:
        live = [i for i, b in enumerate(self.buffers) if b.first <= t <= b.last]
        total = sum(self.sizes[i] for i in live)
        return least_extent(total, [(j, self.sizes[i], self.sizes[j], r.low) for (i, j), r in self._within(live)])

    def _within(self, live: Sequence[int]) -> Iterator[tuple[tuple[int, int], _Reach]]:
        present = set(live)
        return (item for item in self.reaches.items() if present.issuperset(item[0]))

    # First fit.

    def _blocked(self, i: int, j: int, at: int) -> tuple[int, int]:
        """First and last place that i may not take because of j at `at`, but for those in steps."""
        low, high = at - self.sizes[i] + 1, at + self.sizes[j] - 1
        if (reach := self.reaches.get((i, j))) is not None and reach.step == 1:
            high = min(high, at + reach.low - 1)
        if (reach := self.reaches.get((j, i))) is not None and reach.step == 1:
            low = max(low, at - reach.low + 1)
        return low, high

    def _lowest(self, i: int, offsets: Mapping[int, int]) -> int:
        """The lowest place that i fits in, beside all that has been placed."""
        near = [j for j in self.neighbours[i] if j in offsets]
        blocked = [self._blocked(i, j, offsets[j]) for j in near]
        at = 0
        for low, high in sorted(blocked):
            if at < low:
                break
            at = max(at, high + 1)
        # In steps from a neighbour there may be lower ones, right behind what another one blocks.
        for j in near:
            reach = self.reaches.get((i, j)) or self.reaches.get((j, i))
            if reach is not None and reach.step > 1:
                for _, high in [(0, -1), *blocked]:
                    place = max(high + 1, 0)
                    place += (offsets[j] - place) % reach.step
                    if place < at and all(self.fits(i, place, k, offsets[k]) for k in near):
                        at = place
        return at

    def first_fit(self, order: Sequence[int]) -> tuple[int, dict[int, int]]:
        """Put each buffer, in the given order, in the lowest place that it fits in; return (total, offsets)."""
        offsets: dict[int, int] = {}
        for i in order:
            offsets[i] = self._lowest(i, offsets)
        return max((at + self.sizes[i] for i, at in offsets.items()), default=0), offsets

    def heuristic(self, bound: int, shuffles: int) -> tuple[int, dict[int, int]]:
        """First fit by several orders, then by random changes of the best; stops at the bound."""
        b, n = self.buffers, range(len(self.buffers))
        orders = [
            sorted(n, key=lambda i: (-self.sizes[i], b[i].first)),
            sorted(n, key=lambda i: (b[i].first, -self.sizes[i])),
            sorted(n, key=lambda i: (-b[i].first, -self.sizes[i])),
            sorted(n, key=lambda i: (b[i].last, -self.sizes[i])),
            sorted(n, key=lambda i: (-b[i].last, -self.sizes[i])),
            sorted(n, key=lambda i: (b[i].first - b[i].last, -self.sizes[i])),
            sorted(n, key=lambda i: ((b[i].first - b[i].last - 1) * self.sizes[i], b[i].first)),
        ]
        best = (*self.first_fit(orders[0]), orders[0])
        for order in orders[1:]:
            if best[0] > bound:
                best = min(best, (*self.first_fit(order), order), key=lambda found: found[0])
        rng = random.Random(0)
        for _ in range(min(shuffles, _MOST_SHUFFLED // (1 + len(self.pairs))) if len(b) > 1 else 0):
            if best[0] <= bound:
                break
            order = list(best[2])
            for _ in range(rng.randint(1, 3)):
                order.insert(rng.randrange(len(order)), order.pop(rng.randrange(len(order))))
            found = (*self.first_fit(order), order)
            # Equals are taken too: the search wanders instead of being stuck.
            best = found if found[0] <= best[0] else best
        return best[0], best[1]

    # CP-SAT.

    def solve(self, total: int, offsets: Mapping[int, int], bound: int) -> tuple[int, dict[int, int], int, float]:
        """Improve a placement; return (total, offsets, proven bound, deterministic time)."""
        from ortools.sat.python import cp_model

        model = cp_model.CpModel()
        arena = model.NewIntVar(bound, total, "arena")
        at = [model.NewIntVar(0, total - size, f"at{i}") for i, size in enumerate(self.sizes)]
        for i, size in enumerate(self.sizes):
            model.Add(at[i] + size <= arena)
            model.AddHint(at[i], offsets[i])
        for i, j in self.pairs:
            ways = []
            for above, below in ((i, j), (j, i)):
                way = model.NewBoolVar("")
                model.Add(at[below] + self.sizes[below] <= at[above]).OnlyEnforceIf(way)
                ways.append(way)
                reach = self.reaches.get((above, below))
                if reach is None:
                    continue
                way = model.NewBoolVar("")
                model.Add(at[below] + reach.low <= at[above]).OnlyEnforceIf(way)
                if reach.step > 1:
                    steps = model.NewIntVar(-total // reach.step - 1, total // reach.step + 1, "")
                    model.Add(at[above] - at[below] == reach.step * steps).OnlyEnforceIf(way)
                ways.append(way)
            model.AddBoolOr(ways)
        model.Minimize(arena)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.max_deterministic_time = DETERMINISTIC_TIME
        status = solver.Solve(model)
        spent = float(solver.ResponseProto().deterministic_time)
        proven = max(bound, round(solver.BestObjectiveBound())) if status != cp_model.UNKNOWN else bound
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return total, dict(offsets), min(proven, total), spent
        return round(solver.ObjectiveValue()), {i: int(solver.Value(v)) for i, v in enumerate(at)}, proven, spent


def least_extent(sizes: int, reaches: Iterable[tuple[Hashable, int, int, int]]) -> int:
    """A bound on the memory that buffers of `sizes` in all take up together where outputs reach into inputs.

    `reaches` holds for every rule its output, the sizes of input and output, and how far the output must start before
    the input. Outputs do not overlap one another, nor do inputs: what is saved is what outputs have in common with
    inputs, for each output no more than the sum over its inputs and than its size.
    """
    saved: dict[Hashable, int] = {}
    size_of: dict[Hashable, int] = {}
    for output, input_size, output_size, low in reaches:
        common = input_size + output_size - max(input_size + max(low, 0), output_size)
        saved[output] = saved.get(output, 0) + max(common, 0)
        size_of[output] = output_size
    return sizes - sum(min(saved[output], size_of[output]) for output in saved)


def place(
    buffers: Sequence[Buffer], rules: Sequence[Rule] = (), *, exact: bool = True, shuffles: int = SHUFFLES
) -> Placement:
    """Place buffers so that no two that are needed at the same time overlap, except as a rule allows.

    Persistent buffers lie together at the start. A rule is for an output and an input that meet in one layer only; it
    must be right whatever else overlaps the input or the output. Without `exact` the solver is left out, and
    `shuffles` limits the search, for estimates.
    """
    offsets: dict[int, int] = {}
    base = 0
    for i, b in enumerate(buffers):
        if b.persistent:
            offsets[i] = base
            base += align(b.size)
    problem = _Problem(buffers, rules)
    bound = problem.bound()
    solve = exact and len(problem.pairs) <= _MOST_PAIRS and solver_present()
    total, found = problem.heuristic(bound, min(shuffles, _FIRST_SHUFFLES) if solve else shuffles)
    spent = 0.0
    if solve and total > bound:
        total, found, bound, spent = problem.solve(total, found, bound)
    offsets.update({i: base + found[n] * ALIGNMENT for n, i in enumerate(problem.chosen)})
    ends = tuple(offsets[i] for i in range(len(buffers)))
    return Placement(ends, base + total * ALIGNMENT, base + bound * ALIGNMENT, spent)


def solver_present() -> bool:
    """Whether OR-tools is installed: it has no wheels for some versions of Python."""
    return find_spec("ortools") is not None
