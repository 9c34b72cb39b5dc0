"""Cross-validate a recipe on its training set: for choosing settings without looking at the test set.

A command: `python training/validate.py --recipe bonsai_digits`. The training set is cut into consecutive parts, because
neighbouring samples often resemble each other; each part in turn is what the recipe's steps, trained on all others,
are measured on. Nothing is kept.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

# Run as a script, Python puts training/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
from rich.console import Console

from convert.cache import Cache
from convert.errors import PipelineError, UsageError
from training import architectures, backend, compression, datasets, fitting
from training.datasets import Dataset
from training.progress import Reporter
from training.recipe import Recipe, load, names


def split(data: Dataset, parts: int) -> Iterator[Dataset]:
    """The training set `parts` times, each time with another consecutive part as its test set.

    Raises UsageError where a part would be empty or would be everything.
    """
    n = len(data.y_train)
    if not 2 <= parts <= n:
        raise UsageError(f"--parts is {parts}; allowed are 2 to {n}, the number of training samples")
    for k in range(parts):
        held = (np.arange(n) * parts // n) == k
        yield replace(
            data,
            x_train=data.x_train[~held],
            y_train=data.y_train[~held],
            x_test=data.x_train[held],
            y_test=data.y_train[held],
        )


def accuracies(recipe: Recipe, data: Dataset, reporter: Reporter) -> list[float]:
    """Accuracy on the data's test set after each of the recipe's steps, as training/train.py runs them."""
    training = fitting.TrainingData(data, recipe.train.augment, recipe.seed, reporter)
    custom = architectures.custom_layers(recipe.model) | compression.custom_layers(recipe.compress)
    backend.reset(recipe.seed)
    model = architectures.build(recipe.model, data.card.shape, len(data.class_names))
    extra = architectures.callbacks(recipe.model, model, training.steps(recipe.train))
    fitting.fit(model, training, recipe.train, "float", callbacks=extra)
    found = [fitting.accuracy(model, data)]
    with tempfile.TemporaryDirectory(prefix="validate-") as folder:
        first, last = Path(folder) / "float.h5", Path(folder) / "last.h5"
        backend.save(model, first)
        for settings in recipe.compress:
            backend.save(model, last)
            backend.reset(recipe.seed)
            model = backend.load(last, custom)
            given = (
                training.with_teacher(backend.load(first, custom)) if getattr(settings, "distillation", 0) else training
            )
            model = compression.apply(model, given, settings)
            found.append(fitting.accuracy(model, data))
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", "name", required=True, metavar="NAME|FILE", help=f"One of {', '.join(names())}, or a file.")
@click.option("--parts", default=5, show_default=True, help="Into how many parts the training set is cut.")
def main(name: str, parts: int) -> None:
    """Cross-validate a recipe on its training set; the test set is not looked at."""
    console = Console()
    try:
        recipe = load(name)
        data = datasets.load(recipe.data, Cache().root / "datasets", recipe.preprocessing)
        backend.tfmot()
        rows = []
        for k, part in enumerate(split(data, parts), 1):
            rows.append(accuracies(recipe, part, Reporter(console)))
            console.print(f"part {k} of {parts}: {_line(recipe, rows[-1])}", highlight=False)
        console.print(f"mean: {_line(recipe, np.mean(rows, axis=0).tolist())}", highlight=False)
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)


def _line(recipe: Recipe, found: list[float]) -> str:
    steps = ["float", *(step.technique for step in recipe.compress)]
    return ", ".join(f"{step} {value:.4f}" for step, value in zip(steps, found, strict=True))


if __name__ == "__main__":
    main()
