"""ProtoNN against the paper's formula, its thresholding, and a recipe up to its integers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.cache import Cache
from convert.trees import container, family, protonn, reference, view
from convert.trees.bonsai import quantize_inputs
from training import architectures, backend, train
from training.architectures import protonn as trained_protonn
from training.recipe import Recipe
from training.settings.architectures import ProtoNN


def recipe() -> Recipe:
    """A few epochs on the breast cancer data."""
    phase = {"epochs": 8, "batch_size": 32, "learning_rate": 0.02}
    sparsities = {"sparsity_projection": 0.7, "sparsity_prototypes": 0.25, "sparsity_labels": 0.5}
    return Recipe.model_validate(
        {
            "name": "tiny",
            "data": {"dataset": "breast_cancer"},
            "model": {"architecture": "protonn", "prototypes": 6, "projection": 4, "gamma": 0.3},
            "train": phase,
            "compress": [{"technique": "iht", **sparsities, **phase}],
        }
    )


def test_scores_are_the_prototypes_weighed_by_their_nearness() -> None:
    backend.reset(3)
    settings = ProtoNN(architecture="protonn", prototypes=7, projection=3)
    model = architectures.build(settings, (2, 3, 1), 4)
    layer = model.get_layer(trained_protonn.PROTOTYPES)
    rng = np.random.default_rng(1)
    layer.z.assign(rng.normal(size=(7, 4)))
    p, x = trained_protonn.parameters(model), rng.normal(size=(20, 6)).astype(np.float32)
    found = np.asarray(layer(x))
    for sample, scores in zip(x, found, strict=True):
        expected = sum(
            label * np.exp(-np.sum((sample @ p["w"] - b) ** 2)) for b, label in zip(p["b"], p["z"], strict=True)
        )
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(protonn.scores(p, x), found, atol=1e-5)


def test_every_class_begins_with_its_share_of_prototypes() -> None:
    backend.reset(3)
    model = architectures.build(ProtoNN(architecture="protonn", prototypes=7), (6,), 3)
    assert trained_protonn.parameters(model)["z"].sum(0).tolist() == [3, 2, 2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> train.Trained:
    return train.run(recipe(), Cache(tmp_path_factory.mktemp("cache")))


def test_a_recipe_learns_and_leaves_the_zeros_that_it_names(trained: train.Trained) -> None:
    assert trained.float_accuracy > 0.9 and trained.keras_accuracy > 0.88
    p = trained_protonn.parameters(trained.model())
    left = {name: int(np.count_nonzero(p[name])) for name in ("w", "b", "z")}
    assert left == {"w": round(0.3 * 120), "b": round(0.75 * 24), "z": round(0.5 * 12)}


def test_the_integers_are_as_good_as_the_reloaded_model(trained: train.Trained) -> None:
    data = trained.dataset()
    weights: dict[str, Any] = trained_protonn.parameters(trained.model())
    model = container.unpack(family.from_trained("protonn", weights, 2, data.x_train))
    assert isinstance(model, protonn.ProtoNN)
    x = quantize_inputs(data.x_test.reshape(len(data.x_test), -1), model.input_exponent)
    found = float(np.mean(reference.run(model, x).argmax(1) == data.y_test))
    assert abs(found - trained.keras_accuracy) < 0.03
    assert view.load(container.pack(model)).parameters <= 36 + 18 + 6


def test_the_same_seed_gives_the_same_bytes(trained: train.Trained, tmp_path: Path) -> None:
    again = train.run(recipe(), Cache(tmp_path))
    assert (again.folder / train.MODEL).read_bytes() == (trained.folder / train.MODEL).read_bytes()
