"""The sweeps and random graphs again on an emulated Cortex-M4, with its own kernels wherever they take a layer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_operators import SWEEPS
from test_random_graphs import chain, everything, without_shrinking
from tflite_builder import Sweep, assert_exact, needs_device

from convert.compiled import compile_model, device

pytestmark = needs_device


@pytest.mark.parametrize("name", SWEEPS)
def test_every_layer_equals_tflite_micro(name: str) -> None:
    assert_exact(SWEEPS[name]().build(), target="cortex_m4", where=device)


@pytest.mark.parametrize("name", ["conv", "depthwise", "dense", "pool"])
def test_the_processors_own_kernels_run_most_layers(name: str) -> None:
    layers = compile_model(SWEEPS[name]().build(), "cortex_m4").lowered
    assert sum((layer.kernel or "").startswith("kernels_m4_") for layer in layers) > len(layers) / 2


@without_shrinking
@given(st.lists(everything, min_size=25, max_size=40))
def test_random_operators_equal_tflite_micro(builders: list[Any]) -> None:
    s = Sweep(len(builders))
    for build in builders:
        build(s)
    assert_exact(s.build(), target="cortex_m4", where=device)


@without_shrinking
@given(st.lists(st.builds(chain, st.integers(0, 2**32), st.integers(4, 12)), min_size=4, max_size=8))
def test_random_chains_equal_tflite_micro(builders: list[Any]) -> None:
    s = Sweep()
    for build in builders:
        build(s)
    assert_exact(s.build(ends_only=True), target="cortex_m4", where=device)
