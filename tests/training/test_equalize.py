from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import accuracy, golden, graph, variants, vectors
from convert.errors import UsageError
from convert.scheme import Scheme
from training import architectures, backend, chains, compression, datasets, fitting, folding, rounding
from training.compression import equalize
from training.progress import Reporter
from training.settings.architectures import DsCnn
from training.settings.base import Augment, Train
from training.settings.data import Digits
from training.settings.post_training import Equalize


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    whole = datasets.load(Digits(dataset="digits"), Path())
    return fitting.TrainingData(whole, Augment(), 1, Reporter())


def settings(**changes: object) -> Equalize:
    return Equalize.model_validate({"technique": "equalize", "absorb_bias": False, **changes})


def shaken(model: Any, seed: int = 0) -> Any:
    """Random weights whose channels differ a hundredfold, as in models of the wild."""
    rng = np.random.default_rng(seed)

    def draw(weights: Any) -> Any:
        return (rng.normal(size=weights.shape) * 10 ** rng.uniform(-1, 1, weights.shape[-1])).astype(np.float32)

    for layer in model.layers:
        if type(layer) is backend.keras().layers.BatchNormalization:
            layer.set_weights([np.abs(draw(w)) + 0.1 for w in layer.get_weights()])
        elif layer.get_weights():
            layer.set_weights([draw(w) for w in layer.get_weights()])
    return model


def separable(relu: Any = None) -> Any:
    """Convolution, depthwise (two outputs a channel), pointwise, pooling, two dense layers."""
    backend.reset(1)
    layers = backend.keras().layers
    relu = relu or layers.ReLU
    x = image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="stem")(x)
    x = relu(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False, name="depthwise")(x)
    x = relu(name="depthwise_relu")(layers.BatchNormalization(name="depthwise_norm")(x))
    x = layers.Conv2D(5, 1, activation="relu", name="pointwise")(x)
    x = layers.Flatten(name="flat")(layers.AveragePooling2D(2, name="pool")(x))
    x = layers.Dense(7, activation="relu", name="hidden")(layers.Dropout(0.5, name="drop")(x))
    return shaken(backend.keras().Model(image, layers.Dense(4, name="scores")(x), name="separable"))


def alike(a: Any, b: Any) -> float:
    """Largest difference, relative to the largest answer."""
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(a)).max())


def test_pairs_are_found_through_all_that_lets_a_scale_pass() -> None:
    found = [(link.first.name, link.second.name, link.channels) for link in chains.links(folding.fold(separable()))]
    assert found == [
        ("stem", "depthwise", 6),
        ("depthwise", "pointwise", 12),
        ("pointwise", "hidden", 5),
        ("hidden", "scores", 7),
    ]


def test_pairs_end_where_a_scale_does_not_pass() -> None:
    layers = backend.keras().layers
    image = layers.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="read_twice")(image)
    x = layers.Add()([layers.Conv2D(4, 1, activation="tanh", name="tanh")(x), x])
    x = layers.Conv2D(4, 1, activation="relu6", name="six")(x)
    x = layers.Conv2D(4, 1, activation="relu", name="before_groups")(x)
    x = layers.Conv2D(4, 1, groups=2, activation="relu", name="groups")(x)
    answer = layers.Conv2D(4, 1, activation="relu", name="answer")(x)
    model = backend.keras().Model(image, [answer, layers.Conv2D(2, 1, name="more")(answer)])
    assert [(link.first.name, link.second.name) for link in chains.links(model)] == [("groups", "answer")]


def test_the_function_stays_and_ranges_become_alike(data: fitting.TrainingData) -> None:
    model = separable()
    x = data.dataset.x_test[:64]
    before = model(x)
    equalised = compression.apply(model, data, settings())
    assert alike(before, equalised(x)) < 1e-5
    kernels = {link.first.name: link.first.get_weights()[0] for link in chains.links(equalised)}
    kernels |= {link.second.name: link.second.get_weights()[0] for link in chains.links(equalised)}
    for link in chains.links(equalised):
        made, read = equalize.ranges(link, kernels)
        assert made == pytest.approx(read, rel=5e-3)


def test_the_paper_s_scale_for_one_pair(data: fitting.TrainingData) -> None:
    """s = sqrt(r1 r2) / r2, worked out by hand."""
    layers = backend.keras().layers
    image = layers.Input((8, 8, 1))
    x = layers.Dense(2, activation="relu", name="first")(layers.Flatten()(image))
    model = backend.keras().Model(image, layers.Dense(1, name="second")(x))
    first = np.zeros((64, 2), np.float32)
    first[3], first[4] = [8, -0.5], [-2, 0.25]
    model.get_layer("first").set_weights([first, np.float32([4, 1])])
    model.get_layer("second").set_weights([np.float32([[0.5], [-2]]), np.float32([0])])
    equalised = compression.apply(model, data, settings())
    kernel, bias = equalised.get_layer("first").get_weights()
    assert kernel[3:5] == pytest.approx(np.float32([[2, -1], [-0.5, 0.5]]))  # s = 4 and 0.5
    assert bias == pytest.approx([1, 2])
    assert equalised.get_layer("second").get_weights()[0] == pytest.approx(np.float32([[2], [-1]]))


