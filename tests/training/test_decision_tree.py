"""A decision tree as a recipe grows it: scikit-learn's answers, saved and reloaded, and what may not follow it."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from convert.cache import Cache
from training import fitting, train
from training.architectures import decision_tree
from training.recipe import Recipe


def recipe(epochs: int = 1) -> Recipe:
    """All samples of the breast cancer data in one batch."""
    return Recipe.model_validate(
        {
            "name": "tiny",
            "data": {"dataset": "breast_cancer"},
            "model": {"architecture": "decision_tree", "max_leaves": 12, "min_samples_leaf": 3},
            "train": {"epochs": epochs, "batch_size": 4096},
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> train.Trained:
    return train.run(recipe(), Cache(tmp_path_factory.mktemp("cache")))


def test_the_reloaded_model_answers_like_scikit_learn_s(trained: train.Trained) -> None:
    data = trained.dataset()
    x = data.x_train.reshape(len(data.x_train), -1)
    wanted = DecisionTreeClassifier(max_leaf_nodes=12, max_depth=12, min_samples_leaf=3, random_state=0)
    wanted.fit(x, data.y_train)
    model = trained.model()
    p = decision_tree.parameters(model)
    assert len(p["left"]) == wanted.tree_.node_count <= 23
    found = fitting.predict(model, data.x_test)
    # The batch comes in another order, which may decide between equal splits and nothing else.
    assert np.mean(found.argmax(1) == wanted.predict(data.x_test.reshape(len(found), -1))) > 0.97
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert trained.float_accuracy > 0.88


def test_answers_are_the_leaves_that_a_walk_reaches(trained: train.Trained) -> None:
    p, x = decision_tree.parameters(trained.model()), trained.dataset().x_test
    for sample, answer in zip(x.reshape(len(x), -1)[:40], fitting.predict(trained.model(), x[:40]), strict=True):
        node = 0
        while p["left"][node] != node:
            left = sample[p["feature"][node]] <= p["threshold"][node]
            node = p["left"][node] if left else p["right"][node]
        np.testing.assert_allclose(answer, p["share"][node], atol=1e-6)


def test_the_same_seed_gives_the_same_bytes(trained: train.Trained, tmp_path: Path) -> None:
    again = train.run(recipe(), Cache(tmp_path))
    assert (again.folder / train.MODEL).read_bytes() == (trained.folder / train.MODEL).read_bytes()
