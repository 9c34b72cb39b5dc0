"""Does it matter which channels go? Accuracy by criterion and share, before and after fine-tuning.

`python training/channel_table.py --recipe digits --seeds 1,2,3`

After the tables of Mittal et al., "Recovering from Random Pruning: On the Plasticity of Deep Convolutional Neural
Networks", WACV 2018: the recipe's float model loses the same share of channels in each layer by each criterion, and is
measured as it is then and after a few epochs of training. Finished steps come from the cache, so that an interrupted
run goes on where it stopped; Markdown and CSV are whole after every line. Exit codes as training/train.py's.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import get_args

# Run as a script, Python puts training/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
from pydantic import ValidationError
from rich.console import Console

from convert.cache import Cache, atomic_write
from convert.errors import PipelineError, UsageError, one_of
from convert.paths import ROOT
from training import train
from training.recipe import Recipe, Require, load, names
from training.settings.channels import PruneChannels

CRITERIA: tuple[str, ...] = get_args(PruneChannels.model_fields["criterion"].annotation)
SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Cell:
    """One criterion, share and seed; accuracies on the test set."""

    criterion: str
    share: float
    seed: int
    parameters: int  # of the smaller model
    float_parameters: int
    float_accuracy: float
    before: float  # after the cut
    after: float  # after fine-tuning


def cell(recipe: Recipe, settings: PruneChannels, cache: Cache, console: Console | None = None) -> Cell:
    """Cut the recipe's float model and measure it, then with the settings' epochs of fine-tuning.

    Raises what training.train.run does.
    """

    def run(*steps: PruneChannels) -> train.Trained:
        # The recipe's own steps and bars are about another model.
        changes = {"compress": list(steps), "require": Require(), "comparison": None}
        return train.run(recipe.model_copy(update=changes), cache, console)

    cut = run(settings.model_copy(update={"epochs": 0}))
    tuned = run(settings)
    return Cell(
        criterion=settings.criterion,
        share=settings.share,
        seed=recipe.seed,
        parameters=_parameters(cut),
        float_parameters=_parameters(run()),
        float_accuracy=cut.float_accuracy,
        before=cut.keras_accuracy,
        after=tuned.keras_accuracy,
    )


def _parameters(trained: train.Trained) -> int:
    return int(json.loads((trained.folder / "step.json").read_text())["parameters"])


def to_csv(cells: Sequence[Cell]) -> str:
    """A line a cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Cell)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in cells)
    return out.getvalue()


def to_markdown(cells: Sequence[Cell]) -> str:
    """A line a criterion, and for each share the accuracy in percent before and after: mean ± deviation over seeds."""
    shares = sorted({each.share for each in cells})
    head = ["criterion", *(f"{share:.0%} {when}" for share in shares for when in ("cut", "fine-tuned"))]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for criterion in dict.fromkeys(each.criterion for each in cells):
        line = [criterion]
        for share in shares:
            here = [each for each in cells if (each.criterion, each.share) == (criterion, share)]
            line += [_percent(here, lambda c: c.before), _percent(here, lambda c: c.after)]
        lines.append(line)
    sizes = {each.share: each.parameters for each in cells}
    left = [f"{sizes[share]:,}" for share in shares]
    lines.append(["parameters", *(text for size in left for text in ("", size))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _percent(cells: Sequence[Cell], what: Callable[[Cell], float]) -> str:
    if not cells:
        return ""
    values = 100 * np.array([what(each) for each in cells])
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


def page(recipe: Recipe, cells: Sequence[Cell], epochs: int) -> str:
    """The table under a heading that says what it is of."""
    floats = {each.seed: each for each in cells}
    seeds = ", ".join(map(str, floats))
    over = f"seed {seeds}" if len(floats) == 1 else f"seeds {seeds}, mean ± standard deviation"
    return (
        f"## {recipe.name}: channels removed by criterion\n\n"
        f"Share of every layer's channels, test accuracy in percent after the cut and after {epochs} epochs of "
        f"training; {over}. The float model has {cells[0].float_parameters:,} "
        f"parameters and {_percent(list(floats.values()), lambda c: c.float_accuracy)} percent.\n\n"
        f"{to_markdown(cells)}"
    )


# Command line


def _numbers(option: str, text: str, kind: Callable[[str], float]) -> list[float]:
    try:
        return list(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError:
        raise UsageError(f"--{option} is {text!r}; give numbers with commas between them") from None


def _plan(shares: str, criteria: str, **settings: object) -> list[PruneChannels]:
    known = criteria.split(",")
    if unknown := [name for name in known if name not in CRITERIA]:
        raise UsageError(f"--criteria names {unknown[0]!r}; allowed are {one_of(list(CRITERIA))}")
    made = []
    for criterion, share in product(known, _numbers("shares", shares, float)):
        options = {"technique": "prune_channels", "criterion": criterion, "share": share, **settings}
        try:
            made.append(PruneChannels.model_validate(options))
        except ValidationError as e:
            error = e.errors()[0]
            key = str(error["loc"][0]) if error["loc"] else "share"
            raise UsageError(f"{key} = {options.get(key)}: {error['msg']}") from e
    return made


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", "name", required=True, metavar="NAME|FILE", help=f"One of {', '.join(names())}, or a file.")
@click.option("--seeds", metavar="N,N,...", help="Seeds to train from.  [default: the recipe's]")
@click.option("--shares", default=",".join(map(str, SHARES)), show_default=True, help="Of each layer's channels.")
@click.option("--criteria", default=",".join(CRITERIA), show_default=True, help="What decides which channels go.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="Of fine-tuning.")
@click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Of fine-tuning, at its peak.")
@click.option("--skip", multiple=True, metavar="LAYER", help="A layer that keeps its channels; repeatable.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder.  [default: build/channels/RECIPE]")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Cache folder.  [default: .cache]")
def main(
    name: str,
    seeds: str | None,
    shares: str,
    criteria: str,
    epochs: int,
    learning_rate: float,
    skip: tuple[str, ...],
    output: Path | None,
    folder: Path | None,
) -> None:
    """Tabulate what removing channels costs, by criterion, before and after fine-tuning."""
    console, cells = Console(), list[Cell]()
    try:
        recipe = load(name)
        steps = _plan(
            shares,
            criteria,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=recipe.train.batch_size,
            skip=list(skip),
        )
        chosen = [int(seed) for seed in _numbers("seeds", seeds, int)] if seeds else [recipe.seed]
        output = output or ROOT / "build" / "channels" / recipe.name
        for number, (settings, seed) in enumerate(product(steps, chosen), 1):
            place = f"{number}/{len(steps) * len(chosen)} {settings.criterion}, share {settings.share}, seed {seed}"
            console.print(place, highlight=False)
            cells.append(cell(recipe.model_copy(update={"seed": seed}), settings, Cache(folder), console))
            last = cells[-1]
            console.print(f"  {last.float_accuracy:.4f} -> {last.before:.4f} -> {last.after:.4f}", highlight=False)
            atomic_write(output / "channels.csv", to_csv(cells))
            atomic_write(output / "channels.md", page(recipe, cells, epochs))
        console.print(page(recipe, cells, epochs), highlight=False, markup=False, soft_wrap=True)
        console.print(f"written to {output}", highlight=False, soft_wrap=True)
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; finished steps are kept, the same command goes on from there", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
