"""The scaled-down families: what their docstrings claim, their int8 form in both runtimes, quantisation-aware training,
and the sentences for samples that they cannot take.
"""

import re
import shutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from convert import golden, graph, quantize
from convert.compiled import compile_model, host
from convert.errors import UsageError
from training import architectures, backend
from training.settings.architectures import Model

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("gcc", "cc", "clang"))), reason="no C compiler")

CLASSES = 10
CLAIM = re.compile(
    r"With (.*?), (\d+)x(\d+)x(\d+) (?:pixels and ten classes|values): ([\d,]+) parameters and ([\d,]+) multiply-acc"
)
SETTINGS: TypeAdapter[Model] = TypeAdapter(Model)


def settings_of(name: str, **values: Any) -> Any:
    return SETTINGS.validate_python({"architecture": name, **values})


def claim(name: str) -> tuple[Any, tuple[int, ...], int, int]:
    """The example in a family's docstring: settings, sample, parameters, multiply-accumulates."""
    text = " ".join(str(import_module(f"training.architectures.{name}").__doc__).split())
    found = CLAIM.search(text)
    assert found is not None, f"{name} claims nothing"
    pairs = re.findall(r"(\w+) = ([\d.]+)", found[1])
    values = {key: float(text) if "." in text else int(text) for key, text in pairs}
    height, width, channels, parameters, macs = (int(n.replace(",", "")) for n in found.groups()[1:])
    return settings_of(name, **values), (height, width, channels), parameters, macs


def scattered(settings: Any, shape: tuple[int, ...], classes: int = CLASSES) -> Any:
    """A model whose normalisations and biases are no longer what every new model has, as after training."""
    backend.reset(1)
    model = architectures.build(settings, shape, classes)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        weights = layer.get_weights()
        if "norm" in layer.name:
            size = weights[0].shape
            layer.set_weights([rng.uniform(0.7, 1.3, size), rng.normal(0, 0.3, size), *weights[2:]])
            layer.momentum = 0.0
        elif len(weights) == 2:
            layer.set_weights([weights[0], weights[1] + rng.normal(0, 0.3, weights[1].shape)])
    model(rng.normal(size=(32, *shape)).astype(np.float32), training=True)  # means and variances
    return model


def converted(model: Any) -> graph.Graph:
    x = np.random.default_rng(3).normal(size=(16, *model.input_shape[1:])).astype(np.float32)
    return graph.load(quantize.to_int8(model, x))


@cache
def example(name: str) -> graph.Graph:
    settings, shape, _, _ = claim(name)
    return converted(scattered(settings, shape))


def vectors(g: graph.Graph, count: int = 4) -> np.ndarray:
    size = sum(g.tensors[i].nbytes for i in g.inputs)
    return np.random.default_rng(4).integers(0, 256, (count, size)).astype(np.uint8)


def assert_runtimes_agree(g: graph.Graph) -> None:
    """Every operator's output, and the final ones, in TFLite Micro and the compiled runtime."""
    x = vectors(g)
    expected = golden.run(g, x, layers=True)
    outputs, layers = host.run(compile_model(g), x, layers=True)
    assert expected.layers is not None and layers is not None
    for index, values in layers.items():
        np.testing.assert_array_equal(values, expected.layers[index], f"tensor {index} {g.tensors[index].name}")
    np.testing.assert_array_equal(outputs, expected.outputs)
    assert len(np.unique(expected.outputs, axis=0)) > 1  # the answers depend on the sample


# Formulas as the docstrings have them: (parameters, multiply-accumulates) of the example

Cost = tuple[int, int]


