from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convert.cache import Cache
from convert.errors import UsageError
from training import backend, datasets, train, validate
from training.progress import Reporter
from training.recipe import Recipe

PHASE = {"epochs": 2, "batch_size": 32, "learning_rate": 0.02}
RECIPE = Recipe.model_validate(
    {
        "name": "tiny",
        "data": {"dataset": "breast_cancer"},
        "model": {"architecture": "bonsai", "depth": 1, "projection": 3},
        "train": PHASE,
        "compress": [{"technique": "iht", "distillation": 0.5, **PHASE}],
    }
)


def test_parts_are_consecutive_and_hold_every_training_sample_once(tmp_path: Path) -> None:
    data = datasets.load(RECIPE.data, tmp_path)
    parts = list(validate.split(data, 5))
    np.testing.assert_array_equal(np.concatenate([p.x_test for p in parts]), data.x_train)
    np.testing.assert_array_equal(np.concatenate([p.y_test for p in parts]), data.y_train)
    assert [len(p.y_test) for p in parts] == [92, 91, 91, 91, 91]
    first = parts[0]
    np.testing.assert_array_equal(np.concatenate([first.x_test, first.x_train]), data.x_train)
    np.testing.assert_array_equal(np.concatenate([first.y_test, first.y_train]), data.y_train)


@pytest.mark.parametrize("parts", [1, 457])
def test_parts_that_cannot_be(parts: int, tmp_path: Path) -> None:
    data = datasets.load(RECIPE.data, tmp_path)
    with pytest.raises(UsageError, match=f"--parts is {parts}; allowed are 2 to 456"):
        next(validate.split(data, parts))


def test_steps_are_those_of_training(tmp_path: Path) -> None:
    backend.tfmot()
    trained = train.run(RECIPE, Cache(tmp_path))
    found = validate.accuracies(RECIPE, trained.dataset(), Reporter())
    assert found == [trained.float_accuracy, trained.keras_accuracy]


def test_the_command_prints_each_part_and_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([[0.5, 0.25], [1.0, 0.75]])
    monkeypatch.setattr(validate, "accuracies", lambda *_: next(answers))
    result = CliRunner().invoke(validate.main, ["--recipe", "bonsai_cancer", "--parts", "2"])
    assert result.exit_code == 0, result.output
    assert "part 2 of 2: float 1.0000, iht 0.7500" in result.output
    assert "mean: float 0.7500, iht 0.5000" in result.output


def test_an_unknown_recipe_is_exit_code_2() -> None:
    result = CliRunner().invoke(validate.main, ["--recipe", "no_such"])
    assert result.exit_code == 2 and "unknown recipe 'no_such'" in result.output
