from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import graph, variants
from convert.errors import UsageError
from training import architectures, backend, calibration, compression, datasets, fitting, folding, grids
from training.compression import adaround, correct_bias
from training.progress import Reporter
from training.settings.architectures import DsCnn, LeNet
from training.settings.base import Augment, Train
from training.settings.data import Digits
from training.settings.post_training import AdaRound, CorrectBias, Rounding

LENET = LeNet(architecture="lenet", filters=[8, 16], dense=[32])
DS_CNN = DsCnn.model_validate(
    {"architecture": "ds_cnn", "stem_filters": 8, "stem_stride": 1, "blocks": [{"filters": 16}]}
)


def told(seed: int) -> fitting.TrainingData:
    return fitting.TrainingData(datasets.load(Digits(dataset="digits"), Path()), Augment(), seed, Reporter())


def trained(architecture: Any, seed: int, epochs: int = 10) -> tuple[Any, fitting.TrainingData]:
    data = told(seed)
    backend.reset(seed)
    model = architectures.build(architecture, data.dataset.card.shape, 10)
    fitting.fit(
        model, replace(data, augment=Augment(shift=1)), Train(epochs=epochs, batch_size=32, learning_rate=5e-3), "float"
    )
    return model, data


@pytest.fixture(scope="module")
def separable() -> tuple[Any, fitting.TrainingData]:
    """A small depthwise-separable network that knows digits."""
    return trained(DS_CNN, 1)


def ada(**changes: object) -> AdaRound:
    return AdaRound.model_validate({"technique": "adaround", "iterations": 300, "weight_bits": 3, **changes})


def bias(**changes: object) -> CorrectBias:
    return CorrectBias.model_validate({"technique": "correct_bias", "weight_bits": 3, **changes})


def nearest(model: Any, settings: Rounding) -> Any:
    """Plain rounding to nearest, for comparison."""
    folded = folding.fold(model)
    for layer in calibration.layers_to_round(folded, settings):
        weights = calibration.matrix(layer)
        scales = calibration.scales(layer, settings)
        integers = grids.nearest(weights, scales, settings.weight_bits)
        calibration.set_matrix(layer, grids.values(integers, scales))
    return folded


def on_grid(model: Any, name: str) -> Any:
    """The integers of a layer's weights, after checking that they are some of the grid that travels with the model."""
    grid = backend.scheme(model).grids[name]
    scales, weights = np.float32(grid.scales), calibration.matrix(model.get_layer(name))
    integers = grids.nearest(weights, scales, grid.bits)
    assert np.array_equal(grids.values(integers, scales), weights)
    return integers


def tasks(model: Any, data: fitting.TrainingData, settings: AdaRound) -> dict[str, adaround.Task]:
    folded = folding.fold(model)
    x = data.dataset.x_train[:256]
    names = [layer.name for layer in calibration.layers_to_round(folded, settings)]
    return {name: adaround._task(folded, nearest(model, settings), name, x, settings, 5) for name in names}


@pytest.mark.parametrize("per_channel", [False, True])
def test_every_layer_answers_more_truly_than_with_nearest_rounding(
    separable: tuple[Any, fitting.TrainingData], per_channel: bool
) -> None:
    settings = ada(per_channel=per_channel)
    found = tasks(*separable, settings)
    assert set(found) == {"stem", "block1_depthwise", "block1_pointwise", "scores"}
    assert [task.relu for task in found.values()] == [True, True, True, False]
    seen: list[tuple[int, str]] = []

    def show(step: int, words: str) -> None:
        seen.append((step, words))

    for task in found.values():
        plain = grids.nearest(task.weights, task.scales, 3)
        integers = adaround.optimize(task, settings, 5, show)
        assert adaround.error(task, integers) < 0.9 * adaround.error(task, plain)
        # One of the two neighbours, or the grid's end.
        assert (np.abs(integers) <= 3).all()
        exact = np.clip(task.weights / task.scales, -3, 3)
        assert (np.abs(integers - exact) <= 1 + 1e-5).all()
    assert [step for step, _ in seen] == [100, 200, 300] * 4
    assert seen[-1][1].startswith("error 0.")


def test_rounding_is_decided_when_the_pull_is_over(separable: Any) -> None:
    """All but a few of the soft values have come to 0 or 1 by themselves: nothing is lost when they are cut."""
    tf = backend.tensorflow()
    model, data = separable
    settings = ada(iterations=1000)
    task = tasks(model, data, settings)["block1_pointwise"]
    exact = task.weights / task.scales
    below = np.floor(exact).astype(np.float32)
    v = tf.Variable(tf.zeros(below.shape))
    step = adaround._stepper(
        task, settings, 1, adaround.error(task, grids.nearest(task.weights, task.scales, 3)), below, v
    )
    step(tf.constant(0), tf.constant(settings.iterations))
    soft = adaround._soft(tf, v).numpy()
    assert np.mean(np.minimum(soft, 1 - soft) < 0.01) > 0.85


