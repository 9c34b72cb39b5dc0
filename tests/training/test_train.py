import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from convert.cache import Cache
from convert.errors import AccuracyError
from convert.paths import ROOT
from training import compression, train
from training.recipe import Recipe, Require, load
from training.train import Trained, check_requirements

TINY = ROOT / "tests" / "training" / "tiny.toml"


def requiring(**bars: float) -> Recipe:
    return load(str(TINY)).model_copy(update={"require": Require.model_validate(bars)})


def finished(cache: Path) -> dict[str, Path]:
    """Finished steps by name."""
    steps = (cache / "training").glob("[!.]*/step.json")
    return {json.loads(path.read_text())["name"]: path.parent for path in steps}


def command(cache: Path) -> list[str]:
    return [sys.executable, str(ROOT / "training" / "train.py"), "--recipe", str(TINY), "--cache", str(cache)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def lines() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(scope="module")
def trained(cache: Cache, lines: io.StringIO) -> Trained:
    return train.run(load(str(TINY)), cache, Console(file=lines, width=200))


def test_a_recipe_end_to_end(trained: Trained) -> None:
    assert [(name, cached) for name, _, cached in trained.steps] == [
        ("float", False),
        ("prune", False),
        ("pqat", False),
    ]
    assert trained.sparsity == pytest.approx(0.5, abs=0.01)
    x, y = trained.dataset().x_test, trained.dataset().y_test
    model = trained.model()
    assert model.input_shape == (None, 8, 8, 1)
    again = np.mean(np.asarray(model(x)).argmax(1) == y)
    assert again == pytest.approx(trained.keras_accuracy)
    # Far above one in ten: it has learned something in two epochs.
    assert trained.float_accuracy > 0.2


def test_without_a_terminal_progress_is_plain_lines(trained: Trained, lines: io.StringIO) -> None:
    del trained
    text = lines.getvalue()
    assert "\x1b" not in text
    for phase in ("float", "prune", "pqat"):
        assert f"  {phase} 100% epoch" in text


def test_a_cached_recipe_needs_no_tensorflow(trained: Trained, cache: Cache) -> None:
    code = (
        "import sys; from pathlib import Path; from convert.cache import Cache; from training import train\n"
        f"t = train.run(train.load({str(TINY)!r}), Cache(Path({str(cache.root)!r})))\n"
        "assert all(cached for _, _, cached in t.steps)\n"
        "print(t.key); sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == trained.key


def test_a_killed_run_goes_on_after_its_last_step_and_gives_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    with subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 300
        while not finished(tmp_path) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
    before = set(finished(tmp_path))
    assert "float" in before and "pqat" not in before
    for name, folder in finished(tmp_path).items():
        assert (folder / "model.h5").is_file(), name
    resumed = subprocess.run(command(tmp_path), capture_output=True, text=True, check=True)
    assert resumed.stderr == "", "TensorFlow's logs belong nowhere"
    after = finished(tmp_path)
    assert set(after) == {"float", "prune", "pqat"}
    assert trained.folder.name == after["pqat"].name
    # Another process, another hash seed, an interruption, and the same bytes.
    assert (after["pqat"] / "model.h5").read_bytes() == (trained.folder / "model.h5").read_bytes()


def test_a_step_that_fails_leaves_nothing(trained: Trained, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = load(str(TINY))
    changed = changed.model_copy(update={"compress": [changed.compress[0].model_copy(update={"power": 2.0})]})
    before = sorted((cache.root / "training").iterdir())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(compression, "apply", interrupt)
        train.run(changed, cache)
    assert sorted((cache.root / "training").iterdir()) == before
    assert trained.folder in before


def test_keys_follow_what_training_depends_on(trained: Trained, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = train.run(requiring(min_sparsity=0.4), cache)
    assert kept.key == trained.key, "a bar is no reason to train again"

    def first_key(recipe: Recipe) -> str:
        """The key of the float step, which is not made."""
        seen = []

        class Spy(Cache):
            def get(self, *arguments: object) -> tuple[Path, bool]:
                seen.append(str(arguments[1]))
                raise LookupError

        with contextlib.suppress(LookupError):
            train.run(recipe, Spy(cache.root))
        return seen[0]

    tiny = load(str(TINY))
    keys = [
        first_key(tiny),
        first_key(tiny.model_copy(update={"seed": 8})),
        first_key(tiny.model_copy(update={"train": tiny.train.model_copy(update={"epochs": 3})})),
    ]
    monkeypatch.setattr(train, "_code", lambda *_: "changed")
    keys.append(first_key(tiny))
    assert len(set(keys)) == 4


def test_a_float_model_below_the_bar_stops_before_compression(trained: Trained, cache: Cache) -> None:
    del trained
    with pytest.raises(AccuracyError, match=r"float accuracy 0\.\d{4} is below require\.int8_accuracy = 1\.0 already"):
        train.run(requiring(int8_accuracy=1.0), cache)


def test_too_little_sparsity_is_an_error(trained: Trained, cache: Cache) -> None:
    del trained
    with pytest.raises(AccuracyError, match=r"sparsity 0\.\d{4} .* below require\.min_sparsity = 0\.9; raise sparsity"):
        train.run(requiring(min_sparsity=0.9), cache)


BARS = {"int8_accuracy": 0.9, "max_accuracy_drop": 0.01, "min_sparsity": 0.6}


@pytest.mark.parametrize("reached", [(0.9, 0.9, 0.6), (0.91, 0.9, 0.61), (0.9, 0.95, 0.7), (0.95, None, None)])
def test_requirements_met(reached: tuple[float, float | None, float | None]) -> None:
    check_requirements(requiring(**BARS), *reached)


@pytest.mark.parametrize(
    ("reached", "words"),
    [
        ((0.91, 0.899, 0.6), r"int8 accuracy 0\.8990 is below require\.int8_accuracy = 0\.9; raise train\.epochs"),
        ((0.93, 0.91, 0.6), r"0\.9100 is 0\.0200 below float accuracy 0\.9300, more than require\.max_accuracy_drop"),
        ((0.91, 0.905, 0.59), r"sparsity 0\.5900 of the pruned layers is below require\.min_sparsity = 0\.6"),
        ((0.89, None, None), r"float accuracy 0\.8900 is below require\.int8_accuracy = 0\.9 already"),
    ],
)
def test_requirements_missed(reached: tuple[float, float | None, float | None], words: str) -> None:
    with pytest.raises(AccuracyError, match=words) as caught:
        check_requirements(requiring(**BARS), *reached)
    assert caught.value.exit_code == 6
    assert "recipe 'tiny'" in str(caught.value)


def test_no_requirements_no_complaint() -> None:
    check_requirements(requiring(), 0.0, 0.0, 0.0)


def test_the_command_reports_a_wrong_recipe(tmp_path: Path) -> None:
    run = [sys.executable, str(ROOT / "training" / "train.py"), "--recipe", "digitz"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown recipe 'digitz'; allowed are")


@pytest.mark.slow
def test_the_digits_recipe_reaches_its_bars(tmp_path: Path) -> None:
    recipe = load("digits")
    result = train.run(recipe, Cache(tmp_path))
    check_requirements(recipe, result.float_accuracy, result.keras_accuracy, result.sparsity)
