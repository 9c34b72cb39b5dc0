"""Training's side of the shared preprocessing: which code it may use, what it says where it cannot compile, its key."""

import ast
import os
from pathlib import Path

import numpy as np
import pytest

from convert.errors import ToolError
from convert.features import Image, ImagePath, Normalise, Series, SeriesPath
from convert.paths import ROOT
from training import datasets
from training.recipe import Recipe, load
from training.settings.data import Digits, FashionMnist, Motion
from training.settings.preprocessing import KINDS, GreyImage, Windows, default_preprocessing

SERIES = Series(2, 1000, 3, 1, Normalise((0, 0), (1.0, 1.0)))
ALLOWED = ("convert.cache", "convert.errors", "convert.features", "convert.paths", "convert.scheme")
BOTH_SIDES = {"compare.py", "comparison"}  # deploy what they compare


def test_training_uses_nothing_else_of_convert() -> None:
    for path in (ROOT / "training").rglob("*.py"):
        if path.relative_to(ROOT / "training").parts[0] in BOTH_SIDES:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            strays = [m for m in modules if m.split(".")[0] == "convert" and not m.startswith(ALLOWED)]
            assert not strays, f"{path.relative_to(ROOT)} imports {strays}"


def test_without_a_compiler_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for make in (lambda: SeriesPath(SERIES), lambda: ImagePath(Image(4, 4, True, False))):
        with pytest.raises(ToolError, match=r"no C compiler .* install one: apt-get install gcc") as caught:
            make()
        assert "\n" not in str(caught.value)


def test_a_compiler_that_fails_leaves_nothing_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "gcc"
    script.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TINYML_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ToolError, match=r"could not compile the preprocessing \(exit code 3\): no space left"):
        SeriesPath(SERIES)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_samples_of_the_wrong_shape_or_type_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYML_CACHE", str(tmp_path))
    path = SeriesPath(SERIES)
    for wrong in (np.zeros((4, 3), np.int16), np.zeros((4, 2), np.int32), np.zeros(4, np.int16)):
        with pytest.raises(ValueError, match=r"expected int16 \(n, 2\)"):
            path.windows(wrong)
    with pytest.raises(ValueError, match=r"expected uint8 \(n, height, width\)"):
        ImagePath(Image(4, 4, True, False)).resize(np.zeros((4, 4), np.uint8))


def test_two_pipelines_do_not_share_their_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYML_CACHE", str(tmp_path))
    x = np.arange(20, dtype=np.int16).reshape(10, 2)
    one, other = SeriesPath(SERIES), SeriesPath(Series(2, 1000, 3, 1, Normalise((5, 5), (1.0, 1.0))))
    first = one.windows(x)
    assert np.array_equal(other.windows(x), first - 5)
    assert np.array_equal(one.windows(x), first)


@pytest.mark.parametrize("dataset", sorted(KINDS))
def test_every_raw_data_set_has_a_default(dataset: str) -> None:
    assert default_preprocessing(KINDS[dataset][0]).kind == KINDS[dataset][0]


def test_shipped_recipes_say_their_preprocessing() -> None:
    assert isinstance(load("motion").preprocessing, Windows)
    assert isinstance(load("fashion").preprocessing, GreyImage)


def test_the_key_holds_what_is_asked_for_and_the_code() -> None:
    motion, fashion = Motion(dataset="motion"), FashionMnist(dataset="fashion_mnist")
    windows = [Windows(kind="window"), Windows(kind="window", deviations=4.0), Windows(kind="window", hop=26)]
    keys = [datasets.version(motion, asked) for asked in windows]
    assert len(set(keys)) == 3 and datasets.version(motion) == keys[0]
    images = [GreyImage(kind="image"), GreyImage(kind="image", invert=True), GreyImage(kind="image", crop=False)]
    assert len({datasets.version(fashion, asked) for asked in images}) == 3
    assert datasets.version(Digits(dataset="digits")) == ""


def test_the_shape_follows_the_window() -> None:
    recipe = load("motion")
    table = recipe.model_dump()
    table["preprocessing"]["length"] = 64
    other = Recipe.model_validate(table)
    assert datasets.card(other.data, other.preprocessing).shape == (64, 1, 6)
    assert datasets.card(recipe.data, None).shape == (100, 1, 6)
