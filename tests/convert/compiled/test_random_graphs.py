"""Random operators with random parameters, many to a graph, every layer against TFLite Micro."""

from typing import Any

import numpy as np
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


@st.composite
def binaries(draw: st.DrawFn) -> Any:
    name = draw(st.sampled_from(["SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU", "SQUARED_DIFFERENCE"]))
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    other = [1 if draw(st.booleans()) else n for n in shape[draw(st.integers(0, len(shape) - 1)) :]]
    a = {"scale": draw(scales), "zero_point": draw(zero_points)}
    b = {"scale": draw(scales), "zero_point": draw(zero_points)}
    out = {"scale": max(a["scale"], b["scale"]) * draw(st.floats(0.1, 4.0)), "zero_point": draw(st.integers(-100, 100))}
    activation = draw(st.sampled_from(["none", "relu"]))
    if name in ("MAXIMUM", "MINIMUM"):
        b = out = a
    constant, swap = draw(st.booleans()), draw(st.booleans())

    def build(s: Sweep) -> int:
        x = s.input(shape, **a)
        y = s.tensor(other, data=s.rng.integers(-128, 128, other), **b) if constant else s.input(other, **b)
        if swap and a == b:
            x, y = y, x
        return s.binary(name, x, y, activation=activation, **out)

    return build


@st.composite
def tables(draw: st.DrawFn) -> Any:
    name = draw(st.sampled_from(["ABS", "ELU", "HARD_SWISH", "LEAKY_RELU", "TANH", "RELU", "LOGISTIC"]))
    place = {"scale": draw(st.floats(2.0**-10, 1.0)), "zero_point": draw(zero_points)}
    out = place["scale"] * draw(st.floats(0.3, 4.0)), draw(zero_points)
    out = {"TANH": (1 / 128, 0), "LOGISTIC": (1 / 256, -128)}.get(name, out)
    options = {"alpha": draw(st.floats(-1.0, 2.0, width=32))} if name == "LEAKY_RELU" else {}
    return lambda s: s.unary(name, s.input((1, 99), **place), *out, **options)


@st.composite
def reductions(draw: st.DrawFn) -> Any:
    name = draw(st.sampled_from(["SUM", "REDUCE_MAX", "REDUCE_MIN", "ARG_MAX", "ARG_MIN", "L2_NORMALIZATION"]))
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True))
    place = {"scale": draw(scales), "zero_point": draw(zero_points)}
    keep, gain, zero_point = draw(st.booleans()), draw(st.sampled_from([0.05, 0.3, 1.0, 6.0])), draw(zero_points)

    def build(s: Sweep) -> int:
        x = s.input(shape, **place)
        if name == "SUM":
            return s.mean(x, axes, keep, gain, zero_point, name)
        if name == "L2_NORMALIZATION":
            return s.op(name, [x], s.tensor(shape, scale=1 / 128, zero_point=0), "L2NormOptions")
        return s.arg(name, x, axes[0]) if name.startswith("ARG") else s.extreme(name, x, axes, keep)

    return build


def _transpose(s: Sweep, x: int) -> int:
    return s.transpose(x, s.rng.permutation(len(s.shape(x))))


def _slice(s: Sweep, x: int) -> int:
    begin = [int(s.rng.integers(0, n)) for n in s.shape(x)]
    size = [int(s.rng.integers(1, n - b + 1)) for n, b in zip(s.shape(x), begin, strict=True)]
    return s.slice(x, begin, size)


def _strided_slice(s: Sweep, x: int) -> int:
    rank = len(s.shape(x))
    strides = s.rng.choice([-2, -1, 1, 2, 3], rank)
    return s.strided_slice(x, [0] * rank, [0] * rank, strides, 15, 15)


def _reverse(s: Sweep, x: int) -> int:
    axis = s.constant([s.rng.integers(len(s.shape(x)))])
    return s.moved("REVERSE_V2", [x, axis], s.shape(x), "ReverseV2Options")


def _gather(s: Sweep, x: int) -> int:
    axis = int(s.rng.integers(len(s.shape(x))))
    return s.gather(x, s.constant(s.rng.integers(0, s.shape(x)[axis], 3)), axis)


def _concatenation(s: Sweep, x: int) -> int:
    t = s.tensors[x]
    axis = int(s.rng.integers(len(t.shape)))
    data = s.rng.integers(-128, 128, t.shape)
    constant = s.tensor(t.shape, scale=t.scale, zero_point=t.zero_point, data=data)
    parts = [[x, constant], [constant, x, x], [_reverse(s, x), x]][s.rng.integers(3)]
    return s.concatenation(parts, axis)


