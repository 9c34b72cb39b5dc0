import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import golden, graph, quantize
from convert.errors import UsageError
from training import architectures, backend, compression, datasets, factors, fitting, ranks, surgery
from training.compression import low_rank
from training.progress import Reporter
from training.ranks import Option
from training.settings.architectures import LeNet
from training.settings.base import Augment
from training.settings.data import Digits
from training.settings.low_rank import LowRank


def settings(**changes: object) -> LowRank:
    return LowRank.model_validate({"technique": "low_rank", "epochs": 0, **changes})


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    whole = datasets.load(Digits(dataset="digits"), Path())
    part = datasets.Dataset(whole.card, whole.x_train[:200], whole.y_train[:200], whole.x_test[:50], whole.y_test[:50])
    return fitting.TrainingData(part, Augment(), 1, Reporter())


def alone(layer: Any, shape: tuple[int, ...] = (9, 8, 6)) -> Any:
    """A model of one layer with random weights, and its answers scaled to about one."""
    backend.reset(1)
    keras = backend.keras()
    x = keras.layers.Input(shape, name="x")
    model = keras.Model(x, layer(x))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape) / np.sqrt(max(1, np.prod(w.shape[:-1]))) for w in layer.get_weights()])
    return model


def samples(shape: tuple[int, ...] = (9, 8, 6)) -> Any:
    return np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)


def conv(filters: int, kernel: Any, *arguments: Any, **options: Any) -> Any:
    return backend.keras().layers.Conv2D(filters, kernel, *arguments, activation="relu", name="conv", **options)


def replaced(model: Any, option: Option, name: str = "conv", **changes: object) -> Any:
    """The model with its layer taken apart at the option's ranks."""
    asked = settings(**changes)
    layer = model.get_layer(name)
    kind = low_rank._kind(layer, asked)
    assert kind is not None
    return surgery.rebuild(model, {name: low_rank._in_a_row(kind(layer, asked, 1).layers(option))})


# Full rank


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2, (1, 2)])
@pytest.mark.parametrize(("kernel", "rank"), [((3, 3), (6, 10)), ((5, 1), (6, 10)), ((1, 1), (6,)), ((2, 4), (6, 10))])
def test_a_convolution_of_full_rank_answers_the_same(padding: str, strides: Any, kernel: Any, rank: Any) -> None:
    model, x = alone(conv(10, kernel, strides, padding)), samples()
    again = replaced(model, Option(0, 1, rank))
    assert np.allclose(model(x), again(x), atol=1e-5)


@pytest.mark.parametrize(("rank", "parts"), [((6, 10), 1), ((5, 10), 2), ((6, 9), 2), ((5, 9), 3)])
def test_a_side_that_keeps_its_rank_gets_no_layer(rank: tuple[int, int], parts: int) -> None:
    # The kernel's own ranks are 5 and 9, so that nothing is lost.
    model, x = alone(conv(10, 3, dilation_rate=2)), samples()
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[:, :, 5] = kernel[:, :, :5].sum(axis=2)
    kernel[..., 9] = kernel[..., 2] - kernel[..., 4]
    model.get_layer("conv").set_weights([kernel, bias])
    again = replaced(model, Option(0, 1, rank))
    assert len(again.layers) == 1 + parts
    assert np.allclose(model(x), again(x), atol=1e-5)
    assert type(again.layers[-1]).__name__ == "Conv2D"


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_dense_layer_of_full_rank_answers_the_same(use_bias: bool) -> None:
    model = alone(backend.keras().layers.Dense(7, activation="relu", use_bias=use_bias, name="dense"), (12,))
    again, x = replaced(model, Option(0, 1, (7,)), "dense"), samples((12,))
    assert np.allclose(model(x), again(x), atol=1e-5)
    assert [layer.name for layer in again.layers] == ["x", "dense_in", "dense_out"]
    assert [layer.use_bias for layer in again.layers[1:]] == [False, use_bias]


# Known rank


