"""The generated C of networks of bits equals the NumPy reference: here, on Cortex-M and on AVR."""

import shutil
from typing import Any

import bits_on_avr
import numpy as np
import pytest
from binary_nets import net, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.binary import device, host, reference, source
from convert.binary.net import Net
from convert.compiled import avr
from convert.compiled.device import CORES, Core

needs_emulator = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm",
)
KINDS: dict[str, dict[str, Any]] = {
    "words are full": {"filters": (32, 64), "dense": 32, "shape": (12, 10, 1)},
    "words are not": {"filters": (5, 33), "dense": 70},
    "ternary": {"filters": (8, 40), "ternary": True},
    "strides": {"shape": (15, 11, 1), "strides": (2, 3)},
    "no padding": {"shape": (14, 17, 1), "same": False},
    "colours": {"shape": (9, 9, 3), "kernel": (2, 3)},
    "wide window": {"shape": (12, 12, 1), "kernel": (5, 5), "filters": (40, 8)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_c_equals_the_reference_under_sanitizers(kind: str) -> None:
    made = net(**KINDS[kind])
    x = samples(made, 30)
    wanted = reference.run(made, x)
    assert len(np.unique(wanted, axis=0)) > 3
    assert np.array_equal(host.run(made, x, sanitize=True), wanted)


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_c_equals_the_reference_for_any_shape(data: st.DataObject) -> None:
    sizes = st.integers(1, 70)
    made = net(
        data.draw(st.integers(0, 9999)),
        shape=(data.draw(st.integers(4, 12)), data.draw(st.integers(4, 12)), data.draw(st.integers(1, 3))),
        filters=(data.draw(sizes), data.draw(sizes)),
        dense=data.draw(sizes),
        kernel=(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))),
        strides=(data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))),
        ternary=data.draw(st.booleans()),
    )
    x = samples(made, 5)
    assert np.array_equal(host.run(made, x, sanitize=True), reference.run(made, x))


@needs_emulator
@pytest.mark.parametrize("kind", KINDS)
def test_assembly_equals_the_reference(kind: str) -> None:
    made = net(**KINDS[kind])
    x = samples(made, 10)
    assert np.array_equal(device.run(made, x), reference.run(made, x))


@needs_emulator
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m33"])
def test_portable_c_equals_the_reference_on_other_cores(core: str) -> None:
    made = net(**KINDS["words are not"])
    x = samples(made, 6)
    chosen: Core = CORES[core]
    assert np.array_equal(device.run(made, x, "portable", chosen), reference.run(made, x))


@needs_emulator
@pytest.mark.parametrize("count", range(34))
def test_lists_of_every_length_are_counted(count: int) -> None:
    """A dense layer of `count` inputs, all of which are set for a bright image: sixteen words at once, and the rest."""
    made = _all_set(count) if count else _all_set(65)
    x = samples(made, 4)
    assert np.array_equal(device.run(made, x), reference.run(made, x))


def _all_set(count: int) -> Net:
    from dataclasses import replace

    made = net(count, shape=(1, 1, 1), filters=(count, 40), kernel=(1, 1))
    first = made.layers[0]
    return replace(made, layers=(replace(first, limits=np.full_like(first.limits, -255)), *made.layers[1:]))  # type: ignore[type-var,attr-defined]


@needs_emulator
def test_counts_are_of_the_same_scores() -> None:
    pytest.importorskip("unicorn")
    made = net(**KINDS["words are full"])
    x = samples(made, 4)
    counter = device.Counter4(made)
    counts = [counter.count(sample) for sample in x]
    assert np.array_equal([c.scores for c in counts], reference.run(made, x))
    assert len(counts[0].layers) == len(made.layers)
    assert 0 < counts[0].instructions - sum(counts[0].layers) < 100
    assert counts[1].instructions < counts[2].instructions, "a dark image has the fewest products"


@pytest.mark.skipif(not avr.available(), reason="needs gcc-avr and simavr")
@pytest.mark.parametrize("optimize", ["speed", "size"])
@pytest.mark.parametrize("kind", ["words are not", "ternary", "strides"])
def test_c_equals_the_reference_on_avr(kind: str, optimize: str) -> None:
    made = net(**KINDS[kind])
    x = samples(made, 4)
    assert np.array_equal(bits_on_avr.run(made, x, optimize), reference.run(made, x))


def test_the_same_network_gives_the_same_bytes() -> None:
    made = net()
    assert source.render(made, "a", "cortex_m4") == source.render(net(), "a", "cortex_m4")
    assert "kernels_m4_bits_conv" in source.render(made, "a", "cortex_m4")["binary_model.c"]
    assert "kernels_m4_" not in source.render(made, "a", "portable")["binary_model.c"]
    assert source.arena(made, "avr").bytes < source.arena(made, "portable").bytes
