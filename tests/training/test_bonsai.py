"""Bonsai's tree against the paper's formulas, its annealing, thresholding and export."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.cache import Cache
from training import architectures, backend, train
from training.architectures import bonsai
from training.compression import iht
from training.recipe import Recipe
from training.settings.architectures import Bonsai
from training.settings.trees import Iht

SETTINGS = Bonsai(architecture="bonsai", depth=2, projection=4, sigma=1.5, last_sharpness=8.0)


def recipe(**model: Any) -> Recipe:
    """A few epochs on the breast cancer data."""
    phase = {"epochs": 8, "batch_size": 32, "learning_rate": 0.02}
    return Recipe.model_validate(
        {
            "name": "tiny",
            "data": {"dataset": "breast_cancer"},
            "model": {"architecture": "bonsai", "depth": 1, "projection": 3, **model},
            "train": phase,
            "compress": [{"technique": "iht", "sparsity_z": 0.7, "sparsity_theta": 0.4, **phase}],
        }
    )


def by_hand(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """The scores of one sample, as the paper writes them."""
    z = x @ p["z"] + p["b"]
    k, scores = 0, 0.0
    while True:
        scores = scores + (p["w"][k].T @ z) * np.tanh(p["sigma"] * (p["v"][k].T @ z))
        if k >= len(p["theta"]):
            return scores
        k = 2 * k + (2 if p["theta"][k] @ z > 0 else 1)


def scores(model: Any, x: np.ndarray, *, training: bool = False) -> np.ndarray:
    return np.asarray(model.get_layer(bonsai.TREE)(x.reshape(len(x), -1), training=training))


def untrained(settings: Bonsai, classes: int) -> Any:
    backend.reset(3)
    model = architectures.build(settings, (2, 3, 1), classes)
    tree = model.get_layer(bonsai.TREE)
    tree.b.assign(np.linspace(-0.5, 0.5, settings.projection))
    return model


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_outside_of_training_a_sample_takes_one_path(depth: int) -> None:
    model = untrained(SETTINGS.model_copy(update={"depth": depth}), 5)
    x = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
    expected = [by_hand(bonsai.parameters(model), sample) for sample in x]
    np.testing.assert_allclose(scores(model, x), expected, atol=1e-5)


def test_two_classes_are_one_column_with_two_signs() -> None:
    model = untrained(SETTINGS, 2)
    assert bonsai.parameters(model)["w"].shape == (7, 4, 1)
    found = scores(model, np.ones((3, 6), np.float32))
    assert found.shape == (3, 2)
    np.testing.assert_array_equal(found[:, 0], -found[:, 1])
    np.testing.assert_allclose(found[0, 1], by_hand(bonsai.parameters(model), np.ones(6))[0], atol=1e-5)


def test_while_training_all_nodes_count_and_the_path_hardens_with_the_sharpness() -> None:
    model = untrained(SETTINGS, 5)
    tree = model.get_layer(bonsai.TREE)
    x = np.random.default_rng(2).normal(size=(300, 6)).astype(np.float32)
    distance = []
    for sharpness in (0.0, 1.0, 100.0, 1e5):
        tree.sharpness.assign(sharpness)
        distance.append(float(np.abs(scores(model, x, training=True) - scores(model, x)).mean()))
    assert distance == sorted(distance, reverse=True)
    assert distance[-1] < 1e-3 < distance[0]


def test_sharpness_grows_geometrically_to_its_last_value() -> None:
    model = untrained(SETTINGS, 5)
    (anneal,) = architectures.callbacks(SETTINGS, model, 4)
    seen = []
    for batch in range(4):
        anneal.on_train_batch_begin(batch)
        seen.append(float(model.get_layer(bonsai.TREE).sharpness))
    assert seen == pytest.approx([1, 2, 4, 8])


def test_the_mask_keeps_the_largest_and_the_first_of_equals() -> None:
    values = np.array([[1.0, -3.0], [2.0, -2.0], [0.0, 2.0]])
    assert iht.mask(values, 3).tolist() == [[0, 1], [1, 1], [0, 0]]
    assert iht.mask(values, 0).sum() == 0
    assert iht.mask(values, 6).sum() == 6


def test_a_weight_may_come_back_until_the_support_settles() -> None:
    tf = backend.tensorflow()
    settings = Iht(technique="iht", epochs=1, sparsity_z=0.5, every=2, settle=0.5)
    z = tf.Variable([1.0, 2.0, 3.0, 4.0])
    threshold = iht._callback({"z": z}, settings, 8)

    def step(*values: float) -> list[float]:
        z.assign(values)
        threshold.on_train_batch_end(0)
        return z.numpy().tolist()

    assert step(1, 2, 3, 4) == [1, 2, 3, 4]  # between two thresholdings
    assert step(1, 2, 3, 4) == [0, 0, 3, 4]
    assert step(9, 0, 3, 4) == [9, 0, 3, 4]
    assert step(9, 0, 3, 4) == [9, 0, 0, 4]  # the support from here on
    assert step(1, 8, 8, 1) == [1, 0, 0, 1]
    assert step(1, 8, 8, 1) == [1, 0, 0, 1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> train.Trained:
    return train.run(recipe(), Cache(tmp_path_factory.mktemp("cache")))


def test_a_recipe_learns_and_leaves_the_zeros_that_it_names(trained: train.Trained) -> None:
    assert [name for name, _, _ in trained.steps] == ["float", "iht"]
    assert trained.float_accuracy > 0.9 and trained.keras_accuracy > 0.88
    p = bonsai.parameters(trained.model())
    assert {name: int(np.count_nonzero(p[name])) for name in ("z", "w", "v", "theta")} == {
        "z": round(0.3 * 90),
        "w": round(0.5 * 9),
        "v": round(0.5 * 9),
        "theta": round(0.6 * 3),
    }
    sizes = {"z": 90, "w": 9, "v": 9, "theta": 3}
    zeros = 1 - sum(int(np.count_nonzero(p[name])) for name in sizes) / sum(sizes.values())
    assert trained.sparsity == pytest.approx(zeros)


def test_the_reported_accuracy_is_the_single_path_s(trained: train.Trained) -> None:
    data, p = trained.dataset(), bonsai.parameters(trained.model())
    answers = [by_hand(p, x)[0] > 0 for x in data.x_test]
    assert np.mean(np.array(answers) == data.y_test) == pytest.approx(trained.keras_accuracy)


def test_the_same_seed_gives_the_same_bytes(trained: train.Trained, tmp_path: Path) -> None:
    again = train.run(recipe(), Cache(tmp_path))
    assert (again.folder / train.MODEL).read_bytes() == (trained.folder / train.MODEL).read_bytes()