@pytest.mark.slow
def test_accuracy_is_won_back() -> None:
    """Plain ternary rounding loses badly, bias correction wins some of it back, adaptive rounding most; two seeds."""
    lost, corrected, adaptive = [], [], []
    for seed in (1, 2):
        model, data = trained(LENET, seed, epochs=12)
        few: dict[str, Any] = {"weight_bits": 2, "per_channel": False}
        made = [nearest(model, ada(**few)), *(compression.apply(model, data, step(**few)) for step in (bias, ada))]
        whole = fitting.accuracy(model, data.dataset)
        for drops, one in zip((lost, corrected, adaptive), made, strict=True):
            drops.append(whole - fitting.accuracy(one, data.dataset))
    assert np.mean(lost) > 0.2
    assert np.mean(corrected) < 0.8 * np.mean(lost)
    assert np.mean(adaptive) < 0.3 * np.mean(lost)


@pytest.mark.parametrize(
    "step", [ada(), ada(per_channel=False, weight_bits=4), bias(), bias(clipping="max", weight_bits=8)]
)
def test_weights_lie_on_the_grids_that_travel_with_the_model(separable: Any, step: Any, tmp_path: Path) -> None:
    model, data = separable
    made = [compression.apply(model, data, step) for _ in range(2)]
    for number, one in enumerate(made):
        backend.save(one, tmp_path / f"{number}.h5")
    assert (tmp_path / "0.h5").read_bytes() == (tmp_path / "1.h5").read_bytes()
    loaded = backend.load(tmp_path / "0.h5")
    assert np.array_equal(loaded(data.dataset.x_test[:9]), made[0](data.dataset.x_test[:9]))
    names = {"stem", "block1_depthwise", "block1_pointwise", "scores"}
    assert set(backend.scheme(loaded).grids) == names
    channels = {"stem": 8, "block1_depthwise": 8, "block1_pointwise": 16, "scores": 10}
    for name in names:
        assert len(backend.scheme(loaded).grids[name].scales) == (
            channels[name] if step.per_channel and name != "scores" else 1
        )
        assert np.abs(on_grid(loaded, name)).max() <= grids.largest(step.weight_bits)


def test_conversion_keeps_exactly_the_chosen_integers(separable: Any) -> None:
    model, data = separable
    made = compression.apply(model, data, ada(iterations=50, weight_bits=4))
    view = graph.load(variants.to_tflite(made, data.dataset.x_train[:50], backend.scheme(made)))
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    stored = [view.tensors[op.inputs[1]].data for op in view.operators if op.name in kinds]
    names = ("stem", "block1_depthwise", "block1_pointwise", "scores")
    for name, integers in zip(names, stored, strict=True):
        assert integers is not None
        last = name == "block1_depthwise"  # where TFLite has the output channels
        found = np.asarray(integers).reshape(-1, integers.shape[-1]) if last else integers.reshape(len(integers), -1).T
        assert np.array_equal(found, on_grid(made, name))


def test_skipped_layers_stay_as_they_are(separable: Any) -> None:
    model, data = separable
    for step in (ada(skip=["stem", "scores"], iterations=100), bias(skip=["stem", "scores"])):
        made = compression.apply(model, data, step)
        assert set(backend.scheme(made).grids) == {"block1_depthwise", "block1_pointwise"}
        for name in ("stem", "scores"):
            assert np.array_equal(made.get_layer(name).kernel, folding.fold(model).get_layer(name).kernel)


def test_zeros_stay_zero(separable: Any) -> None:
    """Pruned weights are not rounded away from zero."""
    model, data = separable
    folded = folding.fold(model)
    kernel, offset = folded.get_layer("block1_pointwise").get_weights()
    zero = np.random.default_rng(0).random(kernel.shape) < 0.6
    folded.get_layer("block1_pointwise").set_weights([np.where(zero, 0, kernel), offset])
    made = compression.apply(folded, data, ada())
    assert not made.get_layer("block1_pointwise").kernel.numpy()[zero].any()


@pytest.mark.parametrize("statistics", ["samples", "batch_norm"])
def test_bias_correction_takes_the_mean_error_back(separable: Any, statistics: str) -> None:
    model, data = separable
    settings = bias(weight_bits=2, statistics=statistics, samples=1024)
    folded = folding.fold(model)
    x = data.dataset.x_train[:1024]
    corrected, plain = compression.apply(model, data, settings), nearest(model, settings)

    def shift(other: Any, name: str) -> Any:
        """Mean error of a layer's linear answers in each channel, as a share of their deviation."""
        right, wrong = (backend.keras().Model(m.inputs, m.get_layer(name).output)(x).numpy() for m in (folded, other))
        axes = tuple(range(right.ndim - 1))
        return np.abs((wrong - right).mean(axis=axes)) / right.std(axis=axes)

    for name in ("stem", "block1_depthwise", "block1_pointwise"):
        assert shift(plain, name).mean() > 0.08
        if statistics == "samples":
            assert shift(corrected, name).mean() < 0.03
    # The depthwise layer's borders, a third of these small pictures, see zeros that its expectation leaves out.
    assert shift(corrected, "block1_pointwise").mean() < 0.6 * shift(plain, "block1_pointwise").mean()


