"""Quantisation to few bits: grids, formats, training with them, and a width for each layer."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from convert.errors import UsageError
from convert.scheme import Scheme
from training import architectures, backend, compression, datasets, fitting, rounding
from training.compression import mixed_precision
from training.progress import Reporter
from training.settings.architectures import LeNet
from training.settings.base import Augment, Fit
from training.settings.data import Digits
from training.settings.quantization import MixedPrecision, PostTraining, QatBits

NAMES = ["conv1", "conv2", "dense1", "scores"]


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    return fitting.TrainingData(datasets.load(Digits(dataset="digits"), Path()), Augment(), 1, Reporter())


@pytest.fixture(scope="module")
def trained(data: fitting.TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LeNet that knows the digits, with batch normalisation."""
    backend.reset(1)
    model = architectures.build(LeNet(architecture="lenet", filters=[6, 12], dense=[24]), (8, 8, 1), 10)
    fitting.fit(model, data, Fit(epochs=12, batch_size=32, learning_rate=5e-3), "float")
    path = tmp_path_factory.mktemp("low_bits") / "model.h5"
    backend.save(model, path)
    return path


@pytest.fixture
def model(trained: Path) -> Any:
    backend.reset(1)
    return backend.load(trained)


def post(**changes: object) -> PostTraining:
    return PostTraining.model_validate({"technique": "post_training", **changes})


def qat(**changes: object) -> QatBits:
    return QatBits.model_validate({"technique": "qat_bits", "epochs": 3, "batch_size": 32, **changes})


def mixed(**changes: object) -> MixedPrecision:
    return MixedPrecision.model_validate({"technique": "mixed_precision", "samples": 200, **changes})


def _assert_on_grids(model: Any, bits: int | None = None) -> None:
    for name, grid in backend.scheme(model).grids.items():
        kernel = rounding.kernel(model.get_layer(name))
        q = kernel.reshape(-1, len(grid.scales)) / np.asarray(grid.scales, np.float32)
        np.testing.assert_allclose(q, np.round(q), atol=1e-4)
        assert np.abs(q).max() < 2 ** (grid.bits - 1) - 0.5
        assert bits is None or grid.bits == bits


@pytest.mark.parametrize("bits", range(2, 9))
def test_kernels_lie_on_grids_and_normalisation_is_gone(model: Any, data: fitting.TrainingData, bits: int) -> None:
    made = compression.apply(model, data, post(weight_bits=bits))
    assert not [layer for layer in made.layers if type(layer).__name__ == "BatchNormalization"]
    assert list(backend.scheme(made).grids) == NAMES
    _assert_on_grids(made, bits)
    assert [len(g.scales) for g in backend.scheme(made).grids.values()] == [6, 12, 1, 1]
    if bits >= 6:
        assert fitting.accuracy(made, data.dataset) > fitting.accuracy(model, data.dataset) - 0.02


def test_clipping_and_channels_lower_the_error(model: Any, data: fitting.TrainingData) -> None:
    """A scale for each channel rounds convolutions better than one, and the best end better than the largest weight."""
    plain = compression.apply(model, data, post(format="float32"))

    def error(**changes: object) -> float:
        made = compression.apply(model, data, post(weight_bits=3, **changes))
        layers = rounding.layers(made)
        return sum(float(((rounding.kernel(x) - rounding.kernel(plain.get_layer(x.name))) ** 2).sum()) for x in layers)

    assert error() < error(per_channel=False)
    assert error() < error(clipping="max")


def test_the_least_squared_error_is_found() -> None:
    """Against a search over 2,000 ends for one column; and a column of zeros has no scale."""
    rng = np.random.default_rng(1)
    column = rng.normal(size=(200, 1)).astype(np.float32)
    for bits in (2, 3, 4, 8):
        (found,) = rounding.best_scales(column, bits, "mse")
        scales = np.linspace(0.05, 1, 2000) * np.abs(column).max() / rounding.largest(bits)
        errors = [((rounding.snapped(column, s, bits) - column) ** 2).sum() for s in scales]
        assert ((rounding.snapped(column, found, bits) - column) ** 2).sum() < 1.02 * min(errors)
    assert rounding.best_scales(np.zeros((5, 2), np.float32), 4, "mse").tolist() == [0, 0]


