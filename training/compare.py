"""What can I save, and what does it cost me? Every technique that a recipe's comparison lists, side by side.

`python training/compare.py --recipe fashion` trains the float model once a seed, applies each variant of the
comparison, and writes comparison.csv, comparison.md and comparison.png into the
output folder after every variant. Steps and measurements are cached: an interrupted run goes on where it stopped.
Exit codes as convert/build.py's: 0 done, 2 wrong use, 5 a tool is missing or failed.

Beside convert/build.py this is the one place that knows both training and conversion.
"""

import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

# Run as a script, Python puts training/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
from rich.console import Console
from rich.markup import escape

from convert import boards
from convert.cache import Cache, atomic_write
from convert.errors import PipelineError, UsageError
from convert.paths import BOARDS, ROOT
from training import train
from training.comparison import measure, plots, tables, variants
from training.comparison.measure import Row
from training.comparison.variants import Run
from training.recipe import Recipe, load, names, with_comparison

COMPARISONS = Path(__file__).resolve().parent / "comparisons"


def compare(
    runs: Sequence[Run], cache: Cache, board: str, output: Path, heading: str, limit: float, ui: Console
) -> list[Row]:
    """Make and measure every run that is not cached; the output files are whole after each of them.

    A variant that the recipe's model cannot take is a line that says why; what is done stays done.
    """
    rows: list[Row] = []
    for number, run in enumerate(runs, 1):
        start = time.monotonic()
        place = f"{number}/{len(runs)} {run.name}, seed {run.seed}"
        ui.print(escape(place), highlight=False)
        row = _row(run, cache, board, ui)
        if row is not None:
            rows.append(row)
            ui.print(f"  {_summary(row)}, {time.monotonic() - start:.1f} s", highlight=False)
            _write(rows, output, heading, limit)
    return rows


def _row(run: Run, cache: Cache, board: str, ui: Console) -> Row | None:
    try:
        trained = train.run(run.recipe, cache, ui)
        return measure.row(run, trained, cache, board, lambda words: ui.print(f"  {words}", highlight=False))
    except UsageError as e:
        if run.name == variants.BASELINE:
            raise
        ui.print(f"[yellow]![/] left out: {escape(str(e))}", highlight=False, soft_wrap=True)
        return None


def _summary(row: Row) -> str:
    text = f"float {row.float_accuracy:.4f}"
    if row.accuracy is not None:
        text += f", {row.format} {row.accuracy:.4f}"
    return text + (f", coded {row.compressed_bytes:,} B" if row.compressed_bytes is not None else "")


def _write(rows: Sequence[Row], output: Path, heading: str, limit: float) -> None:
    atomic_write(output / "comparison.csv", tables.to_csv(rows))
    note = (
        f"Means over seeds, ± standard deviation. **bold** !: more than {100 * limit:g} points below the recipe's "
        "float model. ◆: on the Pareto front of flash and accuracy.\n"
    )
    text = f"{heading}\n\n{note}\n{tables.to_markdown(rows, limit)}\n![accuracy over what it costs](comparison.png)\n"
    atomic_write(output / "comparison.md", text)
    atomic_write(output / "comparison.png", plots.draw(rows, heading.splitlines()[0].lstrip("# ")))


def _heading(recipe: Recipe, comparison: Path | None, only: Sequence[str], seeds: Sequence[int], board: str) -> str:
    command = f"python training/compare.py --recipe {recipe.name}"
    if comparison is not None:
        command += f" --comparison {comparison}"
    command += "".join(f' --only "{name}"' for name in only)
    which = ", ".join(map(str, seeds))
    return (
        f"# Comparison: {_title(recipe, comparison)}\n\n"
        f"`{command} --seeds {which.replace(' ', '')}`, {date.today()}. Flash (without test vectors), RAM and arena "
        f"are the compiled runtime's on {board}; instructions of one inference are counted in an emulator."
    )


def _title(recipe: Recipe, comparison: Path | None) -> str:
    return recipe.name if comparison is None else f"{recipe.name}-{comparison.stem}"


def _recipe(name: str, comparison: Path | None) -> Recipe:
    recipe = load(name)
    own = COMPARISONS / f"{recipe.name}.toml"
    if comparison is None and recipe.comparison is None and own.is_file():
        comparison = own
    return recipe if comparison is None else with_comparison(recipe, comparison)


def _seeds(text: str | None, recipe: Recipe) -> list[int]:
    if text is None:
        return list(variants.comparison_of(recipe).seeds)
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--seeds is {text!r}; allowed are whole numbers with commas between them, such as 1,2,3")
    return list(dict.fromkeys(map(int, parts)))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", "name", required=True, metavar="NAME|FILE", help=f"One of {', '.join(names())}, or a file.")
@click.option("--comparison", type=click.Path(path_type=Path), help="TOML file of variants.  [default: the recipe's]")
@click.option("--seeds", metavar="N,N,...", help="Seeds to train from.  [default: the comparison's]")
@click.option("--only", multiple=True, metavar="NAME", help="Only this variant or group, and the baseline; repeatable.")
@click.option("--board", default="nano33", show_default=True, help="Board whose memory is counted.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder.  [default: build/comparisons/RECIPE, or RECIPE-COMPARISON]",
)
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Cache folder.  [default: .cache]")
def main(
    name: str,
    comparison: Path | None,
    seeds: str | None,
    only: tuple[str, ...],
    board: str,
    output: Path | None,
    folder: Path | None,
) -> None:
    """Compare compression techniques on a recipe: table, CSV and plots; goes on where it was interrupted."""
    ui = Console()
    try:
        recipe = _recipe(name, comparison)
        chosen = _seeds(seeds, recipe)
        runs = variants.plan(recipe, chosen, only)
        boards.load(board, BOARDS)
        output = output or ROOT / "build" / "comparisons" / _title(recipe, comparison)
        limit = variants.comparison_of(recipe).limit
        heading = _heading(recipe, comparison, only, chosen, board)
        rows = compare(runs, Cache(folder), board, output, heading, limit, ui)
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; what is done is kept, the same command goes on from there", err=True)
        sys.exit(130)
    ui.print(tables.to_console(rows, limit, recipe.name))
    ui.print(f"red: more than {100 * limit:g} points below the float model; ◆: Pareto front of flash and accuracy")
    ui.print(f"{output / 'comparison.md'}, .csv, .png", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