def cp_kernel(rank: int, shape: tuple[int, ...] = (3, 3, 6, 10)) -> Any:
    rng = np.random.default_rng(5)
    matrices = [rng.normal(size=(size, rank)) for size in shape]
    return factors.Cp(tuple(matrices), 1.0).whole


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_a_matrix_of_known_rank_is_found(rank: int, data: fitting.TrainingData) -> None:
    rng = np.random.default_rng(2)
    model = alone(backend.keras().layers.Dense(16, name="dense"), (20,))
    product = rng.normal(size=(20, rank)) @ rng.normal(size=(rank, 16))
    model.get_layer("dense").set_weights([product, rng.normal(size=16)])
    again, x = compression.apply(model, data, settings(energy=1.0)), samples((20,))
    assert again.get_layer("dense_in").units == rank
    assert np.allclose(model(x), again(x), atol=1e-4)


def test_a_convolution_of_known_tucker_ranks_is_found(data: fitting.TrainingData) -> None:
    rng = np.random.default_rng(2)
    core, left, right = rng.normal(size=(3, 3, 2, 4)), rng.normal(size=(6, 2)), rng.normal(size=(10, 4))
    model = alone(conv(10, 3))
    model.get_layer("conv").set_weights([np.einsum("hwij,mi,nj->hwmn", core, left, right), rng.normal(size=10)])
    again, x = compression.apply(model, data, settings(energy=1.0)), samples()
    assert [again.get_layer(f"conv_{part}").filters for part in ("in", "core", "out")] == [2, 4, 10]
    assert np.allclose(model(x), again(x), atol=1e-4)
    # Less is asked for, less is kept.
    worse = compression.apply(model, data, settings(energy=0.8))
    assert worse.count_params() < again.count_params()