@pytest.mark.parametrize("form", ["float32", "float16", "dynamic", "int16x8"])
def test_formats_are_marked_and_kept_in_the_file(
    model: Any, data: fitting.TrainingData, form: str, tmp_path: Path
) -> None:
    made = compression.apply(model, data, post(format=form))
    assert backend.scheme(made).format == form
    assert bool(backend.scheme(made).grids) == (form == "int16x8")
    backend.save(made, tmp_path / "made.h5")
    again = backend.load(tmp_path / "made.h5")
    assert backend.scheme(again) == backend.scheme(made) != Scheme()
    x = data.dataset.x_test[:8]
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(made(x)))


def test_skipped_layers_keep_their_weights(model: Any, data: fitting.TrainingData) -> None:
    made = compression.apply(model, data, post(weight_bits=2, skip=["dense1", "scores"]))
    assert list(backend.scheme(made).grids) == ["conv1", "conv2"]
    for name in ("dense1", "scores"):
        np.testing.assert_array_equal(rounding.kernel(made.get_layer(name)), rounding.kernel(model.get_layer(name)))


@pytest.mark.parametrize("settings", [post(skip=["stem"]), qat(skip=["stem"]), mixed(skip=["stem"])])
def test_an_unknown_layer_is_named(model: Any, data: fitting.TrainingData, settings: Any) -> None:
    with pytest.raises(
        UsageError, match=r"compress\.skip names 'stem', .* can be rounded are conv1, conv2, dense1, sc"
    ):
        compression.apply(model, data, settings)


def test_formats_with_a_width_of_their_own_take_no_other() -> None:
    with pytest.raises(ValidationError, match="weight_bits = 4 does not go with format = 'float16'"):
        post(format="float16", weight_bits=4)


def test_training_wins_back_what_two_bits_cost(model: Any, data: fitting.TrainingData, tmp_path: Path) -> None:
    rounded = compression.apply(model, data, post(weight_bits=2))
    backend.reset(1)
    made = compression.apply(model, data, qat(weight_bits=2, epochs=6, learning_rate=3e-3))
    _assert_on_grids(made, 2)
    assert all(type(layer).__module__.startswith("tf_keras.") for layer in made.layers)
    assert fitting.accuracy(made, data.dataset) > fitting.accuracy(rounded, data.dataset) + 0.05
    assert fitting.accuracy(made, data.dataset) > 0.85
    backend.save(made, tmp_path / "made.h5")
    again = backend.load(tmp_path / "made.h5")
    assert backend.scheme(again) == backend.scheme(made)
    _assert_on_grids(again, 2)


