"""Networks that run in integers: what goes onto the device answers as Keras does, every score of it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import vectors
from convert.binary import container, device, family, host, reference, view
from convert.errors import OutputsDifferError, UsageError
from training import architectures, backend, binary_deploy, binary_layers, datasets, fitting, recipe, surgery
from training.compression import binarize
from training.progress import Reporter
from training.settings.architectures import LeNet, LeNet300
from training.settings.base import Architecture, Augment
from training.settings.binary import Binarize
from training.settings.data import Digits

MODEL = LeNet(architecture="lenet", filters=[8, 40], dense=[12])


@pytest.fixture(scope="module")
def digits() -> Any:
    return datasets.load(Digits(dataset="digits"), Path())


def settings(scheme: str) -> Binarize:
    return Binarize.model_validate({"technique": "binarize", "scheme": scheme, "epochs": 1, "batch_size": 64})


def untrained(images: Any, scheme: str, architecture: Architecture = MODEL) -> Any:
    """A finished network of random weights, whose batch normalisation has factors of either sign and one of zero."""
    backend.reset(1)
    model = architectures.build(architecture, (8, 8, 1), 10)
    asked, blocks, rng = settings(scheme), binarize.read(model), np.random.default_rng(1)
    names = [block.layer.name for block in blocks]
    network = binarize.rebuilt(model, blocks, names, asked)
    outputs = backend.keras().Model(network.inputs, [layer.output for layer in network.layers])
    for number, layer in enumerate(network.layers):
        if "_norm" in layer.name:
            seen = np.asarray(outputs(images[:32])[number - 1])
            axes = tuple(range(seen.ndim - 1))
            gamma, beta = rng.normal(size=(2, seen.shape[-1]))
            gamma[0] = 0.0
            layer.set_weights([gamma, 0.3 * beta, seen.mean(axes), seen.var(axes) + 0.1])
        elif layer.name in names:
            layer.kernel.assign(rng.uniform(-1, 1, layer.kernel.shape))
    made = {name: binary_layers.finished(network.get_layer(name)) for name in names}
    made[network.layers[-2].name] = binarize.integer_scores(network.layers[-2])
    return surgery.rebuild(network, made)


def integers(net: Any, images: Any) -> Any:
    g = view.load(container.pack_net(net))
    return vectors.quantize_inputs(g, images).view(np.int8)


@pytest.mark.parametrize("scheme", ["integer_bnn", "integer_tnn"])
def test_every_score_is_what_keras_gives(digits: Any, scheme: str) -> None:
    model = untrained(digits.x_train, scheme)
    net = family.net_of_parts(binary_deploy.parts(model))
    wanted = binary_deploy.scores(model, digits.x_test)
    assert len(np.unique(wanted)) > 50
    x = integers(net, digits.x_test)
    unit = np.float32(2.0**net.exponent)
    assert np.array_equal(reference.run(net, x).astype(np.float32) * unit, wanted)
    assert np.array_equal(host.run(net, x).astype(np.float32) * unit, wanted)
    if shutil.which("arm-none-eabi-gcc") is not None and shutil.which("qemu-system-arm") is not None:
        assert np.array_equal(device.run(net, x[:40]).astype(np.float32) * unit, wanted[:40])
    probabilities = fitting.predict(model, digits.x_test)
    assert np.array_equal(probabilities.argmax(1), wanted.argmax(1))


def test_falling_channels_are_pooled_with_and(digits: Any) -> None:
    net = family.net_of_parts(binary_deploy.parts(untrained(digits.x_train, "integer_bnn")))
    assert [bool(0 < layer.falling.mean() < 1) for layer in net.layers if hasattr(layer, "falling")] == [True, True]


@pytest.mark.parametrize(
    "architecture",
    [
        LeNet300(architecture="lenet_300_100", width=0.1),
        LeNet(architecture="lenet", filters=[8, 8], dense=[9], kernel=5),
    ],
    ids=["dense layers only", "windows of 5x5"],
)
def test_other_architectures(digits: Any, architecture: Architecture) -> None:
    model = untrained(digits.x_train, "integer_bnn", architecture)
    net = family.net_of_parts(binary_deploy.parts(model))
    wanted = binary_deploy.scores(model, digits.x_test)
    scores = reference.run(net, integers(net, digits.x_test))
    assert np.array_equal(scores.astype(np.float32) * np.float32(2.0**net.exponent), wanted)


def test_a_trained_network_keeps_its_accuracy_and_its_file(digits: Any, tmp_path: Path) -> None:
    data = fitting.TrainingData(digits, Augment(), 1, Reporter())
    backend.reset(1)
    model = architectures.build(LeNet(architecture="lenet", filters=[16, 32], dense=[32]), (8, 8, 1), 10)
    done = binarize.apply(model, data, settings("integer_bnn").model_copy(update={"epochs": 4}))
    backend.save(done, tmp_path / "model.h5")
    again = backend.load(tmp_path / "model.h5", binarize.custom_layers())
    net = family.net_of_parts(binary_deploy.parts(again))
    scores = reference.run(net, integers(net, digits.x_test))
    assert np.mean(scores.argmax(1) == digits.y_test) == pytest.approx(fitting.accuracy(done, digits), abs=1e-9)
    assert set(np.unique(again.get_layer("conv2").kernel)) == {-1, 1}


def test_a_file_that_answers_differently_is_not_written(digits: Any) -> None:
    model = untrained(digits.x_train, "integer_bnn")
    parts, x = binary_deploy.parts(model), digits.x_test[:20]
    wanted = binary_deploy.scores(model, x)
    assert family.from_trained(parts, x, wanted)[:4] == container.MAGIC
    wanted[3, 2] += 1
    with pytest.raises(OutputsDifferError, match="answers 1 of 20 samples unlike the trained model"):
        family.from_trained(parts, x, wanted)


def test_the_threshold_is_where_the_answer_changes() -> None:
    places = np.array([-7, -3, 0, 4, 8])

    def ask(sums: Any) -> Any:
        found = sums >= places
        found[:, 1] = sums[:, 1] <= -3
        return found

    limits, rising = binary_deploy.threshold(ask, 5, 7)
    assert rising.tolist() == [True, False, True, True, True]
    assert limits.tolist() == [-7, 3, 0, 4, 8], "a falling channel is 1 where the negative sum reaches 3"


def test_what_cannot_be_deployed_is_said() -> None:
    backend.reset(1)
    model = architectures.build(MODEL, (8, 8, 1), 10)
    with pytest.raises(UsageError, match='give its step binarize scheme = "integer_bnn" or "integer_tnn"'):
        binary_deploy.parts(model)
    with pytest.raises(UsageError, match=r"reach 16,777,216; float32, .* take fewer inputs"):
        binary_deploy._check("dense1", 2**24)
    with pytest.raises(UsageError, match="take inputs between 0 and 1, such as images; these lie in -1 to 2"):
        binarize._check_range(np.array([-1.0, 2.0]))
    with pytest.raises(ValueError, match='skip has no place with scheme = "integer_bnn"'):
        Binarize(technique="binarize", epochs=1, scheme="integer_bnn", skip=["conv1"])


@pytest.mark.parametrize(("scheme", "allowed"), [("integer_bnn", True), ("xnor", False)])
def test_firmware_takes_integer_schemes_alone(scheme: str, allowed: bool) -> None:
    found = recipe.load("binary")
    assert recipe.state(found) == "binary"
    changed = found.model_copy(update={"compress": [found.compress[0].model_copy(update={"scheme": scheme})]})
    if allowed:
        recipe.check_firmware(changed)
        return
    with pytest.raises(UsageError, match='scheme = "xnor", which keeps layers in floating point'):
        recipe.check_firmware(changed)


def test_ternary_weights_are_zero_near_zero_and_learn() -> None:
    tf = backend.tensorflow()
    kernel = tf.constant([-2.0, -0.9, -0.1, 0.0, 0.2, 0.8])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        found = binary_layers.ternary(kernel)
    assert found.numpy().tolist() == [-1, -1, 0, 0, 0, 1]
    assert tape.gradient(found, kernel).numpy().tolist() == [0, 1, 1, 1, 1, 1]
