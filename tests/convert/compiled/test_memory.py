"""The arena's plan: nothing that is needed at one time overlaps, except as a kernel allows, and no plan is smaller."""

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_builder import Sweep

from convert.compiled import compile_model, memory, placement
from convert.compiled.placement import ALIGNMENT, Buffer, Placement, Rule, align, largest_live_set, place

# (size, first, last): found by search; first fit in any of its orders leaves a gap.
HARD = [(36, 6, 8), (32, 2, 2), (24, 3, 7), (20, 4, 5), (16, 2, 4), (12, 1, 6)]

needs_solver = pytest.mark.skipif(not placement.solver_present(), reason="no OR-tools for this version of Python")


@st.composite
def buffers(draw: st.DrawFn, most: int = 25, largest: int = 500) -> list[Buffer]:
    spans = [sorted((draw(st.integers(0, 12)), draw(st.integers(0, 12)))) for _ in range(draw(st.integers(0, most)))]
    return [Buffer(draw(st.integers(1, largest)), first, last, draw(st.integers(0, 9)) == 9) for first, last in spans]


@st.composite
def chains(draw: st.DrawFn, most: int = 8, largest: int = 400) -> tuple[list[Buffer], list[Rule]]:
    """Layers that each make a buffer from the one before, over a buffer that lasts for some of them."""
    count = draw(st.integers(2, most))
    items = [Buffer(draw(st.integers(1, largest)), k - 1, k) for k in range(count)]
    rules = []
    for k in range(1, count):
        if draw(st.booleans()):
            distance = draw(st.integers(-items[k - 1].size, items[k].size))
            rules.append(Rule(k - 1, k, distance, draw(st.sampled_from([1, 1, 1, 6, 16]))))
    for _ in range(draw(st.integers(0, 2))):
        first, last = sorted((draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))))
        items.append(Buffer(draw(st.integers(1, largest)), first, last))
    return items, rules


def allowed(items: list[Buffer], rules: list[Rule], offsets: tuple[int, ...]) -> bool:
    """Whether all that meets is disjoint or overlaps by a rule."""
    reach = {(r.input, r.output): r for r in rules}
    for i, j in product(range(len(items)), repeat=2):
        together = items[i].first <= items[j].last and items[j].first <= items[i].last
        if i == j or not (together or items[i].persistent or items[j].persistent):
            continue
        if offsets[i] + items[i].size <= offsets[j] or offsets[j] + items[j].size <= offsets[i]:
            continue
        back = {(a, b): offsets[a] - offsets[b] for a, b in ((i, j), (j, i)) if (a, b) in reach}
        if not any(d >= reach[pair].distance and d % reach[pair].step == 0 for pair, d in back.items()):
            return False
    return True


def check(items: list[Buffer], rules: list[Rule], placed: Placement) -> None:
    assert allowed(items, rules, placed.offsets)
    for item, offset in zip(items, placed.offsets, strict=True):
        assert offset >= 0
        assert offset % ALIGNMENT == 0
        assert offset + item.size <= placed.total
    assert placed.bound <= placed.total <= sum(align(b.size) for b in items)
    at = 0
    for item, offset in zip(items, placed.offsets, strict=True):
        if item.persistent:
            assert offset == at
            at += align(item.size)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(buffers(), st.booleans())
def test_live_buffers_never_overlap(items: list[Buffer], exact: bool) -> None:
    placed = place(items, exact=exact)
    check(items, [], placed)
    assert placed.bound >= largest_live_set(items)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(chains(), st.booleans())
def test_buffers_overlap_only_by_a_rule(chain: tuple[list[Buffer], list[Rule]], exact: bool) -> None:
    items, rules = chain
    check(items, rules, place(items, rules, exact=exact))


@needs_solver
@settings(derandomize=True, max_examples=60, deadline=None)
@given(chains(4, 20))
def test_an_optimal_plan_is_the_smallest_of_all(chain: tuple[list[Buffer], list[Rule]]) -> None:
    items, rules = chain[0][:5], [r for r in chain[1] if r.output < 5]
    placed = place(items, rules)
    assert placed.optimal
    smaller = placed.total - ALIGNMENT
    places = [range(0, smaller - align(b.size) + 1, ALIGNMENT) for b in items]
    assert not any(allowed(items, rules, offsets) for offsets in product(*places))


def test_the_lower_bound_is_the_largest_live_set() -> None:
    items = [Buffer(100, 0, 1), Buffer(38, 1, 2), Buffer(30, 2, 3), Buffer(200, 4, 4)]
    assert largest_live_set(items) == 200
    assert largest_live_set(items[:3]) == 100 + 40
    assert place(items).total == 200
    assert place(items).optimal


