"""The sweeps on other Cortex-M cores than the M4, in QEMU: portable kernels where there is no DSP extension, and the
Cortex-M4's own on those that have it. The Cortex-M0 faults on every unaligned access."""

from typing import Literal

import pytest
from test_operators import SWEEPS
from tflite_builder import Sweep, assert_exact, needs_device

from convert.compiled import device

pytestmark = needs_device

TARGETS: dict[str, Literal["portable", "cortex_m4"]] = {
    "cortex-m0": "portable",
    "cortex-m3": "portable",
    "cortex-m7": "cortex_m4",
    "cortex-m33": "cortex_m4",
    "cortex-m55": "cortex_m4",
}


def few_of_each() -> Sweep:
    """Odd sizes, so that little is aligned by chance."""
    s = Sweep(5)
    x = s.conv(s.input((1, 7, 5, 3), zero_point=-4), 9, (3, 3), activation="relu", zero_point=-128)
    x = s.depthwise(x, activation="relu", zero_point=-128)
    x = s.add(x, s.conv(x, 9, (1, 1)), 0.1)
    s.unary("SOFTMAX", s.dense(s.reshape(s.pool(x, "MAX", (2, 2), (1, 1)), (1, 216)), 7), 1 / 256, -128, beta=1.0)
    return s


SHORT = ("cortex-m0", "cortex-m33")


@pytest.mark.parametrize("core", [pytest.param(c, marks=[] if c in SHORT else pytest.mark.exhaustive) for c in TARGETS])
def test_a_few_layers_equal_tflite_micro(core: str) -> None:
    assert_exact(few_of_each().build(), target=TARGETS[core], where=device, core=device.CORES[core])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("core", TARGETS)
def test_every_layer_equals_tflite_micro(core: str, name: str) -> None:
    assert_exact(SWEEPS[name]().build(), target=TARGETS[core], where=device, core=device.CORES[core])
