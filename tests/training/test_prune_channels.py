from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import graph, quantize
from convert.errors import UsageError
from training import architectures, backend, channels, compression, datasets, fitting
from training.compression import channel_criteria
from training.progress import Reporter
from training.settings.architectures import DsCnn, LeNet
from training.settings.base import Augment
from training.settings.channels import PruneChannels
from training.settings.data import Digits

CRITERIA = ("random", "mean_activation", "entropy", "scaled_entropy", "l1", "apoz", "sensitivity")


def settings(**changes: object) -> PruneChannels:
    return PruneChannels.model_validate({"technique": "prune_channels", "epochs": 0, **changes})


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    whole = datasets.load(Digits(dataset="digits"), Path())
    part = datasets.Dataset(whole.card, whole.x_train[:200], whole.y_train[:200], whole.x_test[:50], whole.y_test[:50])
    return fitting.TrainingData(part, Augment(), 1, Reporter())


# Small models, each with one thing that channels have to be followed through


def normalised(x: Any, layer: Any, activation: bool = True) -> Any:
    layers = backend.keras().layers
    x = layers.BatchNormalization(name=f"{layer.name}_norm")(layer(x))
    return layers.ReLU(name=f"{layer.name}_relu")(x) if activation else x


def chain(x: Any) -> Any:
    layers = backend.keras().layers
    x = normalised(x, layers.Conv2D(6, 3, padding="same", name="one"))
    x = layers.ZeroPadding2D(1, name="pad")(layers.MaxPooling2D(2, name="pool")(x))
    x = layers.PReLU(name="slopes")(layers.Conv2D(8, 3, name="two")(x))
    return layers.GlobalAveragePooling2D(name="average")(x)


def residual(x: Any) -> Any:
    layers = backend.keras().layers
    x = normalised(x, layers.Conv2D(6, 3, 2, "same", name="stem"))
    y = normalised(x, layers.Conv2D(9, 3, padding="same", name="inner"))
    y = normalised(y, layers.Conv2D(6, 3, padding="same", name="outer"), activation=False)
    x = layers.ReLU(name="joined")(layers.Add(name="sum")([x, y]))
    z = normalised(x, layers.Conv2D(6, 1, name="again"), activation=False)
    return layers.Flatten(name="flat")(layers.Add(name="sum2")([x, z]))


def separable(x: Any) -> Any:
    layers = backend.keras().layers
    x = normalised(x, layers.Conv2D(6, 3, 2, "same", use_bias=False, name="stem"))
    x = normalised(x, layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise"))
    x = normalised(x, layers.Conv2D(8, 1, name="pointwise"))
    return layers.Flatten(name="flat")(layers.AveragePooling2D(4, name="pool")(x))


def dense_net(x: Any) -> Any:
    layers = backend.keras().layers
    x = normalised(x, layers.Conv2D(6, 3, 2, "same", name="stem"))
    for k in (1, 2):
        y = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"grow{k}")(x)
        x = layers.BatchNormalization(name=f"norm{k}")(layers.Concatenate(name=f"join{k}")([x, y]))
    return layers.GlobalMaxPooling2D(name="most")(x)


def flat(x: Any) -> Any:
    layers = backend.keras().layers
    x = layers.Conv2D(6, 3, activation="relu", name="one")(x)
    x = layers.Reshape((36, 6), name="rows")(x)
    x = layers.Conv1D(5, 3, activation="relu", name="two")(x)
    x = layers.Dropout(0.5, name="dropout")(layers.Flatten(name="flat")(x))
    return layers.Dense(12, activation="relu", name="hidden")(x)


def gated(x: Any) -> Any:
    """Squeeze and excitation, and a layer that is called twice."""
    layers = backend.keras().layers
    x = normalised(x, layers.Conv2D(6, 3, 2, "same", name="stem"))
    gate = layers.Dense(6, name="excite")(layers.Dense(4, activation="relu", name="squeeze")(average(x)))
    x = layers.Multiply(name="gates")([x, layers.Reshape((1, 1, 6), name="spread")(gate)])
    shared = layers.Conv2D(6, 1, activation="relu", name="shared")
    return average(layers.Concatenate(name="both", axis=1)([shared(shared(x)), x]))