def test_a_chain_reuses_memory() -> None:
    assert place([Buffer(64, i, i + 1) for i in range(10)]).total == 128


def test_outputs_in_place_need_no_memory_of_their_own() -> None:
    items = [Buffer(64, i, i + 1) for i in range(10)]
    placed = place(items, [Rule(i, i + 1, 0) for i in range(9)])
    assert placed.total == 64
    assert placed.optimal


def test_outputs_that_trail_need_the_distance() -> None:
    items = [Buffer(64, 0, 1), Buffer(64, 1, 2), Buffer(64, 2, 3)]
    assert place(items, [Rule(0, 1, 12), Rule(1, 2, 10)]).total == 64 + 12 + 12
    # In steps of 32 bytes, or apart: three of 64 in a row cannot be nearer than two.
    assert place(items, [Rule(0, 1, 12, 32), Rule(1, 2, 10, 32)]).total == 128


def test_a_negative_distance_lets_the_output_start_within_the_input() -> None:
    items = [Buffer(64, 0, 1), Buffer(32, 1, 2), Buffer(32, 0, 3)]
    rules = [Rule(0, 1, -64)]
    placed = place(items, rules)
    assert placed.total == 96
    check(items, rules, placed)


def test_an_output_over_two_inputs_keeps_both_distances() -> None:
    items = [Buffer(40, 0, 1), Buffer(40, 0, 1), Buffer(80, 1, 2)]
    rules = [Rule(0, 2, 40), Rule(1, 2, 20)]
    placed = place(items, rules)
    check(items, rules, placed)
    # The output starts 40 before one input and 20 before the other at the least, and these do not overlap.
    assert placed.total == 100


@needs_solver
def test_the_solver_improves_on_first_fit_and_proves_it() -> None:
    items = [Buffer(*b) for b in HARD]
    greedy = place(items, exact=False, shuffles=0)
    solved = place(items, shuffles=0)
    check(items, [], solved)
    assert solved.total < greedy.total
    assert solved.optimal
    assert solved.solver_time > 0
    assert place(items, shuffles=0) == solved


@needs_solver
def test_a_search_cut_short_keeps_the_first_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "DETERMINISTIC_TIME", 0.0)
    items = [Buffer(*b) for b in HARD]
    placed = place(items, shuffles=0)
    check(items, [], placed)
    assert not placed.optimal


def test_without_the_solver_the_heuristic_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "solver_present", lambda: False)
    items = [Buffer(*b) for b in HARD]
    placed = place(items, shuffles=0)
    check(items, [], placed)
    assert placed.solver_time == 0
    assert not placed.optimal


def test_a_models_tensors_and_scratch_do_not_overlap_but_by_statement() -> None:
    s = Sweep(1)
    x = s.input((1, 8, 8, 4))
    for _ in range(4):
        x = s.add(s.conv(x, 4), s.depthwise(x), 0.3)
    s.dense(s.reshape(x, (1, 256)), 5)
    g = s.build()
    compiled = compile_model(g)
    stated = {(o.input, o.output) for layer in compiled.lowered for o in layer.overlaps}
    blocks = compiled.plan.blocks
    assert len(blocks) > len(compiled.lowered)
    for a, b in combinations(blocks, 2):
        if not a.buffer.meets(b.buffer) or a.end <= b.offset or b.end <= a.offset:
            continue
        assert {(a.tensor, b.tensor), (b.tensor, a.tensor)} & stated
        assert min(a.buffer.last, b.buffer.last) == max(a.buffer.first, b.buffer.first)


def test_a_reshape_shares_its_inputs_memory_for_as_long_as_either_is_needed() -> None:
    s = Sweep(2)
    x = s.input((1, 4, 4, 4))
    flat = s.reshape(x, (1, 64))
    s.conv(x, 4)
    s.dense(flat, 3)
    compiled = compile_model(s.build())
    assert compiled.plan.tensors[flat] == compiled.plan.tensors[x]
    assert compiled.layers[0].kernel is None


def test_dead_memory_is_all_but_what_is_still_read() -> None:
    blocks = (
        memory.Block(0, Buffer(8, -1, 5, persistent=True), 0),
        memory.Block(8, Buffer(16, -1, 0), 1),
        memory.Block(16, Buffer(6, 0, 2), 2),
        memory.Block(28, Buffer(4, 1, 3), 3),
    )
    plan = memory.ModelPlan({}, (None,) * 3, 40, 40, 40, (0, 1, 2), blocks)
    assert plan.dead(0) == [(24, 40)]
    assert plan.dead(1) == [(8, 16), (22, 40)]
    assert plan.dead(2) == [(8, 16), (22, 28), (32, 40)]
    assert plan.dead(3) == [(8, 28), (32, 40)]
    assert plan.between_runs() == [(8, 40)]
