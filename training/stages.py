"""What each stage of a recipe's compression leaves: weights, bits a weight, bytes, test error, as the paper tells it.

`python training/stages.py --recipe deep_compression_300_100 --seeds 1,2,3`

After the tables of Han, Mao and Dally, "Deep Compression", 2016. A stage is the recipe up to one of its steps; its
bytes are those of `training.coding`, with everything that is needed to get the weights back: positions, indices,
codebooks, Huffman tables, biases, names and shapes. The original counts four bytes a parameter and nothing else.
Huffman codes are used from the step `huffman` on. Finished steps come from the cache.
"""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Run as a script, Python puts training/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
from rich.console import Console

from convert.cache import Cache, atomic_write
from convert.errors import PipelineError, UsageError
from training import coding, train
from training.coding import Coded
from training.recipe import Recipe, load, names

TITLES = {
    "prune": "pruned",
    "iterative_prune": "pruned",
    "share": "shared",
    "cluster": "shared",
    "huffman": "Huffman",
}


@dataclass(frozen=True)
class Stage:
    """A model on its way: one seed."""

    name: str  # "original", "pruned", "pruned + shared", ...
    parameters: int  # kernels, biases and what normalisation needs
    nonzeros: int
    size: int  # bytes
    error: float  # share of test samples that are answered wrongly
    tensors: tuple[Coded, ...]

    @property
    def value_bits(self) -> float:
        """Bits a stored weight for its value, codebooks among them."""
        return 8 * sum(t.value_bytes + t.codebook_bytes for t in self.tensors) / sum(t.coded for t in self.tensors)

    @property
    def position_bits(self) -> float:
        """Bits a stored weight for its place."""
        return 8 * sum(t.position_bytes for t in self.tensors) / sum(t.coded for t in self.tensors)


def stages(recipe: Recipe, cache: Cache, console: Console | None = None) -> list[Stage]:
    """The float model and what each step of `compress` leaves of it; raises UsageError where there is no step."""
    if not recipe.compress:
        raise UsageError(f"recipe {recipe.name!r} has no [[compress]] step, so it has no stages; add one")
    found, title, entropy = list[Stage](), list[str](), False
    for count in range(len(recipe.compress) + 1):
        # What the whole recipe must reach, its beginnings need not.
        trained = train.run(recipe.model_copy(update={"compress": recipe.compress[:count]}), cache, console)
        if count:
            technique = recipe.compress[count - 1].technique
            title.append(TITLES.get(technique, technique))
            entropy = entropy or technique == "huffman"
        tensors = coding.keras_tensors(trained.model())
        parameters = sum(tensor.size for tensor in tensors.values())
        found.append(
            Stage(
                name=" + ".join(title) or "original",
                parameters=parameters,
                nonzeros=sum(int(np.count_nonzero(tensor)) for tensor in tensors.values()),
                size=coding.packed_size(tensors, entropy) if count else 4 * parameters,
                error=1 - trained.keras_accuracy,
                tensors=tuple(coding.measure(tensors, entropy)),
            )
        )
    return found


# Tables

Row = dict[str, object]


def _mean(runs: Sequence[Sequence[Stage]], number: int, what: Callable[[Stage], float]) -> float:
    return float(np.mean([what(run[number]) for run in runs]))


def table(runs: Sequence[Sequence[Stage]]) -> list[Row]:
    """A line a stage, the mean over seeds: the paper's table 1 with the columns of its text."""
    original = _mean(runs, 0, lambda s: s.size)
    rows = []
    for number, stage in enumerate(runs[0]):
        size = _mean(runs, number, lambda s: s.size)
        errors = [run[number].error for run in runs]
        nonzeros = _mean(runs, number, lambda s: s.nonzeros)
        row: Row = {
            "stage": stage.name,
            "non-zeros": round(nonzeros),
            "of the original": f"{nonzeros / runs[0][0].parameters:.1%}",
            "bits, value": f"{_mean(runs, number, lambda s: s.value_bits):.2f}" if number else "32.00",
            "bits, position": f"{_mean(runs, number, lambda s: s.position_bits):.2f}" if number else "0.00",
            "bytes": round(size),
            "ratio": f"{original / size:.1f}",
            "test error": f"{np.mean(errors):.2%}",
            "seeds": ", ".join(f"{error:.2%}" for error in errors),
        }
        rows.append(row)
    return rows