class Count:
    """Adds up layers with their biases."""

    def __init__(self, height: int, width: int) -> None:
        self.h, self.w, self.parameters, self.macs = height, width, 0, 0

    def conv(self, c_in: int, c_out: int, size: int = 1) -> None:
        self.parameters += size * size * c_in * c_out + c_out
        self.macs += self.h * self.w * size * size * c_in * c_out

    def depthwise(self, channels: int) -> None:
        self.parameters += 10 * channels
        self.macs += self.h * self.w * 9 * channels

    def dense(self, c_in: int, c_out: int) -> None:
        self.parameters += c_in * c_out + c_out
        self.macs += c_in * c_out

    def add(self, parameters: int, macs: int) -> None:
        self.parameters += parameters
        self.macs += macs

    def halve(self) -> None:
        self.h, self.w = -(-self.h // 2), -(-self.w // 2)

    def pool(self) -> None:
        self.h, self.w = self.h // 2, self.w // 2

    def total(self) -> Cost:
        return self.parameters, self.macs


def vgg_small(s: Any, n: Count, c: int) -> None:
    for count in (128, 256, 512):
        out = round(count * s.width)
        for _ in range(s.depth):
            n.conv(c, out, 3)
            c = out
        n.pool()
    n.dense(n.h * n.w * c, CLASSES)


def resnet(s: Any, n: Count, c: int) -> None:
    n.conv(c, round(16 * s.width), 3)
    c = round(16 * s.width)
    for stage in range(3):
        out = round(16 * s.width) << stage
        for block in range(s.depth):
            if stage and not block:
                n.halve()
                n.add(c * out + out, n.h * n.w * c * out)
            n.add(9 * c * out + 9 * out * out + 2 * out, n.h * n.w * 9 * out * (c + out))
            c = out
    n.dense(c, CLASSES)


def densenet(s: Any, n: Count, c: int) -> None:
    k = round(12 * s.width)
    n.conv(c, 2 * k, 3)
    c = 2 * k
    for block in range(3):
        for _ in range(s.depth):
            n.add(9 * c * k + k, n.h * n.w * 9 * c * k)
            c += k
        if block < 2:
            n.pool()
            n.add(c * (c // 2) + c // 2, n.h * n.w * c * (c // 2))
            c //= 2
    n.dense(c, CLASSES)


def squeezenet(s: Any, n: Count, c: int) -> None:
    n.conv(c, round(64 * s.width), 3)
    c = round(64 * s.width)
    for stage in (1, 2, 3):
        n.pool()
        for _ in range(s.depth):
            squeezed = round(16 * stage * s.width)
            e = 4 * squeezed
            n.add(c * squeezed + squeezed + 10 * squeezed * e + 2 * e, n.h * n.w * (c * squeezed + 10 * squeezed * e))
            c = 2 * e
    n.dense(c, CLASSES)


def mobilenet_v1(s: Any, n: Count, c: int) -> None:
    assert s.stem_stride == 1
    n.conv(c, round(32 * s.width), 3)
    c = round(32 * s.width)
    middle = [(512, 1)] * s.depth
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *middle, (1024, 2), (1024, 1)]:
        out = round(out * s.width)
        if stride == 2:
            n.halve()
        n.add(c * (9 + out) + c + out, n.h * n.w * c * (9 + out))
        c = out
    n.dense(c, CLASSES)


def mobilenet_v2(s: Any, n: Count, c: int) -> None:
    assert s.stem_stride == 1
    n.conv(c, round(32 * s.width), 3)
    c = round(32 * s.width)
    stages = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
    for stage, (count, repetitions, stride) in enumerate(stages):
        out = round(count * s.width)
        for block in range(round(repetitions * s.depth)):
            before, t = n.h * n.w, s.expansion if stage else 1
            if stride == 2 and not block:
                n.halve()
            after = n.h * n.w
            if stage:
                n.add(t * c * (c + 9 + out + 2) + out, before * t * c * c + after * t * c * (9 + out))
            else:
                n.add(c * (9 + out) + c + out, after * c * (9 + out))
            c = out
    n.conv(c, round(1280 * s.width))
    n.dense(round(1280 * s.width), CLASSES)


def mobilenet_v3_small(s: Any, n: Count, c: int) -> None:
    assert (s.stem_stride, s.depth) == (1, 0.5)
    n.conv(c, round(16 * s.width), 3)
    c = round(16 * s.width)
    # kernel, expanded, filters, squeeze and excitation, stride; the repeated rows of the paper's table once
    rows = ((3, 16, 16, 1, 2), (3, 72, 24, 0, 2), (3, 88, 24, 0, 1), (5, 96, 40, 1, 2), (5, 240, 40, 1, 1))
    more = ((5, 120, 48, 1, 1), (5, 144, 48, 1, 1), (5, 288, 96, 1, 2), (5, 576, 96, 1, 1))
    for number, (k, expanded, count, gated, stride) in enumerate(rows + more):
        e, out, before = round(expanded * s.width), round(count * s.width), n.h * n.w
        if stride == 2:
            n.halve()
        after = n.h * n.w
        n.add(e * (c + k * k + out + 2) + out, before * e * c + after * e * (k * k + out))
        if number == 0:  # no expansion
            n.add(-(e * c + e), -before * e * c)
        squeezed = max(1, e // 4)
        n.add(gated * (2 * e * squeezed + e + squeezed), gated * 2 * e * squeezed)
        c = out
    n.conv(c, round(576 * s.width))
    n.dense(round(576 * s.width), round(1024 * s.width))
    n.dense(round(1024 * s.width), CLASSES)


def shufflenet_v1(s: Any, n: Count, c: int) -> None:
    g = s.groups
    n.conv(c, g * round(24 * s.width / g), 3)
    c = g * round(24 * s.width / g)
    for stage, count in enumerate((200, 400, 800)):
        out = 4 * g * g * round(count * s.width / (4 * g * g))
        for unit in range(s.depth + 1):
            middle, new = out // 4, out if unit else out - c
            first = 1 if stage == unit == 0 else g
            n.add(c * middle // first + middle, n.h * n.w * c * middle // first)
            if not unit:
                n.halve()
            n.depthwise(middle)
            n.add(middle * new // g + new, n.h * n.w * middle * new // g)
            c = out
    n.dense(c, CLASSES)


def shufflenet_v2(s: Any, n: Count, c: int) -> None:
    n.conv(c, round(24 * s.width), 3)
    c = round(24 * s.width)
    for count in (48, 96, 192):
        q, before = round(count * s.width) // 2, n.h * n.w
        n.halve()
        after = n.h * n.w
        n.add(2 * c * (q + 5) + q * q + 13 * q, before * c * q + after * (9 * c + c * q + 9 * q + q * q))
        c = 2 * q
        for _ in range(s.depth):
            n.add(2 * q * q + 12 * q, n.h * n.w * q * (2 * q + 9))
    n.conv(c, round(1024 * s.width))
    n.dense(round(1024 * s.width), CLASSES)


def recurrent(s: Any, n: Count, c: int) -> None:
    u, k, steps, features = round(32 * s.width), s.kernel, -(-n.h // s.stride), n.w * c
    for _ in range(s.depth):
        n.add(2 * (k * features * u + u), steps * 2 * k * features * u)
        features = u
    n.dense(u, CLASSES)


def autoencoder(s: Any, n: Count, c: int) -> None:
    d, h = n.h * n.w * c, round(128 * s.width)
    weights = 2 * (d * h + (s.depth - 1) * h * h + h * s.code)
    n.add(weights + 2 * s.depth * h + s.code + d, weights)


FORMULAS: dict[str, Callable[[Any, Count, int], None]] = {
    "vgg_small": vgg_small,
    "resnet": resnet,
    "densenet": densenet,
    "squeezenet": squeezenet,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_small": mobilenet_v3_small,
    "shufflenet_v1": shufflenet_v1,
    "shufflenet_v2": shufflenet_v2,
    "recurrent": recurrent,
    "autoencoder": autoencoder,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_docstring_s_figures_are_the_formula_s_and_the_converted_model_s(name: str) -> None:
    settings, (height, width, channels), parameters, macs = claim(name)
    count = Count(height, width)
    FORMULAS[name](settings, count, channels)
    assert count.total() == (parameters, macs)
    g = example(name)
    assert (g.parameters, g.macs) == (parameters, macs)


@needs_compiler
@pytest.mark.parametrize("name", FORMULAS)
def test_both_runtimes_give_the_same_bytes(name: str) -> None:
    assert_runtimes_agree(example(name))


# The narrowest useful model of each family, for quick tests, and the smallest picture that it takes
NARROW: dict[str, tuple[dict[str, Any], int]] = {
    "vgg_small": ({"width": 0.03, "depth": 1}, 8),
    "resnet": ({"width": 0.25}, 4),
    "densenet": ({"width": 0.25, "depth": 1}, 4),
    "squeezenet": ({"width": 0.1, "depth": 1}, 8),
    "mobilenet_v1": ({"width": 0.05, "depth": 0}, 16),
    "mobilenet_v2": ({"width": 0.05, "depth": 0.34}, 16),
    "mobilenet_v3_small": ({"width": 0.1, "depth": 0.34}, 16),
    "shufflenet_v1": ({"width": 0.1, "depth": 0}, 8),
    "shufflenet_v2": ({"width": 0.1, "depth": 0}, 8),
}


@pytest.mark.parametrize("name", NARROW)
def test_the_smallest_picture_is_taken_and_smaller_ones_are_refused_in_one_sentence(name: str) -> None:
    values, side = NARROW[name]
    settings = settings_of(name, **values)
    for shape in ((side, side, 1), (16, 16, 1), (28, 28, 3)):
        model = architectures.build(settings, shape, 4)
        assert model.output_shape == (None, 4)
        answers = np.asarray(model(np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)))
        np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
        assert not any(type(layer).__name__.startswith(("Global", "TFOp", "Slicing")) for layer in model.layers)
    with pytest.raises(UsageError, match=f"{name} .*at least {side}x{side} pixels; the data set has {side - 1}x40"):
        architectures.build(settings, (side - 1, 40, 1), 4)
    with pytest.raises(UsageError, match="takes pictures of height x width x channels; samples are 30"):
        architectures.build(settings, (30,), 4)


def test_a_recurrent_state_is_the_paper_s_recurrence() -> None:
    settings = settings_of("recurrent", width=0.125, stride=2)
    model = scattered(settings, (9, 2, 3), 3)
    keras = backend.keras()
    names = ("layer1_candidate_relu", "layer1_gate", "layer1_state5")
    parts = keras.Model(model.input, [model.get_layer(name).output for name in names])
    z, f, last = (np.asarray(t)[:, :, 0] for t in parts(np.random.default_rng(5).normal(size=(6, 9, 2, 3))))
    assert z.shape == f.shape == (6, 5, 4)
    h = np.zeros((6, 4))
    for step in range(5):
        h = f[:, step] * h + (1 - f[:, step]) * z[:, step]
    np.testing.assert_allclose(last[:, 0], h, atol=1e-5)


def test_what_a_recurrent_network_cannot_take_is_said_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="takes samples of two rows and more x columns x channels; samples are 30"):
        architectures.build(settings_of("recurrent"), (30,), 3)
    with pytest.raises(UsageError, match=r"out 100 steps \(200 rows, stride 2\), and at most 64 are .*set stride = 4 "):
        architectures.build(settings_of("recurrent"), (200, 1, 3), 3)


def test_an_autoencoder_is_for_no_recipe() -> None:
    settings = settings_of("autoencoder", width=0.1, depth=1)
    model = architectures.build(settings, (4, 4, 2), 3)
    assert model.output_shape == (None, 4, 4, 2)
    with pytest.raises(UsageError, match="gives its sample back and has no classes"):
        architectures.callbacks(settings, model, 10)


NO_QAT = {"mobilenet_v3_small", "recurrent"}  # hard swish, products


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*NARROW, "autoencoder", "recurrent"}))
def test_quantization_aware_training_takes_a_family_or_its_docstring_says_that_it_does_not(name: str) -> None:
    values, side = NARROW.get(name, ({"width": 0.1, "depth": 1}, 4))
    model = scattered(settings_of(name, **values), (side, side, 1), 3)
    quantize_model = backend.tfmot().quantization.keras.quantize_model
    says_not = "refuses this family" in str(import_module(f"training.architectures.{name}").__doc__)
    assert says_not == (name in NO_QAT)
    if says_not:
        with pytest.raises(RuntimeError, match="not supported"):
            quantize_model(model)
        return
    aware = quantize_model(model)
    x = np.random.default_rng(6).normal(size=(8, side, side, 1)).astype(np.float32)
    aware.compile("sgd", "mse", run_eagerly=True)  # tracing costs more than one step
    before = [w.copy() for w in aware.get_weights()]
    aware.train_on_batch(x, np.asarray(model(x)) + 1)
    changed = sum(np.abs(a - b).max() > 0 for a, b in zip(before, aware.get_weights(), strict=True))
    assert changed > len(model.trainable_weights) / 2
    g = graph.load(quantize.to_int8(aware, x))  # raises where an operator stays in floating point
    assert g.parameters > 0


@pytest.mark.parametrize(("name", "parameters"), [("mobilenet_v1", 4_253_864), ("mobilenet_v2", 3_538_984)])
def test_at_full_width_it_is_the_paper_s_network(name: str, parameters: int) -> None:
    settings = settings_of(name, width=1.0, stem_stride=2)
    model = architectures.build(settings, (224, 224, 3), 1000)
    assert model.count_params() == parameters  # what Keras Applications counts
