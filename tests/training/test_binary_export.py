from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import graph, quantize
from convert.errors import UsageError
from training import architectures, backend, binary_export, binary_layers, datasets, fitting, surgery
from training.binary_export import BinaryConv, BinaryDense, MaxPool, Threshold, pack, unpack
from training.compression import binarize
from training.settings.architectures import LeNet
from training.settings.binary import Binarize
from training.settings.data import Digits

SCHEMES = ["bnn", "binary_connect", "binary_weights", "xnor"]


@pytest.fixture(scope="module")
def images() -> Any:
    """Pixels of 64 digits."""
    return datasets.load(Digits(dataset="digits"), Path()).x_test[:64]


@pytest.fixture(scope="module")
def models(images: Any) -> dict[tuple[str, bool], Any]:
    """A binary network of each scheme; True: first and last layer too. 40 filters do not fill their words.

    Weights are random, batch normalisation's factors of either sign, its means and variances those of such sums.
    """
    backend.reset(1)
    model = architectures.build(LeNet(architecture="lenet", filters=[8, 40], dense=[12]), (8, 8, 1), 10)
    kinds = [(scheme, everything) for scheme in SCHEMES for everything in (False, True)]
    return {(scheme, every): untrained(model, images, scheme, [] if every else None) for scheme, every in kinds}


def untrained(model: Any, images: Any, scheme: str, skip: list[str] | None) -> Any:
    """A finished binary network with random weights of a model's shape."""
    settings = Binarize.model_validate({"technique": "binarize", "scheme": scheme, "epochs": 1, "skip": skip})
    blocks, rng = binarize.read(model), np.random.default_rng(1)
    chosen = binarize._chosen([block.layer.name for block in blocks], skip)
    network = binarize.rebuilt(model, blocks, chosen, settings)
    outputs = backend.keras().Model(network.inputs, [layer.output for layer in network.layers])
    for number, layer in enumerate(network.layers):
        if "_norm" in layer.name:
            seen = np.asarray(outputs(images[:16])[number - 1])
            axes = tuple(range(seen.ndim - 1))
            gamma, beta = rng.normal(size=(2, seen.shape[-1]))
            layer.set_weights([gamma, 0.3 * beta, seen.mean(axes), seen.var(axes) + 0.1])
        elif chosen.count(layer.name):
            layer.kernel.assign(rng.uniform(-1, 1, layer.kernel.shape))
    return surgery.rebuild(network, {name: binary_layers.finished(network.get_layer(name)) for name in chosen})


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_packed_model_predicts_what_keras_does(models: Any, images: Any, scheme: str, everything: bool) -> None:
    model = models[scheme, everything]
    wanted, found = fitting.predict(model, images), binary_export.export(model).predict(images)
    assert np.array_equal(found.argmax(1), wanted.argmax(1))
    assert np.allclose(found, wanted, atol=1e-5)
    assert np.ptp(wanted, axis=0).max() > 0.1


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("scheme", ["bnn", "xnor"])
def test_from_the_first_sign_on_every_bit_is_keras_own(models: Any, images: Any, scheme: str, everything: bool) -> None:
    """Fed with Keras' own signs, sums, maxima and thresholds are exactly Keras'."""
    model = models[scheme, everything]
    keras, compared, x = backend.keras(), 0, images
    ops = binary_export.export(model).ops
    bits = keras.Model(model.inputs, [layer.output for layer in model.layers if "_sign" in layer.name])(x)
    starts = [k for k, op in enumerate(ops) if isinstance(op, Threshold)]
    for number, start in enumerate(starts[:-1]):
        state, scale = np.asarray(bits[number]) > 0, np.float32(1)
        for op in ops[start + 1 : starts[number + 1] + 1]:
            state = op(state)
            layer = model.get_layer(op.name)
            scale = layer.scale.numpy() if getattr(layer, "scaled", False) else scale
            if isinstance(op, BinaryConv | BinaryDense | MaxPool):
                assert state.dtype == np.int32
                found = np.asarray(keras.Model(model.inputs, layer.output)(x))
                assert np.array_equal(state.astype(np.float32) * scale, found)
        assert np.array_equal(state, np.asarray(bits[number + 1]) > 0)
        compared += state.size
    assert compared > 0


