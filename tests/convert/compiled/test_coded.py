"""Weights in coded streams: every format in every kind of layer answers as TFLite Micro does with the plain weights."""

from collections.abc import Callable

import numpy as np
import pytest
from patterns import PATTERNS, Patterned
from squeeze import squeezed
from tflite_builder import SAME, VALID, assert_model_exact, needs_compiler, needs_device

from convert.compiled import CompiledModel, avr, compile_model, device, host, lowering, memory
from convert.compiled.formats.catalogue import FORMATS, Option, options
from convert.compiled.model import Target
from convert.graph import Graph

pytestmark = needs_compiler


def patterned() -> Graph:
    """Rows, several rows and convolutions of each pattern; depths that fill groups, and odd ones."""
    s = Patterned(11)
    row, long = s.input((1, 37)), s.input((1, 400))
    rows, image = s.input((6, 24)), s.input((1, 5, 6, 4), zero_point=-4)
    for s.pattern in PATTERNS:
        s.dense(row, 5)
        s.dense(long, 9, per_channel=False, activation="relu", zero_point=-128)
        s.dense(rows, 3)
        s.conv(image, 5, activation="relu", zero_point=-128)
        s.conv(image, 3, (2, 3), (2, 1), padding=VALID)
    s.pattern = "sparse"
    s.conv(image, 4, (2, 2), dilation=(2, 1), padding=SAME)
    s.dense(row, 5, gain=400.0)  # multipliers of 1 and above
    return s.build()


@pytest.fixture(scope="module")
def network() -> Graph:
    return patterned()


def with_formats(g: Graph, choose: Callable[[int, list[Option]], Option | None], target: Target) -> CompiledModel:
    """The model whose layers take what `choose` says of their number and options."""
    layers = list(lowering.lower(g))
    for k, layer in enumerate(layers):
        chosen = choose(k, options(layer, wide=target == "cortex_m4"))
        layers[k] = layer if chosen is None else chosen.layer
    plan = memory.plan(g, layers, exact=False)
    return squeezed(CompiledModel(g, tuple(layers[k] for k in plan.order), plan, target))


def all_of(name: str) -> Callable[[int, list[Option]], Option | None]:
    return lambda _, given: next((option for option in given if option.format == name), None)


def in_turn(k: int, given: list[Option]) -> Option | None:
    return given[k % len(given)] if given else None


@pytest.mark.parametrize("name", FORMATS)
def test_on_the_host(network: Graph, name: str) -> None:
    model = with_formats(network, all_of(name), "portable")
    kinds = {layer.kernel.split("_")[1] for layer in model.lowered if layer.kernel and layer.definition}
    assert kinds == {"row", "matmul", "conv"}
    assert_model_exact(model, sanitize=True)


@needs_device
@pytest.mark.parametrize("name", FORMATS)
def test_on_a_cortex_m4(network: Graph, name: str) -> None:
    assert_model_exact(with_formats(network, all_of(name), "cortex_m4"), where=device)


@needs_device
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m55"])
def test_on_other_cores(network: Graph, core: str) -> None:
    target: Target = "cortex_m4" if core == "cortex-m55" else "portable"
    model = with_formats(network, in_turn, target)
    assert {layer.kernel.split("_")[2] for layer in model.lowered if layer.definition and layer.kernel} >= {
        "all",
        "gaps",
        "bitmap",
        "two",
        "blocks",
    }
    assert_model_exact(model, where=device, core=device.CORES[core])


@pytest.mark.skipif(not avr.available(), reason="no avr-gcc or no libsimavr")
@pytest.mark.parametrize("name", FORMATS)
def test_on_an_avr(name: str) -> None:
    s = Patterned(12)
    row, image = s.input((1, 37)), s.input((1, 3, 4, 3), zero_point=-4)
    for s.pattern in ("int2", "sparse_few", "two_of_four", "blocks"):
        s.dense(row, 3)
        s.conv(image, 2, (2, 2))
    assert_model_exact(with_formats(s.build(), all_of(name), "avr"), where=avr)


def test_an_output_reaches_no_further_into_its_input_than_it_may() -> None:
    s = Patterned(13)
    s.pattern = "sparse"
    x = s.input((1, 4, 5, 6))
    s.conv(s.conv(x, 6, (3, 3)), 6, (1, 1))
    model = with_formats(s.build(), all_of("gaps"), "portable")
    outputs, _ = host.run(model, np.zeros((1, 120), np.uint8))
    dense, _ = host.run(compile_model(model.graph), np.zeros((1, 120), np.uint8))
    assert np.array_equal(outputs, dense)