def layer_table(runs: Sequence[Sequence[Stage]]) -> list[Row]:
    """A line a tensor of the last stage, the mean over seeds: the paper's tables 2 and 3."""
    rows = []
    originals = {tensor.name: tensor for tensor in runs[0][0].tensors}
    last = [{tensor.name: tensor for tensor in run[-1].tensors} for run in runs]
    for name, original in originals.items():
        kept = [tensors[name] for tensors in last if name in tensors]
        if not kept:
            continue
        size, coded = float(np.mean([t.size for t in kept])), max(1.0, float(np.mean([t.coded for t in kept])))
        row: Row = {
            "tensor": name,
            "weights": original.weights,
            "non-zeros": f"{np.mean([t.nonzeros for t in kept]) / original.weights:.1%}",
            "bits, value": f"{8 * np.mean([t.value_bytes for t in kept]) / coded:.2f}",
            "bits, position": f"{8 * np.mean([t.position_bytes for t in kept]) / coded:.2f}",
            "codebook, bytes": round(np.mean([t.codebook_bytes for t in kept])),
            "bytes": round(size),
            "ratio": f"{4 * original.weights / size:.1f}",
            "values": kept[0].values,
            "positions": kept[0].positions,
        }
        rows.append(row)
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([str(row[head]) for head in heads] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def comma_separated(runs: Sequence[Sequence[Stage]], seeds: Sequence[int]) -> str:
    """Every seed's stages and tensors, unrounded: a line a tensor, and one with an empty tensor for the whole."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = ["weights", "nonzeros", "coded", "positions", "values", "position_bytes", "value_bytes", "codebook_bytes"]
    writer.writerow(["seed", "stage", "tensor", *heads, "bytes", "test_error"])
    for seed, run in zip(seeds, runs, strict=True):
        for stage in run:
            writer.writerow(
                [seed, stage.name, "", stage.parameters, stage.nonzeros, *[""] * 6, stage.size, stage.error]
            )
            for tensor in stage.tensors if stage.name != "original" else ():
                parts = [getattr(tensor, head) for head in heads]
                writer.writerow([seed, stage.name, tensor.name, *parts, tensor.size, ""])
    return out.getvalue()


def page(recipe: Recipe, runs: Sequence[Sequence[Stage]], seeds: Sequence[int]) -> str:
    """Both tables with a heading each."""
    over = f"seed {seeds[0]}" if len(seeds) == 1 else f"mean of seeds {', '.join(map(str, seeds))}"
    return (
        f"## {recipe.name}: stages, {over}\n\n{markdown(table(runs))}\n"
        f"## {recipe.name}: tensors after the last stage, {over}\n\n{markdown(layer_table(runs))}"
    )


# Command line


def _seeds(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Numbers from a list with commas; None where none is given."""
    if value is None:
        return None
    try:
        found = tuple(int(part) for part in value.split(","))
    except ValueError:
        words = f"{value!r} is no list of seeds; give whole numbers with commas, such as 1,2,3"
        raise click.BadParameter(words, context, parameter) from None
    if len(set(found)) < len(found) or any(not 0 <= seed < 2**31 for seed in found):
        raise click.BadParameter(f"{value!r}: seeds are different numbers from 0 to 2147483647", context, parameter)
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", "name", required=True, metavar="NAME|FILE", help=f"One of {', '.join(names())}, or a file.")
@click.option("--seeds", callback=_seeds, metavar="1,2,3", help="Runs to average.  [default: the recipe's seed]")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for stages.md and stages.csv.")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Cache folder.  [default: .cache]")
def main(name: str, seeds: tuple[int, ...] | None, output: Path | None, folder: Path | None) -> None:
    """Say what each stage of a recipe's compression leaves: non-zeros, bits a weight, bytes, test error."""
    try:
        recipe = load(name)
        chosen = seeds or (recipe.seed,)
        console = Console(stderr=True)
        runs = [stages(recipe.model_copy(update={"seed": seed}), Cache(folder), console) for seed in chosen]
        text = page(recipe, runs, chosen)
        click.echo(text, nl=False)
        if output is not None:
            atomic_write(output / "stages.md", text)
            atomic_write(output / "stages.csv", comma_separated(runs, chosen))
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; finished steps are kept, the same command goes on from there", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
