"""Kernels for processors with Arm's DSP extension (Cortex-M4, M7, M33): alternatives to the portable layers.

A family module has `CANDIDATES`, from a portable kernel's name to a function that gives other layers for the same
operator, none where its conditions are not met, and `FEATURES`, from a kernel's name to the numbers that its cost is
linear in. `costs` turns them into instructions and estimated cycles.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from convert.compiled.cortex_m4 import add, conv, costs, dense, depthwise, matmul, pool
from convert.compiled.cortex_m4.settle import settled
from convert.compiled.layer import Layer

_FAMILIES: tuple[ModuleType, ...] = (matmul, dense, conv, depthwise, pool, add)

CANDIDATES: dict[str, list[Callable[[Layer], Sequence[Layer]]]] = {}
FEATURES: dict[str, Callable[[Layer], costs.Features]] = dict(costs.PORTABLE)
for _family in _FAMILIES:
    FEATURES.update(_family.FEATURES)
    for _kernel, _make in _family.CANDIDATES.items():
        CANDIDATES.setdefault(_kernel, []).append(_make)


def candidates(layer: Layer) -> list[Layer]:
    """The layer itself, which is portable, and what this processor can run instead of it."""
    makers = CANDIDATES.get(layer.kernel or "", [])
    known = settled(layer) if makers else layer
    return [layer, *(other for make in makers for other in make(known))]


def cycles(layer: Layer) -> float:
    """Estimated cycles of a layer that has alternatives, or is one; see costs."""
    assert layer.kernel is not None
    return costs.estimate(layer.kernel, FEATURES[layer.kernel](layer)).cycles


def code(layer: Layer) -> Mapping[str, float]:
    """Bytes of every function that a layer with alternatives needs, by name; see costs."""
    assert layer.kernel is not None
    return costs.code(layer.kernel)
