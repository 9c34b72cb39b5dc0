from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.errors import UsageError
from training import architectures, backend, coding, compression, fitting
from training.compression import zeros
from training.settings.architectures import LeNet
from training.settings.pruning import Prune
from training.settings.sharing import Cluster, Cqat, Pcqat, Share

LENET = LeNet(architecture="lenet", filters=[4], dense=[12])


@pytest.fixture
def model() -> Any:
    backend.reset(1)
    return architectures.build(LENET, (8, 8, 1), 10)


def pruned(model: Any, data: fitting.TrainingData) -> Any:
    settings = {"technique": "prune", "epochs": 4, "batch_size": 32, "sparsity": 0.6}
    return compression.apply(model, data, Prune.model_validate(settings))


def counts(model: Any) -> dict[str, int]:
    return {name: len(np.unique(kernel)) for name, kernel in zeros.kernels(model).items()}


def test_tfmot_clusters_and_keeps_zeros(model: Any, data: fitting.TrainingData) -> None:
    sparse = pruned(model, data)
    before = {name: np.asarray(v) == 0 for name, v in zeros.kernels(sparse).items()}
    size = coding.packed_size(coding.keras_tensors(sparse))
    made = compression.apply(sparse, data, Cluster(technique="cluster", epochs=2, batch_size=32, entries=6))
    assert all(1 < n <= 7 for n in counts(made).values())
    for name, kernel in zeros.kernels(made).items():
        assert (np.asarray(kernel)[before[name]] == 0).all()
    assert all(type(layer).__module__.startswith("tf_keras.") for layer in made.layers)
    assert coding.packed_size(coding.keras_tensors(made)) < size / 2


def test_a_layer_that_tfmot_does_not_cluster_is_refused(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"compress\.skip of cluster names 'pool1'.*are conv1, dense1, scores"):
        compression.apply(model, data, Cluster(technique="cluster", skip=["pool1"]))


def test_cqat_keeps_the_number_of_values(model: Any, data: fitting.TrainingData, tmp_path: Path) -> None:
    shared = compression.apply(model, data, Share(technique="share", epochs=0, entries=6))
    made = compression.apply(shared, data, Cqat(technique="cqat", epochs=2, batch_size=32))
    assert all(1 < n <= 6 for n in counts(made).values())
    backend.save(made, tmp_path / "model.h5")
    x = data.dataset.x_test
    assert np.array_equal(fitting.predict(backend.load(tmp_path / "model.h5"), x), fitting.predict(made, x))


def test_pcqat_keeps_zeros_too(model: Any, data: fitting.TrainingData) -> None:
    shared = compression.apply(pruned(model, data), data, Share(technique="share", epochs=0, entries=6))
    before = {name: np.asarray(v) == 0 for name, v in zeros.kernels(shared).items()}
    made = compression.apply(shared, data, Pcqat(technique="pcqat", epochs=2, batch_size=32))
    assert all(1 < n <= 7 for n in counts(made).values())
    for name, kernel in zeros.kernels(made).items():
        assert (np.asarray(kernel)[before[name]] == 0).all()


def test_pcqat_without_zeros_is_refused(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match="pcqat keeps zeros and the model has none"):
        compression.apply(model, data, Pcqat(technique="pcqat"))