def test_training_gives_the_same_bytes_twice(trained: Path, data: fitting.TrainingData, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        backend.reset(1)
        made = compression.apply(backend.load(trained), data, qat(epochs=1, skip=["conv1"]))
        backend.save(made, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_steps_are_learned_unless_they_are_to_stay(model: Any, data: fitting.TrainingData) -> None:
    first = backend.scheme(compression.apply(model, data, post(weight_bits=3))).grids
    for learn in (True, False):
        made = compression.apply(model, data, qat(weight_bits=3, epochs=1, learn_scales=learn))
        _assert_on_grids(made, 3)
        moved = [
            not np.allclose(g.scales, first[name].scales, rtol=1e-5) for name, g in backend.scheme(made).grids.items()
        ]
        assert moved == [learn] * 4


def test_the_rounding_s_gradients_are_those_of_the_paper() -> None:
    """d/dw is 1 inside of the grid and 0 outside; d/ds is round(w/s) - w/s inside and the end outside, weakened."""
    from convert.scheme import Grid
    from training.compression import qat_bits

    tf, layers = backend.tensorflow(), backend.keras().layers
    kernel, step = np.array([[0.26], [-0.9], [0.11], [2.0]], np.float32), 0.2
    layer = qat_bits._rounding_layer()(
        layers.Dense(1, use_bias=False), Grid(3, (step,)), np.ones((4, 1), np.float32), True
    )
    layer.build((None, 4))
    layer.set_weights([kernel, np.log(np.array([step], np.float32))])
    with tf.GradientTape() as tape:
        answers = layer(tf.eye(4))
    np.testing.assert_allclose(answers.numpy()[:, 0], [0.2, -0.6, 0.2, 0.6], rtol=1e-6)
    by_weight, by_log = tape.gradient(answers, layer.trainable_weights)
    np.testing.assert_array_equal(by_weight.numpy()[:, 0], [1, 0, 1, 0])
    by_step = (1 - 1.3) + (-3) + (1 - 0.55) + 3
    # The logarithm's gradient is the step times the step's.
    np.testing.assert_allclose(by_log.numpy(), [by_step * step / np.sqrt(4 * 3)], rtol=1e-4)


def test_the_choice_is_the_best_of_all() -> None:
    """Against every combination, on random costs and sizes; ties take the fewer bytes."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        sizes = np.sort(rng.integers(1, 500, (4, 3)), axis=1).astype(np.float64)
        costs = np.round(rng.uniform(0, 1, (4, 3)), 2)
        budget = float(rng.uniform(sizes[:, 0].sum(), sizes[:, -1].sum()))
        best = min(
            (sum(costs[i, k] for i, k in enumerate(choice)), sum(sizes[i, k] for i, k in enumerate(choice)))
            for choice in itertools.product(range(3), repeat=4)
            if sum(sizes[i, k] for i, k in enumerate(choice)) <= budget
        )
        found = mixed_precision.knapsack(costs, sizes, budget)
        reached = sum(costs[i, k] for i, k in enumerate(found)), sum(sizes[i, k] for i, k in enumerate(found))
        assert reached == pytest.approx(best)
    with pytest.raises(ValueError, match="no choice of sizes fits 3 bytes"):
        mixed_precision.knapsack(np.ones((2, 2)), np.full((2, 2), 2.0), 3)


@pytest.mark.parametrize("budget", [0.3, 0.45, 0.8])
def test_a_width_for_each_layer_meets_the_budget(model: Any, data: fitting.TrainingData, budget: float) -> None:
    made = compression.apply(model, data, mixed(budget=budget))
    _assert_on_grids(made)
    layers = rounding.layers(made)
    grids = backend.scheme(made).grids
    everything = sum(rounding.kernel(layer).size for layer in layers)
    assert budget - 0.2 < rounding.weight_bytes(layers, grids) / everything <= budget
    assert len({grid.bits for grid in grids.values()}) > 1
    uniform = compression.apply(model, data, post(weight_bits=2))
    assert fitting.accuracy(made, data.dataset) > fitting.accuracy(uniform, data.dataset)


def test_sensitivity_sees_the_training_set_and_finds_what_hurts(model: Any, data: fitting.TrainingData) -> None:
    """Fewer bits cost more, wide grids nothing; the test set may hold anything."""
    hidden = replace(data, dataset=replace(data.dataset, x_test=data.dataset.x_test * np.nan))
    folded = compression.apply(model, data, post(format="float32"))
    widths = [2, 4, 8]
    grids = {(x.name, b): rounding.grid(x, b, True, "mse") for x in rounding.layers(folded) for b in widths}
    before = [w.copy() for w in folded.get_weights()]
    costs = mixed_precision.sensitivity(folded, NAMES, widths, grids, hidden, mixed())
    assert np.isfinite(costs).all() and (costs[:, 0] > costs[:, 1]).all() and (costs[:, 2] < 0.01).all()
    for one, other in zip(before, folded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_budget_that_cannot_be_met_is_refused(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"compress\.budget = 0\.2 .* bits = \[2, 4\] .* at least 0\.250 is needed"):
        compression.apply(model, data, mixed(budget=0.2, bits=[4, 2]))


def test_training_keeps_the_widths_that_were_chosen(model: Any, data: fitting.TrainingData) -> None:
    chosen = compression.apply(model, data, mixed(budget=0.35))
    made = compression.apply(chosen, data, qat(epochs=2))
    bits = {name: grid.bits for name, grid in backend.scheme(chosen).grids.items()}
    assert {name: grid.bits for name, grid in backend.scheme(made).grids.items()} == bits
    _assert_on_grids(made)


def test_pruned_weights_stay_zero(model: Any, data: fitting.TrainingData) -> None:
    kernel, bias = model.get_layer("dense1").get_weights()
    kernel[np.abs(kernel) < np.quantile(np.abs(kernel), 0.7)] = 0
    model.get_layer("dense1").set_weights([kernel, bias])
    made = compression.apply(model, data, qat(epochs=1, learning_rate=0.02))
    assert not made.get_layer("dense1").get_weights()[0][kernel == 0].any()
    # What is not pruned may be rounded to zero and come back.
    assert (made.get_layer("dense1").get_weights()[0] != 0).sum() > 0.5 * (kernel != 0).sum()