def test_words_hold_one_bit_a_weight(models: Any) -> None:
    model = models["bnn", False]
    packed = binary_export.export(model)
    conv = next(op for op in packed.ops if isinstance(op, BinaryConv))
    dense = next(op for op in packed.ops if isinstance(op, BinaryDense))
    assert conv.words.shape == (40, 3, 3, 1)
    assert dense.words.shape == (12, 5)
    kernel = model.get_layer("dense1").kernel.numpy()
    for unit, index in [(0, 0), (3, 31), (3, 32), (11, 159)]:
        assert bool(dense.words[unit, index // 32] >> (index % 32) & 1) == (kernel[index, unit] > 0)
    kernel = model.get_layer("conv2").kernel.numpy()
    assert np.array_equal(unpack(conv.words, 8), kernel.transpose(3, 0, 1, 2) > 0)
    assert packed.weight_bits == 9 * 8 * 40 + 160 * 12


def test_bytes_are_counted(models: Any) -> None:
    packed = binary_export.export(models["bnn", False])
    first, last = 4 * 9 * 8, 4 * (12 * 10 + 10)
    words = 4 * (40 * 9) + 4 * (12 * 5)
    limits = (4 * 8 + 1) + (2 * 40 + 5) + (2 * 12 + 2)  # floats after the first layer, int16 after sums; directions
    assert packed.nbytes == first + last + words + limits
    scaled = binary_export.export(models["xnor", False])
    assert scaled.nbytes - packed.nbytes == 8 * 8 + 8 * 12 - (2 * 12 + 2)  # two that end in a ReLU: factor and offset


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_becomes_int8_as_well(models: Any, images: Any, scheme: str) -> None:
    """As eight-bit numbers the weights are +-127, so that a binary network runs wherever the others do."""
    loaded = graph.load(quantize.to_int8(models[scheme, False], images))
    weights = [t.data for t in loaded.tensors if t.data is not None and t.data.size == 9 * 8 * 40]
    assert [set(np.unique(w)) for w in weights] == [{-127, 127}]


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_packing_is_undone(count: int) -> None:
    bits = np.random.default_rng(count).random((3, 2, count)) < 0.5
    words = pack(bits)
    assert words.dtype == np.uint32
    assert words.shape == (3, 2, -(-count // 32))
    assert np.array_equal(unpack(words, count), bits)
    assert np.array_equal(words[..., -1] >> np.uint32((count - 1) % 32) >> np.uint32(1), np.zeros((3, 2)))


@pytest.mark.parametrize("scale", [None, np.array([0.3, 0.0, 1.7, 0.01, 0.4], np.float32)])
def test_thresholds_are_batch_normalisations(scale: Any) -> None:
    backend.reset(1)
    layer = backend.keras().layers.BatchNormalization()
    layer.build((None, 3, 3, 5))
    # Rising, falling, constant, a threshold out of reach, and one exactly on an integer.
    layer.set_weights(
        [np.array(v, np.float32) for v in ([1, -2, 0, 1, 1], [0.3, 0.1, -1, 5, 0], [2, -3, 0, 0, 4], [4] * 5)]
    )
    sums = np.arange(-9, 10, dtype=np.int32)[:, np.newaxis, np.newaxis, np.newaxis] + np.zeros((1, 3, 3, 5), np.int32)
    real = sums.astype(np.float32) * (1 if scale is None else scale)
    wanted = np.asarray(layer(real)) >= 0
    assert np.array_equal(binary_export._threshold(layer, 9, scale)(sums), wanted)
    factors, offsets = binary_export._affine(layer, scale)
    assert np.array_equal(binary_export._limits("norm", factors, offsets)(sums.astype(np.float32)), wanted)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 3)])
def test_convolutions_with_strides_equal_keras(padding: str, strides: tuple[int, int]) -> None:
    keras = backend.keras()
    backend.reset(1)
    layers = keras.layers
    image = layers.Input((11, 9, 1))
    x = layers.Conv2D(5, 3, strides=strides, padding=padding, activation="relu", name="first")(image)
    x = layers.Conv2D(7, (3, 2), strides=strides, padding=padding, name="second")(x)
    outputs = layers.Dense(3, activation="softmax")(layers.Flatten()(x))
    model = keras.Model(image, outputs)
    asked = Binarize(technique="binarize", scheme="bnn", epochs=1, skip=["dense"])
    network = binarize.rebuilt(model, binarize.read(model), ["first", "second"], asked)
    finish = {name: binary_layers.finished(network.get_layer(name)) for name in ("first", "second")}
    done = surgery.rebuild(network, finish)
    x = np.random.default_rng(1).integers(-3, 4, (20, 11, 9, 1)).astype(np.float32)
    assert np.allclose(binary_export.export(done).predict(x), fitting.predict(done, x), atol=1e-6)


def test_what_cannot_be_packed_is_said() -> None:
    backend.reset(1)
    model = architectures.build(LeNet(architecture="lenet", filters=[4, 4], dense=[8]), (8, 8, 1), 10)
    with pytest.raises(UsageError, match="has no binary layers to pack; add a step binarize"):
        binary_export.export(model)
    scaled = Binarize(technique="binarize", epochs=1, scale_input=True)
    with pytest.raises(UsageError, match="scale_input = true cannot be packed"):
        binary_export.export(binarize.rebuilt(model, binarize.read(model), ["conv2"], scaled))
    latent = binarize.rebuilt(model, binarize.read(model), ["conv2"], Binarize(technique="binarize", epochs=1))
    with pytest.raises(UsageError, match="layer conv2 holds latent weights still"):
        binary_export.export(latent)