@pytest.mark.parametrize(("strides", "lines"), [(1, True), (1, False), (2, True), (2, False)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_convolution_of_known_cp_rank_is_found(
    strides: int, lines: bool, padding: str, rank: int, data: fitting.TrainingData
) -> None:
    model = alone(conv(10, 3, strides, padding))
    model.get_layer("conv").set_weights([cp_kernel(rank), np.arange(10) / 10])
    asked = settings(energy=1 - 1e-6, convolutions="cp", lines=lines)
    again, x = compression.apply(model, data, asked), samples()
    assert again.get_layer("conv_in").filters == rank
    depthwise = [layer.kernel_size for layer in again.layers if type(layer).__name__ == "DepthwiseConv2D"]
    assert depthwise == ([(3, 1), (1, 3)] if strides == 1 and lines else [(3, 3)])
    assert np.allclose(model(x), again(x), rtol=1e-2, atol=1e-2 * np.abs(model(x)).max())


def test_a_convolution_along_time_has_a_stride_in_one_direction(data: fitting.TrainingData) -> None:
    layer = conv(8, (5, 1), (2, 1), "same")
    model = alone(layer, (20, 1, 6))
    layer.set_weights([cp_kernel(2, (5, 1, 6, 8)), np.arange(8) / 8])
    again, x = compression.apply(model, data, settings(energy=1 - 1e-6, convolutions="cp")), samples((20, 1, 6))
    assert again.output_shape == (None, 10, 1, 8)
    assert np.allclose(model(x), again(x), rtol=1e-2, atol=1e-2 * np.abs(model(x)).max())


# The decompositions


def test_hosvd_keeps_the_energy_it_says() -> None:
    tensor = np.random.default_rng(3).normal(size=(3, 3, 5, 7))
    found = factors.tucker2(tensor)
    for rows, columns in itertools.product((1, 3, 5), (1, 4, 7)):
        left, core, right = found.truncated(rows, columns)
        error = tensor - np.einsum("hwij,mi,nj->hwmn", core, left, right)
        assert 1 - (error**2).sum() / (tensor**2).sum() == pytest.approx(found.energies[rows - 1, columns - 1])


def test_als_keeps_the_energy_it_says_and_more_with_rank() -> None:
    tensor = np.random.default_rng(3).normal(size=(3, 3, 5, 7))
    last = 0.0
    for rank in (1, 2, 4, 8, 16):
        found = factors.cp(tensor, rank, 300, 1)
        assert found.energy == pytest.approx(1 - ((tensor - found.whole) ** 2).sum() / (tensor**2).sum(), abs=1e-6)
        assert found.energy > last
        last = found.energy
        norms = np.array([np.linalg.norm(f, axis=0) for f in found.factors])
        assert np.allclose(norms, norms[0])
    assert last > 0.8


def test_rank_one_by_als_is_the_best_for_a_matrix() -> None:
    matrix = np.random.default_rng(4).normal(size=(6, 9))
    values = np.linalg.svd(matrix)[1]
    assert factors.cp(matrix, 1, 500, 1).energy == pytest.approx(values[0] ** 2 / (values**2).sum(), abs=1e-5)


def test_zeros_have_nothing_to_lose() -> None:
    assert factors.energies(np.zeros(3)).tolist() == [1, 1, 1]
    assert factors.tucker2(np.zeros((2, 2, 3, 3))).energies.min() == 1
    assert factors.cp(np.zeros((2, 3, 4)), 2, 10, 1).energy == 1


# Choosing ranks


def test_only_options_that_pay_are_left() -> None:
    options = [Option(5, 0.5), Option(6, 0.4), Option(7, 0.9), Option(7, 0.8), Option(10, 1.0)]
    assert ranks.front(options, 10) == [Option(5, 0.5), Option(7, 0.9)]


def test_the_energy_asked_for_is_kept() -> None:
    fronts = {"a": [Option(1, 0.5, (1,)), Option(2, 0.9, (2,)), Option(3, 0.95, (3,))], "b": [Option(1, 0.1, (1,))]}
    assert ranks.by_energy(fronts, 0.9) == {"a": Option(2, 0.9, (2,))}


@pytest.mark.parametrize("seed", range(20))
def test_a_budget_is_kept_and_used(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fronts, sizes = {}, {}
    for name in "abc":
        sizes[name] = int(rng.integers(60, 100))
        costs = np.sort(rng.choice(np.arange(5, 60), 6, replace=False)).tolist()
        kept = np.sort(rng.uniform(0.05, 1, 6)).tolist()
        fronts[name] = [Option(c, e, (k,)) for k, (c, e) in enumerate(zip(costs, kept, strict=True), 1)]
    total = sum(sizes.values()) + 40  # 40 that cannot be saved
    choices = [[*fronts[name], Option(sizes[name], 1.0)] for name in "abc"]

    def value(options: Any) -> float:
        return sum(float(np.log(o.energy)) for o in options)

    for budget in (0.5, 0.7, 0.9):
        room = int(budget * total) - 40
        fitting_ones = [c for c in itertools.product(*choices) if sum(o.parameters for o in c) <= room]
        best, worst = max(map(value, fitting_ones)), min(map(value, fitting_ones))
        found = ranks.by_budget(fronts, sizes, total, budget)
        taken = [found.get(name, Option(sizes[name], 1.0)) for name in "abc"]
        assert sum(o.parameters for o in taken) <= room
        assert value(taken) >= best - 0.25 * (best - worst)


def test_a_budget_that_cannot_be_kept_says_what_can() -> None:
    with pytest.raises(UsageError, match=r"budget = 0\.2 cannot be kept: .* leaves 0\.3000 .* at least 0\.3$"):
        ranks.by_budget({"a": [Option(20, 0.5, (1,))]}, {"a": 90}, 100, 0.2)
    assert ranks.by_budget({"a": [Option(20, 0.5, (1,))]}, {"a": 90}, 100, 0.3)


# As a step of a recipe


def lenet() -> Any:
    backend.reset(1)
    return architectures.build(LeNet(architecture="lenet", filters=[8, 16], dense=[32]), (8, 8, 1), 10)


@pytest.mark.parametrize("convolutions", ["tucker", "cp"])
@pytest.mark.parametrize("budget", [0.35, 0.6])
def test_a_model_keeps_its_budget_trains_and_reloads(
    convolutions: str, budget: float, data: fitting.TrainingData, tmp_path: Path
) -> None:
    model = lenet()
    asked = settings(budget=budget, convolutions=convolutions, epochs=1, batch_size=50)
    smaller = compression.apply(model, data, asked)
    assert 0.9 * budget * model.count_params() <= smaller.count_params() <= budget * model.count_params()
    backend.save(smaller, tmp_path / "model.h5")
    x = data.dataset.x_test
    assert np.array_equal(fitting.predict(backend.load(tmp_path / "model.h5"), x), fitting.predict(smaller, x))


def test_more_energy_is_nearer_to_the_model(data: fitting.TrainingData) -> None:
    model, x = lenet(), data.dataset.x_test
    scores = backend.keras().Model(model.input, model.get_layer("scores").output)
    errors, sizes = [], []
    for energy in (0.3, 0.6, 0.9):
        smaller = compression.apply(scores, data, settings(energy=energy))
        errors.append(float(np.abs(fitting.predict(smaller, x) - fitting.predict(scores, x)).mean()))
        sizes.append(smaller.count_params())
    assert errors == sorted(errors, reverse=True)
    assert sizes == sorted(sizes)


def test_layers_that_would_not_get_smaller_stay(data: fitting.TrainingData) -> None:
    smaller = compression.apply(lenet(), data, settings(energy=0.5, skip=["dense1"]))
    names = {layer.name for layer in smaller.layers}
    assert "dense1" in names
    assert "conv2_out" in names
    assert "conv2" not in names
    with pytest.raises(UsageError, match=r"energy = 1\.0 makes none of conv1, conv2, dense1, scores smaller; lower"):
        compression.apply(lenet(), data, settings(energy=1.0))


def test_an_unknown_layer_to_skip_is_named(data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"compress\.skip names 'cov1', .*conv1, conv2, dense1, scores; did you mean"):
        compression.apply(lenet(), data, settings(skip=["cov1"]))


def test_skipping_everything_is_refused(data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"left no layer to take apart; it could work on conv1, conv2, dense1, scores"):
        compression.apply(lenet(), data, settings(budget=0.5, skip=["conv1", "conv2", "dense1", "scores"]))


@pytest.mark.parametrize("convolutions", ["tucker", "cp"])
def test_the_same_step_gives_the_same_bytes(convolutions: str, data: fitting.TrainingData, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        backend.reset(1)
        asked = settings(convolutions=convolutions, epochs=1)
        backend.save(compression.apply(lenet(), data, asked), tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.parametrize("convolutions", ["tucker", "cp"])
def test_int8_models_run_and_are_smaller(convolutions: str, data: fitting.TrainingData) -> None:
    model = lenet()
    trained = fitting.TrainingData(data.dataset, data.augment, 1, data.reporter)
    fitting.fit(model, trained, settings(epochs=20, batch_size=20), "float")
    smaller = compression.apply(model, data, settings(budget=0.6, convolutions=convolutions, epochs=5, batch_size=20))
    before, after = (graph.load(quantize.to_int8(m, data.dataset.x_train)) for m in (model, smaller))
    assert after.parameters < 0.7 * before.parameters
    assert after.macs < before.macs
    quantization = after.tensors[after.inputs[0]].quantization
    assert quantization is not None
    x = data.dataset.x_test
    inputs = np.clip(np.round(x / quantization.scales[0]) + quantization.zero_points[0], -128, 127).astype(np.int8)
    outputs = golden.run(after, inputs.reshape(len(x), -1).view(np.uint8)).outputs.view(np.int8)
    agreed = np.mean(outputs.argmax(axis=1) == fitting.predict(smaller, x).argmax(axis=1))
    assert agreed >= 0.9
