"""The order of layers that needs least memory, against all orders there are."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from test_poison import networks
from tflite_builder import Sweep, assert_exact, needs_compiler

from convert.compiled import compile_model, lowering, memory, order
from convert.compiled.layer import Layer
from convert.graph import Graph


def all_orders(layers: tuple[Layer, ...], done: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every order in which each layer comes after those whose outputs it reads."""
    if len(done) == len(layers):
        yield done
        return
    made = {i for k in done for i in layers[k].outputs}
    pending = {i for k, layer in enumerate(layers) if k not in done for i in layer.outputs}
    for k, layer in enumerate(layers):
        if k not in done and not (set(layer.inputs) - made) & pending:
            yield from all_orders(layers, (*done, k))


def peaks(g: Graph, layers: tuple[Layer, ...]) -> tuple[order._Search, int]:
    search = order._Search(g, layers, memory.roots(layers), memory.usable_overlaps)
    return search, search.peak(range(len(layers)))


def two_branches() -> Sweep:
    """Two branches that each swell and shrink again: one after the other needs less than both side by side."""
    s = Sweep(6)
    x = s.input((1, 6, 6, 2))
    wide = [s.conv(x, 16, (1, 1)) for _ in range(3)]
    narrow = [s.conv(w, 1, (3, 3)) for w in wide]
    s.add(s.add(narrow[0], narrow[1], 0.3), narrow[2], 0.3)
    return s


@settings(derandomize=True, max_examples=40, deadline=None)
@given(networks())
def test_the_order_is_the_best_of_all(s: Sweep) -> None:
    g = s.build(ends_only=True)
    layers = lowering.lower(g)
    search, given_peak = peaks(g, layers)
    found = order.least_memory(g, layers, memory.roots(layers), memory.usable_overlaps)
    best = min(search.peak(other) for other in islice(all_orders(layers), 1000))
    if found is None:
        assert best == given_peak
        return
    assert search.peak(found) <= best
    assert search.peak(found) < given_peak
    assert sorted(found) == list(range(len(layers)))
    for n, k in enumerate(found):
        later = {i for other in found[n:] for i in layers[other].outputs}
        assert not set(layers[k].inputs) & later


@needs_compiler
def test_branches_run_one_after_the_other() -> None:
    g = two_branches().build(ends_only=True)
    compiled = compile_model(g)
    given = memory._plan(g, lowering.lower(g), {}, tuple(range(8)), True)
    assert compiled.plan.order != given.order
    assert compiled.arena_bytes < given.arena_bytes
    assert [layer.op.index for layer in compiled.lowered] == list(compiled.plan.order)
    assert_exact(g, squeeze=False)
    assert_exact(g)


def test_a_chain_stays_in_order() -> None:
    s = Sweep(7)
    x = s.input((1, 6, 6, 2))
    for _ in range(4):
        x = s.conv(x, 4)
    g = s.build(ends_only=True)
    assert compile_model(g).plan.order == (0, 1, 2, 3)


@pytest.mark.parametrize("limited", [False, True])
def test_many_branches_are_searched_with_a_beam(limited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if limited:
        monkeypatch.setattr(order, "_MOST_STEPS", 10)
    g = two_branches().build(ends_only=True)
    layers = lowering.lower(g)
    search, given_peak = peaks(g, layers)
    found = order.least_memory(g, layers, {}, memory.usable_overlaps)
    assert found is not None
    assert sorted(found) == list(range(len(layers)))
    assert search.peak(found) < given_peak