def average(x: Any) -> Any:
    return backend.keras().layers.GlobalAveragePooling2D()(x)


BODIES: dict[str, tuple[Callable[[Any], Any], list[tuple[str, ...]]]] = {
    "chain": (chain, [("one",), ("two",)]),
    "residual": (residual, [("stem", "outer", "again"), ("inner",)]),
    "separable": (separable, [("stem",), ("pointwise",)]),
    "dense_net": (dense_net, [("stem",), ("grow1",), ("grow2",)]),
    "flat": (flat, [("one",), ("two",), ("hidden",)]),
    "gated": (gated, [("stem", "excite", "shared"), ("squeeze",)]),
}


def built(body: Callable[[Any], Any]) -> Any:
    """A model with every weight drawn at random, batch normalisation's too."""
    backend.reset(3)
    keras = backend.keras()
    image = keras.layers.Input((8, 8, 1), name="image")
    # No softmax: saturated, it would hide everything.
    model = keras.Model(image, keras.layers.Dense(10, name="scores")(body(image)))
    rng = np.random.default_rng(0)

    def drawn(w: Any) -> Any:
        scale = np.sqrt(max(1, np.prod(w.shape[:-1])))
        return rng.uniform(0.2, 1, w.shape) * rng.choice([-0.3, 1], w.shape) / scale

    model.set_weights([drawn(w) for w in model.get_weights()])
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([np.abs(w) for w in layer.get_weights()])  # variances are not negative
    return model


def silence(model: Any, found: channels.Channels, gone: list[int]) -> None:
    """Make the channels of units zero wherever they are made or normalised."""
    for layer in model.layers:
        dead = np.isin(found.outputs.get(layer.name, []), gone)
        weights = layer.get_weights()
        if layer.name in found.makers:
            weights = [np.where(dead, 0, w) for w in weights]
        elif type(layer).__name__ == "BatchNormalization":
            gamma, beta, mean, variance = weights
            weights = [gamma, np.where(dead, 0, beta), np.where(dead, 0, mean), variance]
        elif type(layer).__name__ == "DepthwiseConv2D":
            weights[1] = np.where(dead, 0, weights[1])
        layer.set_weights(weights)


