from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.errors import UsageError
from training import architectures, backend, binary_layers, compression, datasets, fitting, surgery
from training.compression import binarize
from training.progress import Reporter
from training.settings.architectures import DsCnn, LeNet, LeNet5, LeNet300
from training.settings.base import Augment
from training.settings.binary import Binarize
from training.settings.data import Digits

SCHEMES = ["bnn", "binary_connect", "binary_weights", "xnor"]
MODEL = LeNet(architecture="lenet", filters=[4, 6], dense=[8])


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    """Half of the digits."""
    whole = datasets.load(Digits(dataset="digits"), Path())
    part = datasets.Dataset(whole.card, whole.x_train[:768], whole.y_train[:768], whole.x_test, whole.y_test)
    return fitting.TrainingData(part, Augment(), 1, Reporter())


@pytest.fixture
def model() -> Any:
    backend.reset(1)
    return architectures.build(MODEL, (8, 8, 1), 10)


def settings(**changes: object) -> Binarize:
    return Binarize.model_validate({"technique": "binarize", "epochs": 1, "batch_size": 64, **changes})


def order(model: Any) -> str:
    """Names of the layers between input and probabilities."""
    return " ".join(layer.name for layer in model.layers[1:-1])


def rebuilt(model: Any, **changes: object) -> Any:
    asked, blocks = settings(**changes), binarize.read(model)
    return binarize.rebuilt(model, blocks, binarize._chosen([block.layer.name for block in blocks], asked.skip), asked)


def binary(model: Any) -> list[Any]:
    return [layer for layer in model.layers if type(layer).__name__ in ("BinaryConv2D", "BinaryDense")]


def test_the_sign_lets_the_gradient_through_between_minus_one_and_one() -> None:
    tf = backend.tensorflow()
    x = tf.constant([-1.5, -1.0, -0.2, 0.0, 0.7, 1.0, 1.001])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = binary_layers.sign(x)
        loss = tf.reduce_sum(y * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]))
    assert y.numpy().tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert tape.gradient(loss, x).numpy().tolist() == [0, 2, 3, 4, 5, 6, 0]


def test_the_scale_is_the_nearest_of_all() -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 5)).astype(np.float32)
    scales = binary_layers.scales(kernel).numpy()
    signs = binary_layers.sign(kernel).numpy()

    def distance(scale: Any) -> Any:
        return ((kernel - scale * signs) ** 2).sum((0, 1, 2))

    solved = [np.linalg.lstsq(signs[..., k].reshape(-1, 1), kernel[..., k].ravel())[0][0] for k in range(5)]
    assert scales == pytest.approx(np.array(solved), rel=1e-5)
    assert (distance(scales) < distance(scales * 1.01)).all()
    assert (distance(scales) < distance(scales * 0.99)).all()
    assert (((kernel - scales * signs) ** 2).sum() < ((kernel - scales * -signs) ** 2).sum()).all()


