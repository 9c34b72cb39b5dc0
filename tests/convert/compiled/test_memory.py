"""The arena's plan: no two buffers that are needed at one time overlap."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_builder import Sweep

from convert.compiled import compile_model
from convert.compiled.memory import ALIGNMENT, Buffer, Plan, align, lower_bound, place


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    count = draw(st.integers(0, 25))
    spans = [sorted((draw(st.integers(0, 12)), draw(st.integers(0, 12)))) for _ in range(count)]
    return [Buffer(draw(st.integers(1, 500)), first, last) for first, last in spans]


def check(items: list[Buffer], plan: Plan) -> None:
    for (a, at_a), (b, at_b) in combinations(zip(items, plan.offsets, strict=True), 2):
        if a.first <= b.last and b.first <= a.last:
            assert at_a + a.size <= at_b or at_b + b.size <= at_a
    for item, offset in zip(items, plan.offsets, strict=True):
        assert offset % ALIGNMENT == 0
        assert offset + item.size <= plan.arena_bytes
    assert plan.lower_bound <= plan.arena_bytes <= sum(align(b.size) for b in items)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(buffers())
def test_live_buffers_never_overlap(items: list[Buffer]) -> None:
    check(items, place(items))


def test_the_lower_bound_is_the_largest_live_set() -> None:
    items = [Buffer(100, 0, 1), Buffer(40, 1, 2), Buffer(30, 2, 3), Buffer(200, 4, 4)]
    assert lower_bound(items) == 208
    assert lower_bound(items[:3]) == 112 + 48
    assert place(items).arena_bytes == 208


def test_a_chain_reuses_memory() -> None:
    items = [Buffer(64, i, i + 1) for i in range(10)]
    assert place(items).arena_bytes == 128


def test_a_models_tensors_and_scratch_do_not_overlap() -> None:
    s = Sweep(1)
    x = s.input((1, 8, 8, 4))
    for _ in range(4):
        x = s.add(s.conv(x, 4), s.depthwise(x), 0.3)
    s.dense(s.reshape(x, (1, 256)), 5)
    g = s.build()
    compiled = compile_model(g)
    plan = compiled.plan
    owners = {layer.outputs[0] for layer in compiled.lowered if layer.kernel is None}
    used = [(plan.tensors[i], g.tensors[i].nbytes, *span) for i, span in g.lifetimes.items() if i not in owners]
    used += [
        (offset, layer.scratch_bytes, k, k)
        for k, (layer, offset) in enumerate(zip(compiled.lowered, plan.scratch, strict=True))
        if offset is not None
    ]
    assert len(used) > len(compiled.lowered)
    for (at, size, first, last), (at2, size2, first2, last2) in combinations(used, 2):
        if first <= last2 and first2 <= last:
            assert at + size <= at2 or at2 + size2 <= at


def test_a_reshape_shares_its_inputs_memory_for_as_long_as_either_is_needed() -> None:
    s = Sweep(2)
    x = s.input((1, 4, 4, 4))
    flat = s.reshape(x, (1, 64))
    s.conv(x, 4)
    s.dense(flat, 3)
    compiled = compile_model(s.build())
    assert compiled.plan.tensors[flat] == compiled.plan.tensors[x]
    assert compiled.layers[0].kernel is None