def test_a_layer_that_is_always_rounded_up_is_corrected_exactly() -> None:
    data = told(1)
    layers = backend.keras().layers
    image = layers.Input((8, 8, 1))
    model = backend.keras().Model(image, layers.Dense(3, use_bias=False, name="scores")(layers.Flatten()(image)))
    kernel = np.full((64, 3), 0.6, np.float32)  # rounds to 1
    kernel[0] = 7
    model.get_layer("scores").set_weights([kernel])
    settings = bias(weight_bits=4, clipping="max", samples=10**6)
    x = data.dataset.x_train
    wanted = model(x).numpy().mean(axis=0)
    assert np.abs(nearest(model, settings)(x).numpy().mean(axis=0) - wanted).min() > 1
    assert compression.apply(model, data, settings)(x).numpy().mean(axis=0) == pytest.approx(wanted, rel=1e-4)


def test_the_mean_of_a_clipped_normal_variable() -> None:
    drawn = np.random.default_rng(0).normal(size=10**6)
    for mean, deviation, highest in [
        (0, 1, np.inf),
        (-1, 0.5, np.inf),
        (2, 1, np.inf),
        (1, 4, 6),
        (7, 2, 6),
        (3, 0, 6),
    ]:
        expected = np.clip(drawn * deviation + mean, 0, highest).mean()
        found = correct_bias.clipped_mean(np.float32([mean]), np.float32([deviation]), highest)
        assert found[0] == pytest.approx(expected, abs=0.01)


def test_statistics_of_batch_normalisation_need_some(separable: Any) -> None:
    model, data = separable
    with pytest.raises(UsageError, match=r'needs layers that read batch normalisation .* use statistics = "samples"'):
        compression.apply(folding.fold(model), data, bias(statistics="batch_norm"))


@pytest.mark.parametrize("step", [ada, bias])
def test_layers_that_cannot_be_rounded_are_named(step: Any, separable: Any) -> None:
    model, data = separable
    with pytest.raises(UsageError, match=r"compress\.skip names 'steam', .*rounds are stem, block1_depthwise"):
        compression.apply(model, data, step(skip=["steam"]))
    names = ["stem", "block1_depthwise", "block1_pointwise", "scores"]
    with pytest.raises(UsageError, match=r"has no layer to round: .*leave some out of skip, or the step away"):
        compression.apply(model, data, step(skip=names))
    layers = backend.keras().layers
    image = layers.Input((8, 8, 2))
    grouped = backend.keras().Model(image, layers.Conv2D(4, 3, groups=2, name="grouped")(image))
    with pytest.raises(UsageError, match=r"cannot round grouped convolution 'grouped'; name it in compress\.skip"):
        compression.apply(grouped, data, step())


def layer_kinds() -> dict[str, tuple[tuple[int, ...], Any]]:
    layers = backend.keras().layers
    return {
        "same": ((9, 9, 3), layers.Conv2D(4, 3, padding="same", name="it")),
        "strided": ((9, 8, 3), layers.Conv2D(4, (3, 2), 2, padding="same", name="it")),
        "dilated": ((9, 9, 3), layers.Conv2D(4, 3, dilation_rate=2, name="it")),
        "depthwise": ((9, 9, 3), layers.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2, name="it")),
        "time": ((20, 3), layers.Conv1D(4, 5, 2, padding="same", name="it")),
        "causal": ((20, 3), layers.Conv1D(4, 5, padding="causal", dilation_rate=2, name="it")),
        "dense": ((12,), layers.Dense(4, name="it")),
        "dense over places": ((5, 6), layers.Dense(4, name="it")),
    }


@pytest.mark.parametrize(
    "kind", ["same", "strided", "dilated", "depthwise", "time", "causal", "dense", "dense over places"]
)
def test_rows_times_the_matrix_are_the_layer_s_answers(kind: str) -> None:
    backend.reset(1)
    shape, layer = layer_kinds()[kind]
    image = backend.keras().layers.Input(shape)
    model = backend.keras().Model(image, layer(image))
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    wanted = model(x).numpy()
    found = calibration.rows(model, layer, x, 10**6, 1).answers(calibration.matrix(layer))
    assert found == pytest.approx(wanted.reshape(-1, wanted.shape[-1]), abs=1e-4)
    few = calibration.rows(model, layer, x, 4, 1)
    again = calibration.rows(model, layer, x, 4, 1)
    assert np.array_equal(few.values, again.values)
    assert len(few.values) == 6 * min(4, len(found) // 6)
    rows = {row.tobytes() for row in np.ascontiguousarray(calibration.rows(model, layer, x, 10**6, 1).values)}
    assert {row.tobytes() for row in few.values} <= rows
