import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convert.cache import Cache
from convert.errors import UsageError
from convert.paths import ROOT
from training import backend, train
from training.compare import COMPARISONS
from training.comparison import plots, tables, variants
from training.comparison.measure import Row
from training.comparison.variants import BASELINE
from training.progress import Reporter
from training.recipe import load, names, with_comparison

RECIPE = ROOT / "tests" / "training" / "compared.toml"
FLOAT = 0.9


def row(variant: str, accuracy: float, seed: int = 1, **figures: object) -> Row:
    return Row(variant, "group", seed, accuracy, accuracy, **figures)  # type: ignore[arg-type]


def command(folder: Path, *more: str) -> list[str]:
    given = ["--recipe", str(RECIPE), "--cache", str(folder / "cache"), "--output", str(folder / "out")]
    return [sys.executable, str(ROOT / "training" / "compare.py"), *given, *more]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A comparison that was killed after its first lines; the lines that it left."""
    folder = tmp_path_factory.mktemp("compared")
    with subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 300
        while not (folder / "out" / "comparison.png").exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
    return folder, tables.from_csv((folder / "out" / "comparison.csv").read_text())


@pytest.fixture(scope="module")
def finished(interrupted: tuple[Path, list[Row]]) -> tuple[Path, str]:
    """The same command again, and what it printed."""
    folder, _ = interrupted
    done = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_killed_comparison_goes_on_with_the_same_figures(
    interrupted: tuple[Path, list[Row]], finished: tuple[Path, str]
) -> None:
    before, after = interrupted[1], tables.from_csv((finished[0] / "out" / "comparison.csv").read_text())
    assert 1 <= len(before) < len(after)
    assert after[: len(before)] == before
    assert [(r.variant, r.seed) for r in after] == [
        (name, seed) for name in (BASELINE, "half", "narrower") for seed in (7, 8)
    ]


def test_every_figure_is_measured(finished: tuple[Path, str]) -> None:
    rows = tables.from_csv((finished[0] / "out" / "comparison.csv").read_text())
    for found in rows:
        assert found.format == "int8" and found.executes == "tflm, compiled"
        for name in ("parameters", "nonzeros", "macs", "file_bytes", "compressed_bytes", "arena", "flash", "ram"):
            assert getattr(found, name) > 0, (found.variant, name)
    base, half, narrow = (next(r for r in rows if r.variant == v) for v in (BASELINE, "half", "narrower"))
    assert half.sparsity is not None and half.sparsity > 0.35
    assert half.compressed_bytes < base.compressed_bytes and half.file_bytes == base.file_bytes  # type: ignore[operator]
    assert narrow.macs < base.macs and narrow.flash < base.flash  # type: ignore[operator]


def test_what_cannot_work_says_why_and_stops_nothing(finished: tuple[Path, str]) -> None:
    assert "left out: pruning has" in finished[1]
    assert "raise epochs, lower batch_size" in finished[1]


def test_the_page_has_table_marks_and_picture(finished: tuple[Path, str]) -> None:
    text = (finished[0] / "out" / "comparison.md").read_text()
    assert text.startswith("# Comparison: compared\n\n`python training/compare.py --recipe compared --seeds 7,8`, 20")
    assert "| 1 | float model as int8" in text and " ± " in text
    assert (finished[0] / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_baselines_are_trained_once(finished: tuple[Path, str]) -> None:
    steps = list((finished[0] / "cache" / "training").glob("[!.]*"))
    assert len(steps) == 6, "two seeds of: float model, pruned, narrower"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--only", "halve"], "the comparison has no 'halve'; allowed are"),
        (["--seeds", "1;2"], "--seeds is '1;2'; allowed are whole numbers with commas between them, such as 1,2,3"),
        (["--board", "nano3"], "nano3"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path: Path, given: list[str], words: str) -> None:
    done = subprocess.run(command(tmp_path, *given), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and words in done.stderr
    assert not (tmp_path / "out").exists()


def test_only_takes_names_and_groups() -> None:
    recipe = load(str(RECIPE))
    for only in ("narrower", "smaller models"):
        assert [run.name for run in variants.plan(recipe, [1], [only])] == [BASELINE, "narrower"]


def test_variants_are_the_recipe_with_their_changes() -> None:
    recipe = load(str(RECIPE))
    half = next(run for run in variants.plan(recipe, [3]) if run.name == "half")
    assert (half.seed, half.group, half.recipe.model) == (3, "prune", recipe.model)
    assert half.recipe.require.int8_accuracy is None, "a comparison marks what falls short"


@pytest.mark.parametrize("name", names())
def test_every_recipe_of_a_network_has_a_comparison(name: str) -> None:
    recipe = load(name)
    if recipe.comparison is None and recipe.model.leaves != "float":
        with pytest.raises(UsageError, match=r"list what to compare under \[comparison\]"):
            variants.plan(recipe, [1])
    else:
        assert len(variants.plan(recipe, [1])) >= 5


@pytest.mark.parametrize("path", sorted(COMPARISONS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_comparison_is_valid(path: Path) -> None:
    recipe = path.stem if path.stem in names() else "fashion"
    assert len(variants.plan(with_comparison(load(recipe), path), [1])) >= 5


def test_a_defect_of_a_comparison_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    with pytest.raises(UsageError, match=r"comparison .*wrong\.toml cannot be read: No such file"):
        with_comparison(load("digits"), path)
    path.write_text('[[variants]]\nname = "a"\ncompress = [{ technique = "prune", epochs = 1, sparsity = 2.0 }]')
    with pytest.raises(
        UsageError, match=r"wrong\.toml: comparison\.variants\[0\]\.compress\[0\]\.sparsity = 2\.0 is out"
    ):
        with_comparison(load("digits"), path)
    path.write_text('[[variants]]\nname = "a"\n[[variants]]\nname = "a"')
    with pytest.raises(UsageError, match="variants 'a' are listed twice; give each a name of its own"):
        with_comparison(load("digits"), path)


def test_the_front_is_what_nothing_dominates() -> None:
    points = [(10.0, 0.9), (20.0, 0.95), (20.0, 0.94), (5.0, 0.5), (30.0, 0.95), (None, 1.0), (1.0, None)]
    assert tables.front(points) == {0, 1, 3}


def test_equal_points_are_both_on_the_front() -> None:
    assert tables.front([(1.0, 0.5), (1.0, 0.5)]) == {0, 1}


def test_drops_count_from_the_float_model_of_the_same_seed_and_are_marked() -> None:
    rows = [row(BASELINE, 0.9), row(BASELINE, 0.92, 2), row("a", 0.885), row("a", 0.905, 2), row("b", 0.9)]
    made = {line.name: line for line in tables.lines(rows)}
    assert made["a"].drop == pytest.approx(1.5)
    assert made["a"].deviation == pytest.approx(2**0.5)
    assert made["b"].deviation is None
    text = tables.to_markdown(rows, 0.01)
    assert "| **1.50** ! |" in text and "| 0.00 |" in text


def test_csv_keeps_everything() -> None:
    rows = [row("a, b", 0.5, flash=10, bits=1.25, note='says "no"'), Row("c", "d", 2, 1 / 3)]
    assert tables.from_csv(tables.to_csv(rows)) == rows


def test_a_picture_can_be_drawn_of_one_line_without_figures() -> None:
    assert plots.draw([row(BASELINE, 0.5)], "one").startswith(b"\x89PNG")


def test_a_variant_that_cannot_follow_the_model_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(
        RECIPE.read_text().replace(
            'technique = "prune", epochs = 1, sparsity = 0.5, dist', 'technique = "iht", epochs = 1, dist', 1
        )
    )
    with pytest.raises(UsageError, match="comparison variant 'half': compress runs iht: iht takes a model with a tree"):
        load(str(path))


def test_an_ensemble_is_trained_from_following_seeds(finished: tuple[Path, str]) -> None:
    recipe = load(str(RECIPE))
    run = next(r for r in variants.plan(recipe, [7]) if r.name == BASELINE)
    trained = train.run(run.recipe, Cache(finished[0] / "cache"))
    runner = train._Runner(run.recipe, Cache(finished[0] / "cache"), Reporter(None), trained.dataset)
    runner.folders.append(trained.folder)
    first, second = runner._ensemble(2)
    other = next(r for r in variants.plan(recipe, [8]) if r.name == BASELINE)
    kept = train.run(other.recipe, Cache(finished[0] / "cache"))
    x = trained.dataset().x_test[:8]
    assert (first(x).numpy() == trained.model()(x).numpy()).all()
    assert (second(x).numpy() == kept.model()(x).numpy()).all(), "seed 8 follows 7 and was trained before"
    backend.reset(1)


# A variant of every group and format; the whole list is what `--recipe digits` without `--only` measures.
SHORT = (
    "float16",
    "int16 activations, int8 weights",
    "4-bit weights, AdaRound",
    "quantisation-aware, 4-bit weights",
    "prune 80 %, quantisation-aware",
    "2 of 4",
    "half of the channels removed (L1)",
    "Deep Compression, 80 % and 16 weights",
    "half the width, distilled",
    "XNOR-Net",
)


@pytest.mark.slow
def test_the_short_form_on_digits(tmp_path: Path) -> None:
    run = [sys.executable, str(ROOT / "training" / "compare.py"), "--recipe", "digits", "--output", str(tmp_path)]
    done = subprocess.run([*run, *(f"--only={name}" for name in SHORT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {found.variant: found for found in tables.from_csv((tmp_path / "comparison.csv").read_text())}
    assert set(rows) == {BASELINE, *SHORT}
    base = rows[BASELINE]
    # The compiled runtime has no kernel for the sign of a binary network's activations.
    others = {"float16": "tf.lite", "XNOR-Net": "tflm"}
    assert {name: found.executes for name, found in rows.items()} == dict.fromkeys(rows, "tflm, compiled") | others
    assert rows["int16 activations, int8 weights"].format == "int16x8"
    for name in ("4-bit weights, AdaRound", "2 of 4", "Deep Compression, 80 % and 16 weights", "XNOR-Net"):
        assert rows[name].compressed_bytes < base.compressed_bytes, name  # type: ignore[operator]
    for name in ("half of the channels removed (L1)", "half the width, distilled"):
        assert rows[name].macs < base.macs / 2 and rows[name].flash < base.flash, name  # type: ignore[operator]
    assert min(found.reached for found in rows.values()) > 0.5
