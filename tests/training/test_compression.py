from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.errors import UsageError
from training import architectures, backend, compression, fitting
from training.compression import prune, zeros
from training.settings.architectures import DsCnn
from training.settings.base import Augment, Fit
from training.settings.pruning import Prune
from training.settings.quantization import Pqat, Qat

MODEL = DsCnn(architecture="ds_cnn", stem_filters=4, stem_stride=1, blocks=[{"filters": 8, "stride": 2}])  # type: ignore[list-item]


@pytest.fixture
def model() -> Any:
    backend.reset(1)
    return architectures.build(MODEL, (8, 8, 1), 10)


def settings(**changes: object) -> Prune:
    return Prune.model_validate({"technique": "prune", "epochs": 4, "batch_size": 32, "sparsity": 0.75, **changes})


@pytest.mark.parametrize("steps", [2, 3, 7, 50, 99, 100, 101, 1234, 5000])
@pytest.mark.parametrize("updates", [1, 3, 50, 100])
def test_the_final_sparsity_is_always_reached(steps: int, updates: int) -> None:
    plan = prune.schedule(settings(updates=updates), steps)
    assert 0 <= plan["begin_step"] < plan["end_step"] < steps
    assert (plan["end_step"] - plan["begin_step"]) % plan["frequency"] == 0


def test_a_phase_without_a_step_to_prune_in_is_refused() -> None:
    with pytest.raises(UsageError, match=r"pruning has 3 optimiser steps, none of them between begin = 0\.9"):
        prune.schedule(settings(begin=0.9, end=0.95), 3)


def test_pruning_makes_the_zeros_asked_for(model: Any, data: fitting.TrainingData) -> None:
    weights = zeros.kernels(compression.apply(model, data, settings(skip=["scores"])))
    assert set(weights) == {"stem", "block1_depthwise", "block1_pointwise", "scores"}
    for name in ("stem", "block1_pointwise"):
        assert zeros.sparsity(weights, [name]) == pytest.approx(0.75, abs=0.02)
    assert zeros.sparsity(weights, ["block1_depthwise", "scores"]) == 0


def test_depthwise_kernels_are_pruned_and_kept_on_request(model: Any, data: fitting.TrainingData) -> None:
    asked = settings(depthwise=True)
    assert "block1_depthwise" in zeros.prunable(model, asked)
    pruned = compression.apply(model, data, asked)
    assert zeros.sparsity(zeros.kernels(pruned), ["block1_depthwise"]) == pytest.approx(0.75, abs=0.02)
    assert all(type(layer).__module__.startswith("tf_keras.") for layer in pruned.layers)
    before = {name: np.asarray(v) == 0 for name, v in zeros.kernels(pruned).items()}
    quantised = compression.apply(pruned, data, Pqat(technique="pqat", epochs=4, batch_size=32, learning_rate=0.1))
    for name, variable in zeros.kernels(quantised).items():
        assert (np.asarray(variable)[before[name]] == 0).all()
    assert any((np.asarray(v) != 0).sum() > 0 for v in zeros.kernels(quantised).values())


def test_pruning_that_does_not_happen_is_noticed(
    model: Any, data: fitting.TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = prune.schedule(settings(), 8) | {"begin_step": 100, "end_step": 200}
    monkeypatch.setattr(prune, "schedule", lambda *_: late)
    with pytest.raises(RuntimeError, match=r"pruning left 0\.0% zeros where 75\.\d% were due"):
        compression.apply(model, data, settings())


def test_an_unknown_layer_to_skip_is_named(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"compress\.skip names 'steam', .*layers with weights are stem, block1_depth"):
        compression.apply(model, data, settings(skip=["steam"]))


def test_quantisation_aware_models_reload_exactly(model: Any, data: fitting.TrainingData, tmp_path: Path) -> None:
    trained = compression.apply(model, data, Qat(technique="qat", epochs=1, batch_size=32))
    for name in ("one.h5", "two.h5"):
        backend.save(trained, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    x = data.dataset.x_test
    assert np.array_equal(fitting.predict(backend.load(tmp_path / "one.h5"), x), fitting.predict(trained, x))


def test_distillation_mixes_labels_and_the_teacher(model: Any, data: fitting.TrainingData) -> None:
    taught = data.with_teacher(model)
    labels, mixed = fitting.targets(taught, 0), fitting.targets(taught, 0.25)
    assert np.array_equal(labels.argmax(1), data.dataset.y_train)
    assert np.allclose(mixed, 0.75 * labels + 0.25 * fitting.predict(model, data.dataset.x_train), atol=1e-6)


@pytest.mark.parametrize(
    ("augment", "allowed"),
    [
        (Augment(), [(0, 0, False)]),
        (Augment(flip=True), [(0, 0, False), (0, 0, True)]),
        (Augment(shift=1), [(r, c, False) for r in (-1, 0, 1) for c in (-1, 0, 1)]),
    ],
)
def test_augmentation_is_what_it_says(augment: Augment, allowed: list[tuple[int, int, bool]]) -> None:
    backend.tfmot()
    image = np.zeros((6, 6, 1), np.float32)
    image[2:4, 1:3, 0] = [[1, 2], [3, 4]]
    candidates = {np.roll(image[:, ::-1] if f else image, (r, c), (0, 1)).tobytes() for r, c, f in allowed}
    batch = np.repeat(image[np.newaxis], 200, axis=0)
    changed = np.asarray(fitting._augmentation(augment, (6, 6, 1), 200)(batch, [1, 2]))
    assert {sample.tobytes() for sample in changed} == candidates


def test_every_epoch_sees_each_sample_once(data: fitting.TrainingData) -> None:
    fit = Fit(epochs=2, batch_size=32)
    batches = [np.asarray(x) for x, _ in fitting._batches(data, fit, fitting.targets(data, 0), 5)]
    assert len(batches) == 4
    epochs = [np.concatenate(batches[:2]), np.concatenate(batches[2:])]
    assert not np.array_equal(*epochs)
    for epoch in epochs:
        assert sorted(x.tobytes() for x in epoch) == sorted(x.tobytes() for x in data.dataset.x_train)


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.0), ("constant", 0.1)])
def test_the_learning_rate_rises_and_falls(schedule: str, last: float) -> None:
    fit = Fit.model_validate({"epochs": 1, "learning_rate": 0.1, "schedule": schedule, "warmup": 0.2})
    rate = [float(fitting._learning_rate(fit, 100)(step)) for step in range(100)]
    assert rate[:20] == pytest.approx([0.1 * (k + 1) / 20 for k in range(20)])
    assert max(rate) == pytest.approx(0.1)
    assert rate[-1] == pytest.approx(last, abs=1e-6)
