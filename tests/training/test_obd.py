from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import architectures, backend, compression, datasets, fitting
from training.compression import obd, zeros
from training.progress import Reporter
from training.settings.architectures import DsCnn, LeNet, LeNet300
from training.settings.base import Augment
from training.settings.pruning import IterativePrune, Obd


def settings(**changes: object) -> Obd:
    plain = {"technique": "obd", "epochs": 1, "batch_size": 32, "rounds": 2, "sparsity": 0.75}
    return Obd.model_validate({**plain, **changes})


@pytest.fixture
def linear() -> Any:
    """Softmax regression of 6 features: scores linear in the weights, where the approximation is exact."""
    backend.reset(2)
    layers = backend.keras().layers
    features = layers.Input((6,))
    x = layers.Softmax(name="probabilities")(layers.Dense(3, name="scores")(features))
    return backend.keras().Model(features, x)


def entropy(model: Any, x: Any, y: Any) -> Any:
    """Mean cross-entropy with class probabilities y."""
    return -backend.tensorflow().reduce_mean((y * backend.tensorflow().math.log(model(x))).numpy().sum(axis=1))


def test_curvatures_are_the_hessians_diagonal_where_the_model_is_linear(linear: Any) -> None:
    tf = backend.tensorflow()
    x = np.random.default_rng(0).normal(size=(130, 6)).astype(np.float32)
    y = tf.one_hot(np.random.default_rng(1).integers(0, 3, 130), 3)
    kernel = linear.get_layer("scores").kernel
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            loss = -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(linear(x)), axis=1))
        slope = inner.gradient(loss, kernel)
    hessian = np.asarray(outer.jacobian(slope, kernel)).reshape(18, 18)
    found = obd.curvatures(linear, x, ["scores"])["scores"]
    assert found.ravel() == pytest.approx(np.diag(hessian), rel=1e-4)


def test_a_saliency_is_what_the_loss_rises_by(linear: Any) -> None:
    """At a minimum: the labels are the model's own probabilities, so its gradient there is zero."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 6)).astype(np.float32) * np.array([1, 2, 4, 1, 2, 4], np.float32)
    kernel = rng.uniform(0.01, 0.05, (6, 3)).astype(np.float32) * rng.choice([-1, 1], (6, 3))
    layer = linear.get_layer("scores")
    layer.set_weights([kernel, np.array([0.3, 0.0, -0.3])])
    y = np.asarray(linear(x), np.float64)

    def loss() -> float:
        return float(-(y * np.log(np.asarray(linear(x), np.float64))).sum(axis=1).mean())

    lowest, predicted = loss(), obd.saliencies(linear, x, ["scores"])["scores"]
    for place in np.ndindex(6, 3):
        without = kernel.copy()
        without[place] = 0
        layer.set_weights([without, layer.get_weights()[1]])
        assert loss() - lowest == pytest.approx(predicted[place], rel=0.1, abs=1e-6)


def test_weights_on_small_inputs_go_before_small_weights(data: fitting.TrainingData) -> None:
    """The first 32 pixels are a thousandth of the others: a large weight there does less than a small one elsewhere."""
    backend.reset(1)
    built = architectures.build(LeNet300(architecture="lenet_300_100", width=0.1), (8, 8, 1), 10)
    kernel, bias = built.get_layer("dense1").get_weights()
    kernel[:32] *= 20
    built.get_layer("dense1").set_weights([kernel, bias])
    part = data.dataset
    x = part.x_train * np.where(np.arange(64) < 32, 0.001, 1).reshape(1, 8, 8, 1).astype(np.float32)
    scaled = fitting.TrainingData(
        datasets.Dataset(part.card, x, part.y_train, part.x_test, part.y_test), Augment(), 1, Reporter()
    )
    still = {"learning_rate": 1e-12, "remove_dead": False, "skip": ["dense2", "scores"], "sparsity": 0.75}
    kept = {}
    plain = IterativePrune.model_validate(
        {"technique": "iterative_prune", "epochs": 1, "rounds": 1, "scope": "layer", **still}
    )
    for step in (settings(**still), plain):
        result = compression.apply(built, scaled, step)
        kept[step.technique] = np.asarray(zeros.kernels(result)["dense1"]) != 0
    assert kept["obd"].sum() == kept["iterative_prune"].sum() == kernel.size // 4
    assert kept["iterative_prune"][32:].mean() < 0.05
    assert kept["obd"][:32].mean() < 0.05


@pytest.mark.parametrize("family", ["lenet", "ds_cnn"])
def test_shared_weights_count_with_all_their_uses(family: str, data: fitting.TrainingData) -> None:
    """Convolutions against one derivative at a time, Keras' own."""
    backend.reset(1)
    tf = backend.tensorflow()
    blocks = [{"filters": 4, "stride": 2}]
    kind: Any = (
        DsCnn.model_validate({"architecture": "ds_cnn", "stem_filters": 3, "stem_stride": 1, "blocks": blocks})
        if family == "ds_cnn"
        else LeNet(architecture="lenet", filters=[3, 4], dense=[5])
    )
    model = architectures.build(kind, (8, 8, 1), 10)
    x = data.dataset.x_train[:3]
    names = list(zeros.kernels(model))
    found = obd.curvatures(model, x, names)
    for name in names:
        variable = zeros.kernels(model)[name]
        wanted = np.zeros(variable.shape)
        for sample in x:
            with tf.GradientTape(persistent=True) as tape:
                p = model(sample[np.newaxis])[0]
                logs = [tf.math.log(p[c]) for c in range(10)]
            wanted += sum(float(p[c]) * np.asarray(tape.gradient(logs[c], variable)) ** 2 for c in range(10)) / len(x)
        assert found[name] == pytest.approx(wanted, rel=1e-3, abs=1e-9), name


def test_rounds_reach_the_target_over_all_layers(data: fitting.TrainingData, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        backend.reset(1)
        built = architectures.build(LeNet300(architecture="lenet_300_100", width=0.1), (8, 8, 1), 10)
        size = sum(int(np.prod(v.shape)) for v in zeros.kernels(built).values())
        result = compression.apply(built, data, settings(samples=40))
        backend.save(result, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    left = {name: np.count_nonzero(v) for name, v in zeros.kernels(result).items()}
    # Weights of removed units count as pruned.
    assert 0.95 * size / 4 <= sum(left.values()) <= round(size / 4)
    assert len({round(left[n] / np.prod(zeros.kernels(built)[n].shape), 3) for n in left}) > 1
    assert compression.pruned(result, settings()) == ["dense1", "dense2", "scores"]
