"""Plans that reuse memory, run with all memory that is of no more use overwritten before each layer."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from squeeze import overlapped, squeezed
from tflite_builder import SAME, VALID, Sweep, assert_exact, needs_compiler, needs_device, vectors

from convert import golden, graph
from convert.compiled import compile_model, device, host, memory
from convert.compiled.model import CompiledModel

pytestmark = needs_compiler
TARGETS = ["portable", pytest.param("cortex_m4", marks=needs_device)]


def wrong_places(g: graph.Graph, compiled: CompiledModel) -> set[int]:
    """Places of the layers with an output that differs from TFLite Micro's."""
    inputs = vectors(g)
    reference = golden.run(g, inputs, layers=True).layers
    _, layers = (host if compiled.target == "portable" else device).run(compiled, inputs, layers=True)
    assert reference is not None
    assert layers is not None
    return {
        place
        for place, layer in enumerate(compiled.lowered)
        if any(layers[i].tobytes() != reference[i].tobytes() for i in layer.outputs)
    }


def operators() -> Sweep:
    """Operators of every kind side by side, each with inputs of its own."""
    s = Sweep(3)

    def image(*shape: int) -> int:
        return s.input((1, *shape))

    for padding in (SAME, VALID):
        for stride in ((1, 1), (2, 1), (2, 2)):
            for channels in (4, 5, 8):
                s.conv(image(7, 6, channels), 6, (3, 2), stride, padding=padding)
                s.depthwise(image(7, 6, channels), 1, (3, 3), stride, padding=padding)
                for kind in ("AVERAGE", "MAX"):
                    s.pool(image(7, 6, channels), kind, (3, 2), stride, padding)
    s.depthwise(image(5, 5, 3), 2, dilation=(2, 2))
    s.conv(image(5, 5, 4), 4, dilation=(2, 1))
    s.conv(image(5, 5, 4), 4, groups=2)
    for shape, channels in (((5, 4, 8), 8), ((5, 5, 8), 4), ((5, 5, 6), 9), ((3, 1, 3), 6)):
        s.conv(image(*shape), channels, (1, 1))
    for rows, depth, channels in ((1, 40, 7), (1, 9, 30), (1, 5, 6), (3, 12, 12), (4, 10, 3), (5, 6, 11)):
        s.dense(s.input((rows, depth)), channels)
    s.unary("SOFTMAX", s.input((3, 11)), 1 / 256, -128, beta=1.0)
    for name in ("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE"):
        scale, zero = (1 / 128, 0) if name == "TANH" else (1 / 256, -128)
        s.unary(name, s.input((3, 11)), scale, zero)
    s.unary("DEQUANTIZE", s.input((1, 9)), None, None, "f4")
    s.unary("QUANTIZE", s.input((1, 9), "f4", None, None), 0.02, 1)
    s.mean(image(4, 5, 6), (1, 2), True)
    s.mean(s.input((3, 4, 5)), (1,), False)
    s.mean(s.input((3, 4, 5)), (2,), False)
    for name in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"):
        for a, b in (((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (5,)), ((2, 1, 5), (2, 3, 5)), ((2, 3, 1), (2, 3, 5))):
            if name in ("MAXIMUM", "MINIMUM"):
                s.binary(name, s.input(a), s.input(b), 0.05, 3)
            else:
                s.binary(name, s.input(a), s.input(b), 0.2)
    s.pad(image(4, 5, 3), [(0, 0), (1, 2), (2, 1), (0, 0)])
    s.binary("PRELU", s.input((2, 3, 5)), s.input((2, 3, 5)), 0.2)
    s.transpose(s.input((4, 6)), (1, 0))
    s.slice(s.input((5, 6)), (1, 2), (3, 3))
    s.concatenation([s.input((3, 4)), s.input((3, 2))], 1)
    s.divided("SPLIT", s.input((3, 8)), 1, (4, 4))
    s.extreme("REDUCE_MAX", s.input((3, 4, 5)), (1,), False)
    return s


@pytest.mark.parametrize("target", TARGETS)
def test_every_distance_is_enough_and_none_is_idle(target: Literal["portable", "cortex_m4"]) -> None:
    """Exact where outputs start at the distance; the least bit less spoils something for every kernel."""
    g = operators().build()
    compiled = compile_model(g, target)
    tight = squeezed(compiled)
    assert not wrong_places(g, tight)
    beyond = squeezed(compiled, 1)
    tried = Counter(compiled.lowered[place].kernel for place in overlapped(compiled, 1))
    spoilt = wrong_places(g, beyond)
    assert spoilt <= set(overlapped(compiled, 1))
    found = Counter(compiled.lowered[place].kernel for place in spoilt)
    # An element too far, int8 outputs spoil only the last bits of a float32's fraction; and memcpy onto a place that
    # overlaps its source is undefined, but may well come out right.
    idle = {"kernels_quantize_f32_s8", "kernels_join", "kernels_divide", "kernels_move"}
    assert {kernel for kernel in tried if not found[kernel]} <= idle
    assert len(tried) > 10
    for kernel in ("kernels_matmul_s8", "kernels_conv_s8", "kernels_depthwise_s8") if target == "portable" else ():
        # Nearly every shape: an output byte may happen to equal the input that it covers, or meet a weight of 0.
        assert found[kernel] >= 0.8 * tried[kernel] > 1


def test_a_plan_that_takes_memory_too_early_is_found_out() -> None:
    s = Sweep(4)
    x = s.input((1, 6, 6, 4))
    y = s.conv(x, 4)
    s.add(s.conv(y, 4), x, 0.4)
    g = s.build()
    compiled = compile_model(g)
    assert not wrong_places(g, compiled)
    blocks = tuple(
        replace(b, buffer=replace(b.buffer, last=b.buffer.first)) if b.tensor == x else b for b in compiled.plan.blocks
    )
    forgetful = replace(compiled, plan=replace(compiled.plan, blocks=blocks))
    assert len(compiled.lowered) - 1 in wrong_places(g, forgetful)


def shares_memory(compiled: CompiledModel) -> bool:
    """Whether buffers that are needed at the same time overlap."""
    blocks = compiled.plan.blocks
    return any(a.buffer.meets(b.buffer) and a.offset < b.end and b.offset < a.end for a, b in combinations(blocks, 2))


@st.composite
def networks(draw: st.DrawFn) -> Sweep:
    """Layers that each read one or two of the tensors so far; only what nobody reads is an output."""
    s = Sweep(draw(st.integers(0, 1000)))
    have = [s.input((1, draw(st.integers(4, 8)), draw(st.integers(3, 7)), draw(st.sampled_from([2, 4, 8]))))]
    for _ in range(draw(st.integers(4, 12))):
        x = have[draw(st.integers(max(0, len(have) - 4), len(have) - 1))]
        shape = s.shape(x)
        same = [t for t in have if s.shape(t) == shape]
        kind = draw(st.sampled_from(["conv", "depthwise", "pointwise", "pool", "add", "relu", "reshape"]))
        stride = (draw(st.integers(1, 2)), 1)
        made: Any
        if kind == "conv":
            made = s.conv(x, draw(st.sampled_from([3, 4, 8])), (3, 3), stride)
        elif kind == "depthwise":
            made = s.depthwise(x, draw(st.integers(1, 2)), (3, 3), stride)
        elif kind == "pointwise":
            made = s.conv(x, draw(st.sampled_from([4, 8, 16])), (1, 1))
        elif kind == "pool":
            made = s.pool(x, draw(st.sampled_from(["MAX", "AVERAGE"])), (2, 2), stride, SAME)
        elif kind == "add":
            made = s.add(x, same[draw(st.integers(0, len(same) - 1))], 0.3)
        elif kind == "relu":
            made = s.unary("RELU", x, 0.04, -20)
        else:
            made = s.reshape(x, (1, shape[2], shape[1], shape[3]))
        have.append(made)
    return s


@settings(
    derandomize=True,
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(networks())
def test_random_networks_with_branches_equal_tflite_micro(s: Sweep) -> None:
    g = s.build(ends_only=True)
    assert_exact(g, squeeze=False)
    assert_exact(g)


@pytest.mark.parametrize("target", TARGETS)
def test_a_residual_network_overlaps_and_stays_exact(target: Literal["portable", "cortex_m4"]) -> None:
    s = Sweep(5)
    x = s.conv(s.input((1, 10, 8, 4)), 8, (3, 3), (2, 1))
    for _ in range(3):
        x = s.add(s.conv(s.depthwise(x), 8, (1, 1)), x, 0.3)
    s.dense(s.reshape(s.pool(x), (1, 64)), 5)
    g = s.build(ends_only=True)
    compiled = compile_model(g, target)
    assert shares_memory(compiled)
    assert compiled.arena_bytes < compiled.lower_bound
    assert memory.plan(g, compiled.lowered, exact=False).arena_bytes >= compiled.arena_bytes
    if target == "portable":
        assert_exact(g, squeeze=False, sanitize=True)
    else:
        assert_exact(g, target=target, where=device, squeeze=False)
