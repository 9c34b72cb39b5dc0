"""Ways to store weights in the compiled runtime: bytes and instructions of every format, and what `auto` makes of them.

    python benchmarks/weight_formats.py [MODEL.tflite...] [--recipe NAME...] [--zeros SHARE...] [--output DIR]

A model has two tables: a line a layer with a column a format (bytes of its constants, instructions of an inference in
thousands; both counted, on an emulated Cortex-M4), and a line for each bound on instructions. Writes results.md and a
picture for each model, MODEL.png. Every byte of 21 vectors is compared with TFLite Micro. Exit codes: 0 done,
2 wrong use, 4 outputs differ, 5 a tool is missing or failed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
from rich.console import Console

from benchmarks import models
from convert import compiled, compression_report, golden, graph, quantize, vectors
from convert.cache import Cache, atomic_write
from convert.compiled import device
from convert.compiled.formats.catalogue import DENSE, FORMATS, LEAN
from convert.compiled.formats.depthwise import COMPACT
from convert.compress import NONE, Compress
from convert.console import Ui
from convert.errors import OutputsDifferError, PipelineError, UsageError
from convert.paths import ROOT
from training import backend

BOUNDS = (1.0, 1.25, 1.5, 2.0, 3.0, 30.0)
COLUMNS = (DENSE, LEAN, COMPACT, *FORMATS)
_VECTORS = 20
_SEED = 7
_HEAD = """# Weight formats, measured

`python benchmarks/weight_formats.py --recipe NAME...`, arm-none-eabi-gcc -O2, instructions of the probe counted in
Unicorn's Cortex-M4. A layer's cell: bytes of all its constants, biases and multipliers included, and instructions of
an inference; bold is what `auto` takes under its default bound, 1.5. "Of float32" is over four bytes for each parameter
of the model before it was compressed.
"""


@dataclass(frozen=True)
class Subject:
    """A model to measure; `parameters` of the float model that it was made from, None where that is not known."""

    name: str
    tflite: bytes
    parameters: int | None = None


@dataclass(frozen=True)
class Line:
    """The model under a way to store its weights; sizes in bytes."""

    name: str
    weights: int
    decoders: int
    flash: int  # constants and code of the image
    arena: int
    instructions: int


def measure(g: graph.Graph, compress: Compress, name: str) -> tuple[Line, compression_report.Compression | None]:
    """Compile, count, and compare with TFLite Micro.

    Raises OutputsDifferError if a byte differs.
    """
    model = compiled.compile_model(g, "cortex_m4", "speed", compress)
    inputs = vectors.computed(g, _VECTORS).inputs
    expected, _ = golden.cached(g, inputs, Cache(), lambda *_: None)
    outputs, _ = device.run(model, inputs)
    if not np.array_equal(outputs, expected.outputs):
        raise OutputsDifferError(f"{name}: outputs differ from TFLite Micro's")
    profile = device.profile(model, inputs[0])
    code = sum(profile.functions.values())
    line = Line(
        name,
        model.weight_bytes,
        model.decoder_bytes or 0,
        model.weight_bytes + code,
        model.arena_bytes,
        profile.total.instructions,
    )
    return line, compression_report.of(model, compress)


def of(subject: Subject, ui: Ui) -> tuple[str, bytes]:
    """A model's part of the page, and its picture (PNG)."""
    g = graph.load(subject.tflite)
    lines = []
    with ui.stage(subject.name):
        dense, _ = measure(g, NONE, DENSE)
        lines.append(dense)
        section = None
        for bound in BOUNDS:
            try:
                line, found = measure(g, Compress("auto", bound), f"auto, at most {bound:g}x")
            except UsageError:
                continue
            lines.append(line)
            section = found if section is None or bound == 1.5 else section
    assert section is not None
    picture = compression_report.picture(section, f"{subject.name}: ways to store each layer's weights (ring: auto)")
    assert picture is not None
    return _page(subject, lines, section), picture