ORDERS = {
    "bnn": "conv1 pool1 conv1_norm conv1_sign conv2 pool2 conv2_norm conv2_sign "
    "dense1_flatten dense1 dense1_norm dense1_sign scores",
    "binary_connect": "conv1 pool1 conv1_norm conv1_relu conv2 pool2 conv2_norm conv2_relu "
    "dense1_flatten dense1 dense1_norm dense1_relu scores",
    "binary_weights": "conv1 conv1_norm conv1_relu pool1 conv2 conv2_norm conv2_relu pool2 "
    "dense1_flatten dense1 dense1_norm dense1_relu scores",
    "xnor": "conv1 conv1_norm conv1_relu pool1 conv2_norm conv2_sign conv2 pool2 "
    "dense1_norm dense1_sign dense1_flatten dense1 scores_norm scores_relu scores",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_blocks_stand_in_the_order_of_the_paper(model: Any, scheme: str) -> None:
    network = rebuilt(model, scheme=scheme)
    assert order(network) == ORDERS[scheme]
    assert [layer.name for layer in binary(network)] == ["conv2", "dense1"]
    assert all(layer.scaled == (scheme in ("binary_weights", "xnor")) for layer in binary(network))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_skipped_makes_first_and_last_binary(model: Any, scheme: str) -> None:
    network = rebuilt(model, scheme=scheme, skip=[])
    assert [layer.name for layer in binary(network)] == ["conv1", "conv2", "dense1", "scores"]
    assert network.layers[1].name == "conv1", "the first layer sees the real input"
    assert "_norm" in network.layers[-2].name, "sums of +-1 are too large for a softmax"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_skipped_layer_in_the_middle_keeps_its_weights(model: Any, scheme: str) -> None:
    network = rebuilt(model, scheme=scheme, skip=["conv1", "conv2", "scores"])
    assert [layer.name for layer in binary(network)] == ["dense1"]
    assert np.array_equal(network.get_layer("conv2").kernel, model.get_layer("conv2").kernel)
    names = order(network).split()
    before = names[names.index("conv2") - 1]
    assert before == {"bnn": "conv1_sign", "binary_connect": "conv1_relu", "xnor": "conv2_relu"}.get(scheme, "pool1")


def test_training_starts_from_the_models_weights(model: Any) -> None:
    model.get_layer("conv2").kernel.assign_add(np.ones_like(model.get_layer("conv2").kernel))
    network = rebuilt(model)
    assert np.array_equal(network.get_layer("conv1").kernel, model.get_layer("conv1").kernel)
    assert np.array_equal(network.get_layer("conv2").kernel, np.clip(model.get_layer("conv2").kernel, -1, 1))
    assert np.array_equal(network.get_layer("scores").bias, model.get_layer("scores").bias)


def test_dropout_stays_before_real_inputs_only() -> None:
    backend.reset(1)
    model = architectures.build(LeNet300(architecture="lenet_300_100", width=0.1, dropout=0.5), (8, 8, 1), 10)
    assert "scores_dropout" in order(rebuilt(model, scheme="xnor"))
    assert "dense2_dropout" not in order(rebuilt(model, scheme="xnor"))
    assert "dropout" not in order(rebuilt(model, scheme="bnn"))
    assert "dense2_dropout" in order(rebuilt(model, scheme="binary_connect"))


def test_k_is_the_papers(model: Any) -> None:
    network = rebuilt(model, scheme="xnor", scale_input=True)
    network.get_layer("conv2_norm").beta.assign([-0.5, -0.1, 0, 0.1])
    image = np.random.default_rng(1).normal(size=(2, 8, 8, 1)).astype(np.float32)
    wanted = ("conv2_norm", "conv2_sign", "conv2", "conv2_scaled", "dense1_norm", "dense1", "dense1_scaled")
    outputs = backend.keras().Model(network.inputs, [network.get_layer(name).output for name in wanted])
    maps, signs, sums, scaled, features, dense, dense_scaled = (np.asarray(t) for t in outputs(image))
    assert set(np.unique(signs)) == {-1, 1}
    means = np.pad(np.abs(maps).mean(3), [(0, 0), (1, 1), (1, 1)])
    k = np.lib.stride_tricks.sliding_window_view(means, (3, 3), axis=(1, 2)).mean((3, 4))
    assert np.allclose(scaled, sums * k[..., np.newaxis], rtol=1e-5)
    assert np.allclose(dense_scaled, dense * np.abs(features).mean((1, 2, 3))[:, np.newaxis], rtol=1e-5)


def test_binary_maps_are_padded_with_minus_one(model: Any) -> None:
    layer = rebuilt(model, scheme="bnn").get_layer("conv2")
    layer.kernel.assign(np.ones_like(layer.kernel))
    sums = np.asarray(layer(np.ones((1, 5, 5, 4), np.float32)))[0, :, :, 0]
    assert sums[2, 2] == 36
    assert sums[0, 2] == 24 - 12
    assert sums[0, 0] == 16 - 20


@pytest.mark.parametrize(("size", "stride"), [(7, 1), (7, 2), (8, 2), (8, 3)])
def test_padding_is_tensorflows(size: int, stride: int) -> None:
    tf = backend.tensorflow()
    x, kernel = np.ones((1, size, size, 1), np.float32), np.ones((4, 3, 1, 1), np.float32)
    padded = np.pad(x, [(0, 0), binary_layers.edges(size, 4, stride), binary_layers.edges(size, 3, stride), (0, 0)])
    assert np.array_equal(tf.nn.conv2d(padded, kernel, stride, "VALID"), tf.nn.conv2d(x, kernel, stride, "SAME"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_learns_and_its_file_holds_bits(data: fitting.TrainingData, tmp_path: Path, scheme: str) -> None:
    backend.reset(1)
    larger = LeNet(architecture="lenet", filters=[8, 24], dense=[24])
    asked = settings(scheme=scheme, epochs=8, batch_size=32, learning_rate=0.01)
    trained = compression.apply(architectures.build(larger, (8, 8, 1), 10), data, asked)
    assert fitting.accuracy(trained, data.dataset) > 0.75
    backend.save(trained, tmp_path / "model.h5")
    loaded = backend.load(tmp_path / "model.h5", compression.custom_layers([asked]))
    x = data.dataset.x_test
    assert np.array_equal(fitting.predict(loaded, x), fitting.predict(trained, x))
    assert [layer.name for layer in binary(loaded)] == ["conv2", "dense1"]
    for layer in binary(loaded):
        assert set(np.unique(layer.kernel)) == {-1, 1}
        assert not layer.latent
        assert not layer.trainable_weights
        assert (len(layer.weights) == 2) == layer.scaled
        if layer.scaled:
            assert (layer.scale.numpy() > 0).all()
            assert len(np.unique(layer.scale)) > 1


@pytest.mark.parametrize("scheme", ["bnn", "xnor"])
def test_finishing_changes_nothing(model: Any, data: fitting.TrainingData, scheme: str) -> None:
    network = rebuilt(model, scheme=scheme)
    done = surgery.rebuild(network, {layer.name: binary_layers.finished(layer) for layer in binary(network)})
    x = data.dataset.x_test
    assert np.array_equal(fitting.predict(done, x), fitting.predict(network, x))


def test_latent_weights_stay_between_minus_one_and_one(model: Any, data: fitting.TrainingData) -> None:
    network = rebuilt(model, scheme="bnn")
    fitting.fit(network, data, settings(epochs=2, learning_rate=1.0, schedule="constant"), "test")
    latent = np.concatenate([layer.kernel.numpy().ravel() for layer in binary(network)])
    assert np.abs(latent).max() == 1
    assert len(np.unique(latent)) > 2


def test_the_same_seed_gives_the_same_bytes(data: fitting.TrainingData, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        backend.reset(3)
        model = architectures.build(MODEL, (8, 8, 1), 10)
        backend.save(compression.apply(model, data, settings()), tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_classic_networks_can_be_taken() -> None:
    backend.reset(1)
    network = rebuilt(architectures.build(LeNet5(architecture="lenet_5", width=0.1), (16, 16, 1), 10), scheme="xnor")
    assert [layer.name for layer in binary(network)] == ["conv2", "dense1"]


def test_an_unknown_layer_to_skip_is_named(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(
        UsageError, match=r"compress\.skip names 'conv3', .*layers with weights are conv1, conv2, dense"
    ):
        compression.apply(model, data, settings(skip=["conv3"]))


def test_a_model_of_which_nothing_is_left_is_refused(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"of conv1, conv2, dense1, scores, compress\.skip keeps all"):
        compression.apply(model, data, settings(skip=["conv1", "conv2", "dense1", "scores"]))


def test_a_model_with_other_layers_is_refused(data: fitting.TrainingData) -> None:
    backend.reset(1)
    asked = DsCnn(architecture="ds_cnn", stem_filters=4, blocks=[{"filters": 8}])  # type: ignore[list-item]
    model = architectures.build(asked, (8, 8, 1), 10)
    with pytest.raises(
        UsageError, match="cannot take layer 'block1_depthwise' of type DepthwiseConv2D; it takes Conv2D"
    ):
        compression.apply(model, data, settings())


def test_a_graph_with_branches_is_refused(data: fitting.TrainingData) -> None:
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same")(image)
    x = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(x)])
    outputs = layers.Dense(10, activation="softmax")(layers.Flatten()(x))
    with pytest.raises(UsageError, match="has branches or a layer that is used twice"):
        compression.apply(keras.Model(image, outputs), data, settings())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda k: [k.Flatten(), k.Dense(10)], "ends in a softmax"),
        (lambda k: [k.Dense(4), k.Flatten(), k.Dense(10), k.Softmax()], "put a Flatten layer before it"),
        (lambda k: [k.Conv2D(4, 3, activation="tanh"), k.Flatten(), k.Dense(10, "softmax")], "activation tanh"),
        (lambda k: [k.Conv2D(4, 3, dilation_rate=2), k.Flatten(), k.Dense(10, "softmax")], "dilation_rate must be 1"),
        (lambda k: [k.MaxPooling2D(2), k.Flatten(), k.Dense(10, "softmax")], "MaxPooling2D after a convolution"),
        (lambda k: [k.Flatten(), k.Dense(10), k.ReLU(6), k.Dense(10, "softmax")], "of type ReLU"),
    ],
)
def test_what_has_no_place_is_said(make: Any, words: str) -> None:
    keras = backend.keras()
    x = image = keras.layers.Input((8, 8, 1))
    for layer in make(keras.layers):
        x = layer(x)
    with pytest.raises(UsageError, match=words):
        binarize.read(keras.Model(image, x))