def _split(s: Sweep, x: int) -> int:
    axis = int(s.rng.integers(len(s.shape(x))))
    n = s.shape(x)[axis]
    cut = int(s.rng.integers(1, n)) if n > 1 else 1
    parts = s.divided("SPLIT_V", x, axis, [cut, n - cut] if n > cut else [n])
    return parts[s.rng.integers(len(parts))] if s.rng.integers(2) else s.concatenation(parts[::-1], axis)


def _pack(s: Sweep, x: int) -> int:
    if len(s.shape(x)) == 4:
        return s.divided("UNPACK", x, 3, [1] * s.shape(x)[3])[0]
    return s.pack([x, _reverse(s, x)], int(s.rng.integers(len(s.shape(x)) + 1)))


def _mirror_pad(s: Sweep, x: int) -> int:
    return s.mirror_pad(x, [s.rng.integers(0, n, 2) for n in s.shape(x)], int(s.rng.integers(2)))


def _image(s: Sweep, x: int) -> int:
    """A tensor of 4 dimensions with 4 channels."""
    n = int(np.prod(s.shape(x)))
    return s.reshape(s.gather(s.reshape(x, (n,)), s.constant(s.rng.integers(0, n, 96)), 0), (2, 4, 3, 4))


def _resize(s: Sweep, x: int) -> int:
    kind = ["BILINEAR", "NEAREST_NEIGHBOR"][s.rng.integers(2)]
    return s.resize(kind, _image(s, x), s.rng.integers(1, 9, 2), align=bool(s.rng.integers(2)))


def _blocks(s: Sweep, x: int) -> int:
    x = _image(s, x)
    if s.rng.integers(2):
        return s.blocks("DEPTH_TO_SPACE", x, 2)
    x = s.batches("BATCH_TO_SPACE_ND", x, (2, 1), ((1, 2), (0, 1)))
    return s.batches("SPACE_TO_BATCH_ND", x, (1, 2), ((0, 0), (0, 0)))


def _unary(s: Sweep, x: int) -> int:
    name = ["ABS", "ELU", "HARD_SWISH"][s.rng.integers(3)]
    return s.unary(name, x, float(s.tensors[x].scale) * 0.9, int(s.rng.integers(-128, 128)))


def _binary(s: Sweep, x: int) -> int:
    t = s.tensors[x]
    y = s.tensor(t.shape[-1:], scale=t.scale, zero_point=t.zero_point, data=s.rng.integers(-128, 128, t.shape[-1:]))
    other = [x, y, _reverse(s, x)][s.rng.integers(3)]
    name = ["SUB", "MUL", "MAXIMUM", "PRELU"][s.rng.integers(4)]
    if name == "MAXIMUM":
        return s.binary(name, x, other, t.scale, t.zero_point)
    return s.binary(name, *((x, other) if name == "PRELU" or s.rng.integers(2) else (other, x)), float(t.scale) * 1.5)


_STEPS = (
    *(_transpose, _slice, _strided_slice, _reverse, _gather, _concatenation, _split, _pack),
    *(_mirror_pad, _resize, _blocks, _unary, _binary),
)


def chain(seed: int, length: int) -> Any:
    """Operators one after the other, so that memory is used again and outputs lie over their inputs."""

    def build(s: Sweep) -> int:
        s.rng = np.random.default_rng(seed)
        x = s.input(s.rng.integers(1, 6, s.rng.integers(1, 5)), scale=0.05, zero_point=int(s.rng.integers(-128, 128)))
        for _ in range(length):
            if np.prod(s.shape(x)) > 1500:
                x = _slice(s, x)
            x = _STEPS[s.rng.integers(len(_STEPS))](s, x)
        return x

    return build


# No shrinking: the message names the operator, and every step would build and run a graph.
everything = st.one_of(
    *(convolutions(), dense(), pools(), means(), additions(), pads(), binaries(), tables(), reductions()),
    st.builds(chain, st.integers(0, 2**32), st.integers(1, 2)),
)
without_shrinking = settings(
    derandomize=True,
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@without_shrinking
@given(st.lists(everything, min_size=25, max_size=40))
def test_random_operators_equal_tflite_micro(builders: list[Any]) -> None:
    s = Sweep(len(builders))
    for build in builders:
        build(s)
    assert_exact(s.build(), sanitize=True)


@without_shrinking
@given(st.lists(st.builds(chain, st.integers(0, 2**32), st.integers(4, 12)), min_size=4, max_size=8))
def test_random_chains_equal_tflite_micro(builders: list[Any]) -> None:
    s = Sweep()
    for build in builders:
        build(s)
    assert_exact(s.build(ends_only=True), sanitize=True)
