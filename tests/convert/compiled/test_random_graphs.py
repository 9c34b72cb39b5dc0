"""Random operators with random parameters, many to a graph, every layer against TFLite Micro."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tflite_builder import ACTIVATIONS, SAME, VALID, Sweep, assert_exact, needs_compiler

pytestmark = needs_compiler

small = st.integers(1, 9)
channels = st.integers(1, 10)
zero_points = st.integers(-128, 127)
scales = st.floats(2.0**-10, 2.0)
gains = st.sampled_from([0.02, 0.5, 1.0, 1.0, 3.0, 40.0, 900.0])
activations = st.sampled_from(sorted(ACTIVATIONS))


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn) -> Any:
    image = draw(st.tuples(st.integers(1, 2), small, small, channels))
    size, stride, dilation = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 3))
    fits = all((k - 1) * d + 1 <= n for k, d, n in zip(size, dilation, image[1:3], strict=True))
    padding = draw(st.sampled_from([SAME, VALID])) if fits else SAME
    options = {
        "size": size,
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "activation": draw(activations),
        "per_channel": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "gain": draw(gains),
        "zero_point": 0 if draw(st.booleans()) else draw(zero_points),
    }
    place = {"scale": draw(scales), "zero_point": draw(zero_points)}
    if draw(st.booleans()):
        multiplier = draw(st.integers(1, 3))
        return lambda s: s.depthwise(s.input(image, **place), multiplier, **options)
    groups = draw(st.sampled_from([n for n in range(1, image[3] + 1) if image[3] % n == 0]))
    outputs = groups * draw(st.integers(1, 4))
    return lambda s: s.conv(s.input(image, **place), outputs, groups=groups, **options)


@st.composite
def dense(draw: st.DrawFn) -> Any:
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 70)))
    place = {"scale": draw(scales), "zero_point": draw(zero_points)}
    outputs, activation, gain = draw(channels), draw(activations), draw(gains)
    per_channel, bias = draw(st.booleans()), draw(st.booleans())
    return lambda s: s.dense(s.input(shape, **place), outputs, activation, per_channel, bias, gain=gain, zero_point=0)


@st.composite
def pools(draw: st.DrawFn) -> Any:
    image = draw(st.tuples(st.integers(1, 2), small, small, channels))
    size, stride = draw(pairs(1, 5)), draw(pairs(1, 3))
    fits = size[0] <= image[1] and size[1] <= image[2]
    padding = draw(st.sampled_from([SAME, VALID])) if fits else SAME
    kind, activation = draw(st.sampled_from(["AVERAGE", "MAX"])), draw(activations)
    place = {"scale": draw(scales), "zero_point": draw(st.integers(-128, 100))}
    if activation == "relu_n1_to_1" or place["scale"] * (127 - place["zero_point"]) < 1:
        activation = "none"
    return lambda s: s.pool(s.input(image, **place), kind, size, stride, padding, activation)


@st.composite
def means(draw: st.DrawFn) -> Any:
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True))
    place = {"scale": draw(scales), "zero_point": draw(zero_points)}
    keep, gain, zero_point = draw(st.booleans()), draw(st.sampled_from([0.1, 0.7, 1.0, 1.3, 6.0])), draw(zero_points)
    return lambda s: s.mean(s.input(shape, **place), axes, keep, gain, zero_point)


@st.composite
def additions(draw: st.DrawFn) -> Any:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    other = [1 if draw(st.booleans()) else n for n in shape[draw(st.integers(0, len(shape) - 1)) :]]
    a = {"scale": draw(scales), "zero_point": draw(zero_points)}
    b = {"scale": draw(scales), "zero_point": draw(zero_points)}
    ratio, zero_point = draw(st.floats(0.1, 4.0)), draw(st.integers(-100, 100))
    swap = draw(st.booleans())

    def build(s: Sweep) -> int:
        x, y = s.input(shape, **a), s.input(other, **b)
        return s.add(*((y, x) if swap else (x, y)), max(a["scale"], b["scale"]) * ratio, zero_point)

    return build


@st.composite
def pads(draw: st.DrawFn) -> Any:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    paddings = [draw(pairs(0, 3)) for _ in shape]
    zero_point, value = draw(zero_points), draw(st.none() | zero_points)
    return lambda s: s.pad(s.input(shape, zero_point=zero_point), paddings, value)


# No shrinking: the message names the operator, and every step would build and run a graph.
@settings(
    derandomize=True,
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.one_of(convolutions(), dense(), pools(), means(), additions(), pads()), min_size=25, max_size=40))
def test_random_operators_equal_tflite_micro(builders: list[Any]) -> None:
    s = Sweep(len(builders))
    for build in builders:
        build(s)
    assert_exact(s.build(), sanitize=True)
