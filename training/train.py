"""Run a recipe: train the float model, compress it step by step, keep every finished step.

Also a command: `python training/train.py --recipe digits`.

Each step is a cache entry of its own, keyed by everything that it depends on: the steps before it, its settings, the
data's checksums, this package's code and the libraries' versions. An interrupted run therefore goes on after the last
finished step. Each step reads the model that the one before has saved and starts from the seed, so a run that was
interrupted gives the same bytes as one that was not.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache as remember
from pathlib import Path
from typing import Any

# Run as a script, Python puts training/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
from rich.console import Console
from rich.table import Table

from convert.cache import Cache, digest, digest_files
from convert.errors import AccuracyError, PipelineError
from training import architectures, backend, compression, datasets, fitting, imports
from training.compression import zeros
from training.datasets import Dataset
from training.progress import Reporter
from training.recipe import Recipe, load, names

MODEL = "model.h5"
SCHEMA = Path(__file__).resolve().parent / "recipe.py"
SETTINGS = Path(__file__).resolve().parent / "settings"


@dataclass(frozen=True)
class Step:
    """A finished step, as its step.json tells."""

    name: str
    seconds: float  # what it took when it ran
    accuracy: float  # on the test set
    sparsity: float | None  # zeros in the kernels pruned so far
    pruned: list[str]  # layers pruned so far
    parameters: int  # of the Keras model, with batch normalisation's and quantisers' own


@dataclass(frozen=True)
class Trained:
    """A recipe's result. Nothing here imports TensorFlow except `model`."""

    recipe: Recipe
    folder: Path  # cache entry of the last step; holds model.h5
    key: str  # hash of everything that the model depends on
    float_accuracy: float
    pruned_accuracy: float | None
    keras_accuracy: float  # of the last step, int8 rounding simulated where it was quantisation-aware
    sparsity: float | None  # share of zeros in the pruned layers' kernels
    steps: tuple[tuple[str, float, bool], ...]  # name, seconds of this run, whether it came from the cache
    _read: Callable[[], Dataset] = field(repr=False, compare=False)

    def model(self) -> Any:
        """The final tf_keras model."""
        return _load(self.recipe, self.folder)

    def dataset(self) -> Dataset:
        """Training and test samples, read on the first call."""
        return self._read()


def run(recipe: Recipe, cache: Cache, progress: Console | None = None) -> Trained:
    """Run what is not cached of a recipe, showing progress on the console `progress` if there is one.

    Raises AccuracyError where the float model or the sparsity misses what the recipe requires, and UsageError where
    the data cannot be had.
    """
    reporter = Reporter(progress)
    card = datasets.card(recipe.data, recipe.preprocessing)

    @remember
    def read() -> Dataset:
        with reporter.task(f"reading {card.title}"):
            return datasets.load(recipe.data, cache.root / "datasets", recipe.preprocessing)

    runner = _Runner(recipe, cache, reporter, read)
    code = _code(f"datasets.{recipe.data.dataset}", f"architectures.{recipe.model.architecture}")
    version = datasets.version(recipe.data, recipe.preprocessing)
    parts = _plain(recipe, "data", "model", "train")
    key = digest(code, backend.versions(), recipe.seed, card.sha256, version, *parts)
    runner.step("float", key, runner.train)
    check_requirements(recipe, runner.done[0].accuracy)
    for settings in recipe.compress:
        key = digest(key, _code(f"compression.{settings.technique}"), settings.model_dump())
        runner.step(settings.technique, key, runner.compress(settings))
    steps = runner.done
    check_requirements(recipe, steps[0].accuracy, sparsity=steps[-1].sparsity)
    zeroed = {settings.technique for settings in recipe.compress if settings.makes_zeros}
    pruned = [s.accuracy for s in steps if s.name in zeroed]
    return Trained(
        recipe=recipe,
        folder=runner.folders[-1],
        key=key,
        float_accuracy=steps[0].accuracy,
        pruned_accuracy=pruned[-1] if pruned else None,
        keras_accuracy=steps[-1].accuracy,
        sparsity=steps[-1].sparsity,
        steps=tuple(runner.times),
        _read=read,
    )


def check_requirements(
    recipe: Recipe, float_accuracy: float, int8_accuracy: float | None = None, sparsity: float | None = None
) -> None:
    """Compare what was reached with the recipe's [require]; None is not known yet and not compared.

    Raises AccuracyError that says every figure that falls short, its bar and what to change.
    """
    require, short = recipe.require, []
    bar = require.int8_accuracy
    if bar is not None and float_accuracy < bar:
        short.append(
            f"float accuracy {float_accuracy:.4f} is below require.int8_accuracy = {bar} already; raise train.epochs, "
            "enlarge [model], or lower the bar"
        )
    if bar is not None and int8_accuracy is not None and int8_accuracy < bar:
        short.append(
            f"int8 accuracy {int8_accuracy:.4f} is below require.int8_accuracy = {bar}; raise train.epochs or the "
            "epochs of the compress steps, ask for less sparsity, or lower the bar"
        )
    drop = require.max_accuracy_drop
    # Rounded: 0.91 - 0.90 is 0.010000000000000009 in binary, and no test set has a billion samples.
    if drop is not None and int8_accuracy is not None and round(float_accuracy - int8_accuracy, 9) > drop:
        short.append(
            f"int8 accuracy {int8_accuracy:.4f} is {float_accuracy - int8_accuracy:.4f} below float accuracy "
            f"{float_accuracy:.4f}, more than require.max_accuracy_drop = {drop}; raise the epochs of the compress "
            "steps, ask for less sparsity, or allow a larger drop"
        )
    least = require.min_sparsity
    if least is not None and sparsity is not None and sparsity < least:
        short.append(
            f"sparsity {sparsity:.4f} of the pruned layers is below require.min_sparsity = {least}; raise sparsity of "
            "the prune step, follow it by pqat instead of qat, or lower the bar"
        )
    if short:
        raise AccuracyError(f"recipe {recipe.name!r}: " + "; ".join(short))


