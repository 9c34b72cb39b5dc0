"""Weights in coded streams: every format in every kind of layer answers as TFLite Micro does with the plain weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from squeeze import squeezed
from tflite_builder import SAME, VALID, Sweep, assert_model_exact, needs_compiler, needs_device

from convert.compiled import CompiledModel, avr, compile_model, device, host, lowering, memory
from convert.compiled.formats.catalogue import FORMATS, Option, options
from convert.compiled.model import Target
from convert.graph import Graph

pytestmark = needs_compiler
Generator = np.random.Generator


def _few(rng: Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    return rng.choice(rng.integers(-127, 128, count), shape)


def _sparse(rng: Generator, shape: tuple[int, ...], values: np.ndarray, share: float = 0.08) -> np.ndarray:
    return values * (rng.random(shape) < share)


def _whole(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-128, 128, shape)


def _each_channel_its_own(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([_few(rng, shape[1:], 5) for _ in range(shape[0])])


def _two_of_four(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    flat = _whole(rng, shape).reshape(shape[0], -1)
    for start in range(0, flat.shape[1], 4):
        quad = flat[:, start : start + 4]
        gone = np.argsort(rng.random(quad.shape), axis=1)[:, 2:]
        np.put_along_axis(quad, gone, 0, axis=1)
    return flat.reshape(shape)


def _blocks(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    flat = _whole(rng, shape).reshape(shape[0], -1)
    kept = np.repeat(rng.random((shape[0], -(-flat.shape[1] // 4))) < 0.2, 4, axis=1)[:, : flat.shape[1]]
    return (flat * kept).reshape(shape)


def _nearly_empty(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Channels without a weight, and one whose only weight is the last."""
    values = np.zeros(shape, np.int64)
    values.reshape(shape[0], -1)[shape[0] // 2, -1] = rng.choice([-128, 127])
    return values


PATTERNS: dict[str, Callable[[Generator, tuple[int, ...]], np.ndarray]] = {
    "whole": _whole,
    "int4": lambda rng, shape: rng.integers(-8, 8, shape),
    "int2": lambda rng, shape: rng.integers(-2, 2, shape),
    "few": lambda rng, shape: _few(rng, shape, 9),
    "sixty": lambda rng, shape: _few(rng, shape, 60),
    "each_channel": _each_channel_its_own,
    "sparse": lambda rng, shape: _sparse(rng, shape, _whole(rng, shape)),
    "sparse_few": lambda rng, shape: _sparse(rng, shape, _few(rng, shape, 7)),
    "sparse_int4": lambda rng, shape: _sparse(rng, shape, rng.integers(-8, 8, shape), 0.3),
    "extremes": lambda rng, shape: _sparse(rng, shape, rng.choice([-128, -127, 127], shape), 0.5),
    "two_of_four": _two_of_four,
    "blocks": _blocks,
    "nearly_empty": _nearly_empty,
}


class Patterned(Sweep):
    """Layers whose weights follow a pattern."""

    pattern = "whole"

    def _weights(self, shape: Any, axis: int, per_channel: bool) -> int:
        values = PATTERNS[self.pattern](self.rng, tuple(shape))
        scale = self.rng.uniform(0.002, 0.02, shape[axis] if per_channel else 1)
        return self.tensor(shape, scale=scale, zero_point=0, axis=axis, data=values)


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