def _page(subject: Subject, lines: Sequence[Line], section: compression_report.Compression) -> str:
    used = [
        name
        for name in COLUMNS
        if any(name == way.format for layer in section.layers for way in (layer.dense, *layer.formats))
    ]
    text = [f"## {subject.name}", "", f"![formats]({subject.name}.png)", ""]
    text += [f"| layer | {' | '.join(used)} |", f"|---|{'---|' * len(used)}"]
    for layer in section.layers:
        ways = {way.format: way for way in (layer.dense, *layer.formats)}
        cells = [_cell(ways.get(name), name == layer.taken.format) for name in used]
        text.append(f"| {layer.index} {layer.operator} | {' | '.join(cells)} |")
    text += [
        "",
        "| | constants B | of dense | of float32 | decoders B | with all code B | arena B | instructions | of dense |",
        f"|{'---|' * 9}",
    ]
    dense = lines[0]
    for line in lines:
        over = "–" if subject.parameters is None else f"1/{4 * subject.parameters / line.weights:.1f}"
        text.append(
            f"| {line.name} | {line.weights:,} | {line.weights / dense.weights:.3f} | {over} | {line.decoders:,} | "
            f"{line.flash:,} | {line.arena:,} | {line.instructions:,} | "
            f"{line.instructions / dense.instructions:.3f} |"
        )
    return "\n".join([*text, ""])


def _cell(way: compression_report.Way | None, taken: bool) -> str:
    if way is None:
        return "–"
    text = f"{way.bytes:,} B, {(way.instructions or 0) / 1000:,.0f} k"
    return f"**{text}**" if taken else text


def from_recipe(name: str) -> Subject:
    """The model of a recipe that was built here, and how many parameters it had before it was compressed.

    Raises UsageError if it was not built.
    """
    from training import architectures, datasets
    from training import recipe as recipes

    recipe = recipes.load(name)
    built = models.recipes().get(recipe.name)
    if built is None:
        raise UsageError(
            f"recipe {name} was not built here; run: python convert/build.py --board nano33 --recipe {name}"
        )
    data = datasets.load(recipe.data, Cache().root / "datasets", recipe.preprocessing)
    network = architectures.build(recipe.model, data.card.shape, len(data.class_names))
    return Subject(recipe.name, built, int(network.count_params()))


def random_layer(zeros: float) -> Subject:
    """A dense layer of 784 inputs and 128 outputs, a share of whose random weights is zero."""
    keras = backend.keras()
    keras.utils.set_random_seed(_SEED)
    rng = np.random.default_rng(_SEED)
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128)])
    weights = rng.normal(0, 0.1, (784, 128)) * (rng.random((784, 128)) >= zeros)
    model.layers[0].set_weights([weights, rng.normal(0, 0.1, 128)])
    tflite = quantize.to_int8(model, rng.normal(0, 1, (64, 784)).astype(np.float32))
    return Subject(f"dense_{100 * zeros:.0f}", tflite, model.count_params())


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument(
    "files", metavar="[MODEL.tflite]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--recipe", "recipes", multiple=True, metavar="NAME", help="Measure this recipe's model; may be repeated."
)
@click.option(
    "--zeros",
    multiple=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="Measure a dense layer with random weights, this share of them zero; may be repeated.",
)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "build" / "weight_formats")
def main(files: tuple[Path, ...], recipes: tuple[str, ...], zeros: tuple[float, ...], output: Path) -> None:
    """Measure every way to store the weights of models."""
    if not files and not recipes and not zeros:
        raise click.UsageError("name .tflite files, recipes with --recipe, or shares with --zeros")
    console = Console()
    ui = Ui(console)
    try:
        subjects = [Subject(path.stem, path.read_bytes()) for path in files]
        subjects += [from_recipe(name) for name in recipes]
        subjects += [random_layer(share) for share in zeros]
        pages = []
        for subject in subjects:
            page, picture = of(subject, ui)
            atomic_write(output / f"{subject.name}.png", picture)
            pages.append(page)
        atomic_write(output / "results.md", "\n".join([_HEAD, *pages]))
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    console.print("\n".join(pages), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