def test_dead_channels_are_left_alone(data: fitting.TrainingData) -> None:
    model = folding.fold(separable())
    kernel, bias = model.get_layer("stem").get_weights()
    kernel[..., 2] = 0
    model.get_layer("stem").set_weights([kernel, bias])
    equalised = compression.apply(model, data, settings())
    assert alike(model(data.dataset.x_test[:32]), equalised(data.dataset.x_test[:32])) < 1e-5
    assert np.isfinite(np.concatenate([w.ravel() for w in equalised.get_weights()])).all()


def test_relu6_is_replaced_only_on_request(data: fitting.TrainingData) -> None:
    def six(name: str) -> Any:
        return backend.keras().layers.ReLU(6.0, name=name)

    kept = compression.apply(separable(six), data, settings())
    assert kept.get_layer("stem_relu").max_value == 6
    assert [link.first.name for link in chains.links(kept)] == ["pointwise", "hidden"]
    replaced = compression.apply(separable(six), data, settings(replace_relu6=True))
    assert [link.first.name for link in chains.links(replaced)] == ["stem", "depthwise", "pointwise", "hidden"]
    plain = separable()
    assert alike(plain(data.dataset.x_test[:64]), replaced(data.dataset.x_test[:64])) < 1e-5


def test_high_biases_move_to_the_next_layer(data: fitting.TrainingData) -> None:
    model = folding.fold(separable())
    for name in ("depthwise", "hidden"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel, bias + 500 * np.abs(kernel).max()])
    x = data.dataset.x_train[:512]
    equalised = compression.apply(model, data, settings())
    absorbed = compression.apply(model, data, settings(absorb_bias=True))
    assert alike(model(x), absorbed(x)) < 1e-3
    for name in ("depthwise", "hidden"):
        assert (absorbed.get_layer(name).get_weights()[1] < 0.5 * equalised.get_layer(name).get_weights()[1]).all()
        assert np.array_equal(absorbed.get_layer(name).get_weights()[0], equalised.get_layer(name).get_weights()[0])
    # The depthwise layer pads with zeros: what the stem keeps back would be missing at the border.
    assert np.array_equal(absorbed.get_layer("stem").get_weights()[1], equalised.get_layer("stem").get_weights()[1])


def test_a_model_with_nothing_to_balance_is_refused(data: fitting.TrainingData) -> None:
    layers = backend.keras().layers
    image = layers.Input((8, 8, 1))
    model = backend.keras().Model(image, layers.Dense(10)(layers.Flatten()(image)))
    with pytest.raises(UsageError, match=r"equalize found no two layers to balance: .*set replace_relu6 = true, or"):
        compression.apply(model, data, settings())


def test_the_same_bytes_twice_and_after_loading(data: fitting.TrainingData, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        model = compression.apply(separable(), data, settings(absorb_bias=True))
        backend.save(model, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    x = data.dataset.x_test[:8]
    assert np.array_equal(backend.load(tmp_path / "one.h5")(x), model(x))


def in_the_wild(model: Any) -> Any:
    """The same function with channels up to a thousandfold apart, as training without care may leave them."""
    made, rng = folding.fold(model), np.random.default_rng(1)
    for link in chains.links(made):
        scales = 2 ** rng.uniform(-5, 5, link.channels)
        kernel, bias = link.first.get_weights()
        link.first.set_weights([chains.scale_outputs(link.first, kernel, scales), bias * scales])
        kernel, bias = link.second.get_weights()
        link.second.set_weights([chains.scale_inputs(link.second, kernel, 1 / scales), bias])
    return made


def per_tensor(model: Any) -> tuple[Any, Scheme]:
    """Weights rounded to int8 with one scale a tensor."""
    folded = folding.fold(model)
    found = {layer.name: rounding.grid(layer, 8, False, "max") for layer in rounding.layers(folded)}
    return rounding.rounded(folded, found), Scheme("int8", found)


@pytest.mark.slow
def test_int8_of_a_model_with_uneven_channels_is_rescued(data: fitting.TrainingData) -> None:
    """In TFLite Micro, with scales a channel or a tensor: unevenness loses badly, equalising wins it back."""
    settings_of_model = {"architecture": "ds_cnn", "stem_filters": 8, "stem_stride": 1, "blocks": [{"filters": 24}]}
    backend.reset(1)
    model = architectures.build(DsCnn.model_validate(settings_of_model), data.dataset.card.shape, 10)
    fitting.fit(model, data, Train(epochs=20, batch_size=32, learning_rate=2e-2), "float")
    x, y = data.dataset.x_test, data.dataset.y_test

    def int8(made: Any, scheme: Scheme) -> float:
        view = graph.load(variants.to_tflite(made, data.dataset.x_train[:100], scheme))
        return accuracy.top1(view, golden.run(view, vectors.quantize_inputs(view, x)).outputs, y)

    uneven = in_the_wild(model)
    rescued = compression.apply(uneven, data, settings(absorb_bias=True))
    whole = fitting.accuracy(model, data.dataset)
    assert whole > 0.85
    assert fitting.accuracy(uneven, data.dataset) == pytest.approx(whole, abs=0.003)
    for store in (lambda made: (made, Scheme()), per_tensor):
        assert int8(*store(uneven)) < whole - 0.15
        assert int8(*store(rescued)) > whole - 0.03