@pytest.mark.parametrize("body", BODIES)
def test_channels_that_are_zero_go_without_a_trace(body: str, data: fitting.TrainingData) -> None:
    model, x = built(BODIES[body][0]), data.dataset.x_test
    found = channels.trace(model)
    groups = found.groups()
    assert [group.layers for group in groups] == BODIES[body][1]
    rng = np.random.default_rng(1)
    gone = [unit for group in groups for unit in rng.permutation(group.units)[: len(group.units) // 2].tolist()]
    silence(model, found, gone)
    smaller = channels.without(model, found, gone)
    assert smaller.count_params() < 0.7 * model.count_params()
    before = fitting.predict(model, x)
    assert np.abs(before).max() > 0.1
    assert np.allclose(before, fitting.predict(smaller, x), rtol=1e-5, atol=1e-5)
    for group in groups:
        for name in group.layers:
            assert smaller.get_layer(name).output_shape[-1] == -(-model.get_layer(name).output_shape[-1] // 2)


@pytest.mark.parametrize("body", BODIES)
def test_channels_that_matter_are_missed(body: str, data: fitting.TrainingData) -> None:
    model, x = built(BODIES[body][0]), data.dataset.x_test
    found = channels.trace(model)
    for group in found.groups():
        smaller = channels.without(model, found, group.units[:1].tolist())
        assert np.abs(fitting.predict(model, x) - fitting.predict(smaller, x)).max() > 1e-3


def test_tied_channels_are_the_same_unit() -> None:
    found = channels.trace(built(residual))
    assert found.outputs["stem"].tolist() == found.outputs["outer"].tolist() == found.outputs["again"].tolist()
    assert not set(found.outputs["stem"].tolist()) & set(found.outputs["inner"].tolist())
    assert found.inputs["scores"].tolist() == found.outputs["stem"].tolist() * 16
    assert set(found.outputs["scores"].tolist()) <= found.fixed


def test_a_depthwise_convolution_follows_its_input() -> None:
    found = channels.trace(built(separable))
    assert found.outputs["depthwise"].tolist() == np.repeat(found.outputs["stem"], 2).tolist()


# What cannot be followed


def test_a_layer_that_is_not_known_is_named() -> None:
    model = built(lambda x: average(backend.keras().layers.LayerNormalization(name="strange")(x)))
    with pytest.raises(UsageError, match=r"how layer strange \(LayerNormalization\) treats channels is not known"):
        channels.trace(model)


def test_a_grouped_convolution_keeps_its_channels_and_those_before_it() -> None:
    def body(x: Any) -> Any:
        layers = backend.keras().layers
        x = layers.Conv2D(6, 3, name="free")(x)
        x = layers.Conv2D(6, 1, name="before")(x)
        x = layers.Conv2D(9, 1, name="after")(layers.Conv2D(6, 3, groups=2, name="grouped")(x))
        return average(x)

    found = channels.trace(built(body))
    assert [group.layers for group in found.groups()] == [("free",), ("after",)]
    assert found.rigid == ("grouped",)


def test_a_slice_of_channels_keeps_them(data: fitting.TrainingData) -> None:
    def body(x: Any) -> Any:
        layers = backend.keras().layers
        x = layers.Conv2D(6, 3, name="sliced")(x)
        return average(layers.Cropping2D(((0, 0), (0, 3)), "channels_first", name="slice")(x))

    with pytest.raises(UsageError, match=r"those that could are none \(slice need theirs in fixed numbers\)"):
        compression.apply(built(body), data, settings())


def test_channels_in_the_first_axis_are_refused() -> None:
    def body(x: Any) -> Any:
        layers = backend.keras().layers
        return layers.Flatten()(layers.Conv2D(3, 3, data_format="channels_first", padding="same", name="odd")(x))

    with pytest.raises(UsageError, match="layer odd has its channels first"):
        channels.trace(built(body))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"skip": ["stems"]}, r"compress\.skip names 'stems', which makes no channels.*did you mean 'stem'\?"),
        (
            {"layers": {"scores": 0.5}},
            r"compress\.layers names 'scores', .*layers that do are stem, outer, again, inner",
        ),
        ({"layers": {"stem": 0.5, "outer": 0.2}}, r"compress\.layers gives stem, outer, again the shares 0\.2, 0\.5"),
        ({"skip": ["stem", "inner"]}, r"finds no layer that may lose channels; .*take some out of skip"),
        ({"share": 0.01}, r"share = 0\.01 removes none of 6 in stem and outer and again, 9 in inner; raise the share"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    changes: dict[str, object], sentence: str, data: fitting.TrainingData
) -> None:
    with pytest.raises(UsageError, match=sentence):
        compression.apply(built(residual), data, settings(**changes))


def test_shares_can_be_given_a_layer(data: fitting.TrainingData) -> None:
    asked = settings(share=0.5, layers={"outer": 0.2}, skip=["inner"])
    smaller = compression.apply(built(residual), data, asked)
    assert [smaller.get_layer(name).filters for name in ("stem", "outer", "again", "inner")] == [5, 5, 5, 9]
    smaller = compression.apply(built(flat), data, settings(share=0.5, dense=False))
    assert (smaller.get_layer("one").filters, smaller.get_layer("hidden").units) == (3, 12)


def test_at_least_one_channel_of_each_layer_stays(data: fitting.TrainingData) -> None:
    smaller = compression.apply(built(chain), data, settings(share=0.99))
    assert [smaller.get_layer(name).filters for name in ("one", "two")] == [1, 1]


# What the criteria say, on filters that differ in one thing


def probe(kernels: list[float], biases: list[float]) -> Any:
    """1x1 filters of one pixel each: channel k of `one` is relu(kernels[k] * pixel + biases[k])."""
    backend.reset(1)
    keras = backend.keras()
    image = keras.layers.Input((8, 8, 1), name="image")
    x = keras.layers.ReLU(name="relu")(keras.layers.Conv2D(len(kernels), 1, name="one")(image))
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax", name="scores")(average(x)))
    model.get_layer("one").set_weights([np.array(kernels).reshape(1, 1, 1, -1), np.array(biases)])
    return model


def scored(model: Any, data: fitting.TrainingData, criterion: str) -> Any:
    found = channels.trace(model)
    groups = [group for group in found.groups() if group.layers == ("one",)]
    return channel_criteria.scores(model, found, groups, data, settings(criterion=criterion))[0]


@pytest.mark.parametrize(
    ("criterion", "kernels", "biases", "order"),
    [
        # pixels are between 0 and 1
        ("l1", [-3.0, 1.0, 2.0], [0.0, 9.0, 0.0], [1, 2, 0]),
        ("mean_activation", [-3.0, 1.0, 2.0], [0.0, 9.0, 0.0], [0, 2, 1]),  # all zeros, twice the pixel, bias
        ("apoz", [1.0, 1.0, 1.0], [-0.9, 0.1, -0.2], [0, 2, 1]),
        ("entropy", [0.0, 1.0, 1.0], [5.0, -0.99, 0.1], [0, 1, 2]),  # constant, rare, varied
        ("entropy", [0.0, 0.01, 1.0], [5.0, 0.1, -0.99], [0, 2, 1]),  # no magnitude: the small one is varied too
        ("scaled_entropy", [0.0, 0.01, 1.0], [5.0, 0.0, 0.1], [0, 1, 2]),
    ],
)
def test_a_criterion_ranks_as_it_says(
    criterion: str, kernels: list[float], biases: list[float], order: list[int], data: fitting.TrainingData
) -> None:
    assert np.argsort(scored(probe(kernels, biases), data, criterion)).tolist() == order


def test_sensitivity_is_the_gradient_of_the_loss(data: fitting.TrainingData) -> None:
    model = probe([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    weights = np.zeros((3, 10))
    weights[0, ::2], weights[2, ::2] = 0.1, 1.0  # what follows ignores channel 1 and hears channel 2 best
    model.get_layer("scores").set_weights([weights, np.zeros(10)])
    values = scored(model, data, "sensitivity")
    assert values[1] == 0
    assert values[2] == pytest.approx(10 * values[0], rel=1e-3)
    # By finite differences of the loss, batch by batch as the settings say.
    x, labels = data.dataset.x_train, np.eye(10)[data.dataset.y_train]

    def losses(shift: float) -> Any:
        model.get_layer("one").set_weights([np.array([1.0, 1.0, 1.0 + shift]).reshape(1, 1, 1, 3), np.zeros(3)])
        loss = -np.log((np.asarray(model(x), np.float64) * labels).sum(1))
        return np.array([loss[:128].mean(), loss[128:].mean()])

    slopes = np.abs(losses(0.05) - losses(-0.05)) / 0.1
    assert values[2] / values[0] == pytest.approx(10, rel=1e-3)
    sums = channel_criteria._gradients(model, ["one"], data, settings())["one"]
    losses(0.0)
    assert channel_criteria._gradients(model, ["one"], data, settings())["one"][2] == pytest.approx(
        slopes.sum(), rel=0.02
    )
    assert sums.shape == (3,)


def test_entropy_is_in_bits() -> None:
    columns = np.stack([np.arange(64) % 4, np.zeros(64), np.arange(64)], axis=1)
    assert channel_criteria.entropy(columns, 32).tolist() == pytest.approx([2, 0, 5])


def test_random_is_a_function_of_the_seed(data: fitting.TrainingData) -> None:
    model = built(chain)
    kept = [compression.apply(model, data, settings(criterion="random")).get_weights() for _ in range(2)]
    assert all(np.array_equal(*pair) for pair in zip(*kept, strict=True))
    other = fitting.TrainingData(data.dataset, data.augment, 2, data.reporter)
    again = compression.apply(model, other, settings(criterion="random")).get_weights()
    assert any(not np.array_equal(*pair) for pair in zip(kept[0], again, strict=True))


def test_tied_layers_decide_together(data: fitting.TrainingData) -> None:
    model = built(residual)
    for name, scale in (("stem", 1.0), ("outer", 100.0), ("again", 1.0)):
        kernel, bias = model.get_layer(name).get_weights()
        kernel = np.ones_like(kernel) * scale
        kernel[..., 2] = 0  # the channel that all of them can do without
        kernel[..., 4] *= 0.01 if name == "outer" else 1.3
        model.get_layer(name).set_weights([kernel, bias])
    found = channels.trace(model)
    group = found.groups()[0]
    values = channel_criteria.scores(model, found, [group], data, settings(criterion="l1"))[0]
    assert np.argsort(values)[:2].tolist() == [2, 4]


def test_activations_are_seen_behind_normalisation_and_sum() -> None:
    model = built(residual)
    seen = {name: channels.activation(model, name) for name in ("stem", "inner", "outer", "again", "scores")}
    assert {name: tensor._keras_history.layer.name for name, tensor in seen.items()} == {
        "stem": "stem_relu",
        "inner": "inner_relu",
        "outer": "joined",
        "again": "sum2",
        "scores": "scores",
    }


# As a step of a recipe


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_pruned_model_is_smaller_trains_and_reloads(
    criterion: str, data: fitting.TrainingData, tmp_path: Path
) -> None:
    backend.reset(1)
    blocks = [{"filters": 16, "stride": 2}, {"filters": 16}]
    family = DsCnn.model_validate({"architecture": "ds_cnn", "stem_filters": 8, "stem_stride": 1, "blocks": blocks})
    model = architectures.build(family, (8, 8, 1), 10)
    asked = settings(criterion=criterion, share=0.25, epochs=1, batch_size=50)
    smaller = compression.apply(model, data, asked)
    assert [smaller.get_layer(n).filters for n in ("stem", "block1_pointwise", "block2_pointwise")] == [6, 12, 12]
    backend.save(smaller, tmp_path / "model.h5")
    again, x = backend.load(tmp_path / "model.h5"), data.dataset.x_test
    assert np.array_equal(fitting.predict(again, x), fitting.predict(smaller, x))


def test_the_same_step_gives_the_same_bytes(data: fitting.TrainingData, tmp_path: Path) -> None:
    family = LeNet(architecture="lenet", filters=[4, 6], dense=[10])
    for name in ("one.h5", "two.h5"):
        backend.reset(1)
        model = architectures.build(family, (8, 8, 1), 10)
        backend.save(compression.apply(model, data, settings(criterion="sensitivity", epochs=1)), tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_int8_models_get_smaller_and_faster(data: fitting.TrainingData) -> None:
    backend.reset(1)
    model = architectures.build(LeNet(architecture="lenet", filters=[8, 16], dense=[32]), (8, 8, 1), 10)
    smaller = compression.apply(model, data, settings())
    before, after = (graph.load(quantize.to_int8(m, data.dataset.x_train)) for m in (model, smaller))
    assert len(after.data) < len(before.data)
    # conv1 half, conv2 and dense1 a quarter, scores half
    assert before.macs == 64 * 9 * 8 + 16 * 9 * 8 * 16 + 4 * 16 * 32 + 320
    assert after.macs == 64 * 9 * 4 + 16 * 9 * 4 * 8 + 4 * 8 * 16 + 160
    assert after.parameters < 0.3 * before.parameters
