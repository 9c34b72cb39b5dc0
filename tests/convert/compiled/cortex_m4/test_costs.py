"""The choice among kernels: what they cost, and what the arena allows."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from tflite_builder import Sweep, needs_device, vectors

from convert.compiled import CompiledModel, compile_model, cortex_m4, device, lowering, memory, select
from convert.compiled.cortex_m4 import costs
from convert.compiled.layer import Layer
from convert.graph import Graph


def test_every_kernel_was_measured() -> None:
    for kernel in cortex_m4.FEATURES:
        assert sum(costs.code(kernel).values()) > 0


def network() -> Graph:
    """Convolutions of other shapes than those of the fit."""
    s = Sweep(5)
    x = s.input((1, 21, 19, 5), zero_point=-9)
    x = s.conv(x, 14, (3, 3), (2, 2), activation="relu", zero_point=-128)
    x = s.depthwise(x, activation="relu", zero_point=-128)
    x = s.conv(x, 22, (1, 1), activation="relu6")
    x = s.add(x, s.conv(x, 22), 0.2)
    s.dense(s.reshape(s.pool(x), (1, 5 * 5 * 22)), 9)
    return s.build()


@needs_device
def test_estimates_are_near_the_counts() -> None:
    g = network()
    compiled = compile_model(g, "cortex_m4")
    profile = device.profile(compiled, vectors(g)[2])
    checked = 0
    for layer, count in zip(compiled.lowered, profile.layers, strict=True):
        if layer.kernel in cortex_m4.FEATURES and count is not None:
            estimate = costs.estimate(layer.kernel, cortex_m4.FEATURES[layer.kernel](layer))
            assert estimate.instructions == pytest.approx(count.instructions, rel=0.08), layer.kernel
            assert estimate.cycles == pytest.approx(count.cycles, rel=0.13), layer.kernel
            checked += 1
    assert checked >= 6


def options() -> tuple[Graph, list[list[Layer]]]:
    """A dense layer with three invented kernels: fast with much scratch, slower with little, slow with none."""
    s = Sweep(6)
    s.dense(s.input((1, 1000)), 100)
    g = s.build()
    (layer,) = lowering.lower(g)
    plain = replace(layer, overlaps=())
    fast, fair, slow = (replace(plain, kernel=name, scratch_bytes=n) for name, n in FAKES.items())
    return g, [[slow, fair, fast]]


FAKES = {"fast": 4000, "fair": 900, "slow": 0}
CYCLES = {"fast": 1.0, "fair": 2.0, "slow": 3.0}


def cycles(layer: Layer) -> float:
    return CYCLES[layer.kernel or ""]


def test_speed_may_cost_a_kilobyte_or_a_fifth_of_the_arena_and_no_more() -> None:
    g, given = options()
    assert [layer.kernel for layer in select.fastest(g, given, cycles)] == ["fair"]


def test_scratch_is_free_where_another_layer_needs_as_much() -> None:
    s = Sweep(7)
    x = s.dense(s.input((1, 1000)), 3000)
    s.dense(x, 100)
    g = s.build()
    first, second = (replace(layer, overlaps=()) for layer in lowering.lower(g))
    choice = [[first], [replace(second, kernel=name, scratch_bytes=n) for name, n in FAKES.items()]]
    assert select.fastest(g, choice, cycles)[1].kernel == "fair"
    roomy = [[replace(first, scratch_bytes=4000)], choice[1]]
    assert select.fastest(g, roomy, cycles)[1].kernel == "fast"


def test_size_counts_shared_code_once_and_constants() -> None:
    s = Sweep(8)
    x = s.dense(s.input((1, 40)), 40)
    s.dense(x, 40)
    g = s.build()
    layers = [replace(layer, overlaps=()) for layer in lowering.lower(g)]

    def code(layer: Layer) -> Mapping[str, float]:
        return {"small": {"small": 300}, "big": {"big": 200, "shared": 200}}[layer.kernel or ""]

    def choices(constants: int) -> list[list[Layer]]:
        extra = tuple(replace(layers[0].constants[0], values=np.zeros(constants, np.int8)) for _ in range(1))
        return [
            [replace(layer, kernel="small", constants=extra), replace(layer, kernel="big", constants=())]
            for layer in layers
        ]

    def still(_: Layer) -> float:
        return 0.0

    def big_saves(layer: Layer) -> float:
        return 0.0 if layer.kernel == "big" else 20.0 * select.CYCLES_A_BYTE

    # 300 + 2 * constants against 400: what is left decides, and the second layer's code comes free.
    assert {layer.kernel for layer in select.smallest(g, choices(40), code, still)} == {"small"}
    assert {layer.kernel for layer in select.smallest(g, choices(60), code, still)} == {"big"}
    # Two layers that each save the price of 20 bytes.
    assert {layer.kernel for layer in select.smallest(g, choices(40), code, big_saves)} == {"big"}


@needs_device
def test_size_leaves_less_flash_than_speed_and_the_same_answers() -> None:
    g = network()
    small, fast = (compile_model(g, "cortex_m4", optimize) for optimize in ("size", "speed"))
    vector = vectors(g)[2]
    results = [device.profile(model, vector) for model in (small, fast)]
    assert np.array_equal(results[0].outputs, results[1].outputs)
    assert flash(small) < flash(fast)


def flash(model: CompiledModel) -> float:
    """Constants and chosen kernels' code."""
    functions: dict[str, float] = {}
    for layer in model.lowered:
        if layer.kernel in cortex_m4.FEATURES:
            functions.update(cortex_m4.code(layer))
    return model.weight_bytes + sum(functions.values())


def test_the_arena_that_speed_takes_is_within_the_slack() -> None:
    g = network()
    lean = memory.plan(g, lowering.lower(g)).arena_bytes
    assert compile_model(g, "cortex_m4").arena_bytes <= select.arena_limit(lean)