class _Runner:
    """The steps of one run: what is done, and how to do the next."""

    def __init__(self, recipe: Recipe, cache: Cache, reporter: Reporter, read: Callable[[], Dataset]) -> None:
        self.recipe, self.cache, self.reporter, self.read = recipe, cache, reporter, read
        self.done: list[Step] = []
        self.folders: list[Path] = []
        self.times: list[tuple[str, float, bool]] = []

    def step(self, name: str, key: str, make: Callable[[], tuple[Any, list[str]]]) -> None:
        """Take a step from the cache, or make its model and keep it; `make` gives (model, pruned layers)."""
        start = time.monotonic()

        def fill(folder: Path) -> None:
            self._import()
            dataset = self.read()
            backend.reset(self.recipe.seed)
            model, pruned = make()
            weights = zeros.kernels(model)
            result = Step(
                name=name,
                seconds=round(time.monotonic() - start, 2),
                accuracy=fitting.accuracy(model, dataset, self.reporter),
                sparsity=zeros.sparsity(weights, pruned) if pruned else None,
                pruned=pruned,
                parameters=int(model.count_params()),
            )
            backend.save(model, folder / MODEL)
            (folder / "step.json").write_text(json.dumps(vars(result), indent=2) + "\n")

        folder, cached = self.cache.get("training", key, fill)
        self.done.append(Step(**json.loads((folder / "step.json").read_text())))
        self.folders.append(folder)
        self.times.append((name, round(time.monotonic() - start, 2), cached))

    def train(self) -> tuple[Any, list[str]]:
        """The float model."""
        dataset = self.read()
        model = architectures.build(self.recipe.model, dataset.card.shape, len(dataset.class_names))
        data = self._data()
        extra = architectures.callbacks(self.recipe.model, model, data.steps(self.recipe.train))
        fitting.fit(model, data, self.recipe.train, "float", callbacks=extra)
        return model, []

    def compress(self, settings: compression.Settings) -> Callable[[], tuple[Any, list[str]]]:
        """A compression step on the last finished model."""

        def make() -> tuple[Any, list[str]]:
            model, data, pruned = _load(self.recipe, self.folders[-1]), self._data(), self.done[-1].pruned
            if getattr(settings, "distillation", 0):
                data = data.with_teacher(_load(self.recipe, self.folders[0]))
            if settings.teachers > 1:
                data = replace(data, ensemble=self._ensemble(settings.teachers))
            compressed = compression.apply(model, data, settings)
            # A step may have replaced or removed layers that an earlier one pruned.
            left = {*pruned, *compression.pruned(compressed, settings)} & set(zeros.kernels(compressed))
            return compressed, sorted(left)

        return make

    def _ensemble(self, count: int) -> tuple[Any, ...]:
        """The float model, and others trained like it from the following seeds, each a step of its own."""
        others = [
            self.recipe.model_copy(update={"seed": self.recipe.seed + k, "compress": []}) for k in range(1, count)
        ]
        trained = [run(other, self.cache, self.reporter.console) for other in others]
        backend.reset(self.recipe.seed)
        return _load(self.recipe, self.folders[0]), *(_load(self.recipe, other.folder) for other in trained)

    def _data(self) -> fitting.TrainingData:
        return fitting.TrainingData(self.read(), self.recipe.train.augment, self.recipe.seed, self.reporter)

    def _import(self) -> None:
        if "tensorflow_model_optimization" not in sys.modules:
            with self.reporter.task("starting TensorFlow"):
                backend.tfmot()


def _load(recipe: Recipe, folder: Path) -> Any:
    custom = architectures.custom_layers(recipe.model) | compression.custom_layers(recipe.compress)
    return backend.load(folder / MODEL, custom)


def _code(*modules: str) -> str:
    """Version of the code that decides what training gives: this module, named ones and what they import.

    The schema is left out: what it decides are the recipe's values, which stand in the key themselves.
    """
    files = imports.closure(f"training.{name}" for name in ("train", *modules))
    return digest_files(path for path in files if path != SCHEMA and path.parent != SETTINGS)


def _plain(recipe: Recipe, *parts: str) -> list[object]:
    return [getattr(recipe, part).model_dump() for part in parts]


# Command line


def show(trained: Trained, console: Console) -> None:
    """Print what came out."""
    table = Table("step", "seconds", "from cache", title=trained.recipe.name)
    for name, seconds, cached in trained.steps:
        table.add_row(name, f"{seconds:.1f}", "yes" if cached else "no")
    console.print(table)
    figures = {
        "float accuracy": trained.float_accuracy,
        "pruned accuracy": trained.pruned_accuracy,
        "final accuracy": trained.keras_accuracy,
        "zeros in pruned layers": trained.sparsity,
    }
    for name, value in figures.items():
        console.print(f"{name:<23} {'-' if value is None else f'{value:.4f}'}", highlight=False)
    console.print(f"{'model':<23} {trained.folder / MODEL}", highlight=False, soft_wrap=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", "name", required=True, metavar="NAME|FILE", help=f"One of {', '.join(names())}, or a file.")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Cache folder.  [default: .cache]")
def main(name: str, folder: Path | None) -> None:
    """Train and compress a model as a recipe says; finished steps are kept and not run again."""
    console = Console()
    try:
        show(run(load(name), Cache(folder), console), console)
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; finished steps are kept, the same command goes on from there", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
