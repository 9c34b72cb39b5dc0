"""Does a model fit? Every board, before anything is compiled.

`python convert/fit.py --model M [--board X ...]` prints each board with what the model takes there, why it does not
fit, and what would help. Exit codes: 0 it fits every board that was asked for (or at least one, where none was), 2
wrong use or unreadable input, 3 it does not fit, 5 a tool failed. docs/fit.md has the JSON's keys and a CI example.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convert import boards, energy, families, fitting, golden, graph, latency, sarif, vectors, verified
from convert import source as sources
from convert.cache import Cache, atomic_write
from convert.compiled import Optimize
from convert.console import Ui
from convert.emit import render
from convert.errors import DoesNotFitError, PipelineError, UsageError
from convert.paths import BOARDS

_BAR = 14  # columns
_NAME = 56  # characters of a tensor's name


def run(
    path: Path,
    names: Sequence[str],
    wanted: fitting.Wanted,
    optimize: Optimize,
    representative: Path | None,
    allow_custom_code: bool,
    ui: Ui,
) -> fitting.Fit:
    """Import the model and look at every board; PipelineError as convert/build.py raises it."""
    every = [boards.load(name, BOARDS) for name in boards.names(BOARDS)]
    for name in names:
        boards.load(name, BOARDS)
    records = verified.load(BOARDS)
    source = _source(path, representative, allow_custom_code, ui)
    g = source.family.read(source.data)
    with ui.stage("fit") as stage:
        candidate = fitting.Candidate(source.name, g, _arena(g) if source.family is sources.TFLITE else None)
        asked = list(dict.fromkeys(names))
        fit = fitting.evaluate(candidate, str(path), every, asked, wanted, optimize, records, source.notes)
        stage.detail = f"{sum(b.fits for b in fit.boards)} of {len(fit.boards)} boards"
    return fit


def _source(path: Path, representative: Path | None, allow_custom_code: bool, ui: Ui) -> sources.Source:
    """The model of a file: any that convert/build.py takes, or one of another family as it writes it."""
    if (own := families.of_file(path)) is not None:
        return families.from_file(path, own)
    return sources.from_file(path, representative, allow_custom_code, 1, ui)


def _arena(g: graph.Graph) -> golden.ArenaUse | UsageError:
    """What TFLite Micro measures on the host, or why it refuses the model."""
    try:
        return golden.cached(g, vectors.computed(g, 0).inputs, Cache(), lambda _done, _total: None)[0].arena
    except UsageError as e:
        return e


# The console


def _meter(memory: fitting.Memory | None) -> list[RenderableType]:
    if memory is None:
        return ["", ""]
    full = memory.used / memory.budget
    color = "red" if full > 1 else "yellow" if full > 0.9 else "green"
    # Characters, and not colours alone: a bar must be legible in a log, too.
    bar = Bar(memory.budget, 0, min(memory.used, memory.budget), width=_BAR, color=color, bgcolor="grey23")
    return [bar, Text(f"{memory.used:,} of {memory.budget:,}", style=color if full > 1 else "")]


def _row(verdict: bool, first: str, case: fitting.Case) -> list[RenderableType]:
    mark = Text("fits", style="green") if verdict else Text("no", style="bold red")
    cells: list[RenderableType] = [mark, Text(first, style="bold"), case.environment, case.runtime]
    if case.refused:
        return [*cells, Text("refused", style="red"), "", "", ""]
    return [*cells, *_meter(case.ram), *_meter(case.flash)]


def _table(fit: fitting.Fit) -> Table:
    """A line a board; every environment and runtime of those that were asked for."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in ("", "board", "environment", "runtime"):
        table.add_column(column, no_wrap=True)
    for memory in ("RAM", "flash"):
        table.add_column(memory, width=_BAR)
        table.add_column("bytes", justify="right", no_wrap=True)
    for board in fit.boards:
        table.add_row(*_row(board.fits, board.board, board.case))
        if fit.asked:
            for k, case in enumerate(board.cases):
                if k != board.best:
                    table.add_row(*_row(case.fits, "", case))
    return table


def _details(board: fitting.BoardFit) -> RenderableType | None:
    """Why a board does not take the model and what would help, or what was measured on it."""
    if not board.fits:
        head = f"{board.board} ({board.case.environment}, {board.case.runtime})"
        reasons = [Text(reason, style="red") for reason in board.reasons]
        return _block(Text(head, style="bold"), [*reasons, *(Text(f"- {text}") for text in board.advice)])
    m = board.measured
    if m is None:
        return None
    counted = None if m.instructions is None else f"{m.instructions:,} instructions"
    figures = [text for text in (counted, latency.text(board.latency), energy.text(board.energy)) if text]
    head = f"{board.board}: {'; '.join(figures) or 'run without figures'}"
    result = "" if m.passed else "; its outputs DIFFERED"
    about = f"run on {m.date} in {m.emulator}, environment {m.environment}{result}"
    return _block(Text(head), [Text(about, style="dim" if m.passed else "red")])


def _block(head: Text, lines: Sequence[Text]) -> RenderableType:
    return Group(head, *(Padding(line, (0, 0, 0, 2), expand=False) for line in lines))


def _shape(shape: Sequence[int] | None) -> str:
    return "x".join(map(str, shape)) if shape else "scalar"


def _name(tensor: fitting.TensorInfo) -> str:
    """The converter joins the names of what it fused; the last one is the operator's that is left."""
    names = tensor.name.split(";")
    name = next((name for name in reversed(names) if "/" in name), names[-1]) or f"tensor {tensor.index}"
    return name if len(name) <= _NAME else f"...{name[-_NAME + 3 :]}"


def facts(fit: fitting.Fit) -> list[str]:
    """What is worth knowing of the model, a sentence each."""
    big, w = fit.biggest_activation, fit.widest
    found = [
        f"biggest activation: {_name(big)}, {_shape(big.shape)} {big.dtype}, {big.bytes:,} B",
        f"widest point: operator {w.operator} ({w.name}, output {_shape(w.output)}), {w.bytes:,} B of live tensors",
    ]
    if fit.biggest_constant is not None:
        c = fit.biggest_constant
        found.insert(1, f"biggest constant: {_name(c)}, {_shape(c.shape)} {c.dtype}, {c.bytes:,} B")
    return found


NOT_COUNTED = (
    "The compiled runtime's code is an estimate from its kernels' measured sizes; the code of TFLite Micro's "
    "interpreter and kernels, and that of trees and bits, is not counted. A build checks the linked image."
)


def show(fit: fitting.Fit, console: Console) -> None:
    """Print the verdicts."""
    m = fit.model
    console.print()
    console.print(Text(f"{m.name}: {m.parameters:,} parameters, {m.macs:,} MACs, {m.tflite_bytes:,} B as a file"))
    for text in facts(fit):
        console.print(Text(f"  {text}"))
    console.print()
    console.print(_table(fit))
    for board in fit.boards:
        details = _details(board)
        if details is not None:
            console.print()
            console.print(details)
    console.print()
    for note in (*fit.notes, NOT_COUNTED):
        console.print(Text(note, style="dim"))


def page(fit: fitting.Fit) -> str:
    """The HTML page with a bar a memory."""
    return render("report/fit.html.j2", {"fit": fit, "facts": facts(fit), "not_counted": NOT_COUNTED})


# The command line


def _write(place: str | None, text: Callable[[], str]) -> None:
    """To a file, or to standard output for `-`. Raises UsageError where the file cannot be written."""
    if place is None:
        return
    if place == "-":
        click.echo(text(), nl=False)
        return
    try:
        atomic_write(Path(place), text())
    except OSError as e:
        raise UsageError(f"{place} cannot be written ({e.strerror}); name a file in a folder that exists") from e


_PATH = partial(click.Path, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--model", required=True, type=_PATH(), help="Model: .tflite, .keras, .h5, .tree, .bits or a SavedModel.")
@click.option("--board", "names", multiple=True, metavar="NAME", help="Board that must fit; may be given again.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "compiled", "tflm"]),
    default="auto",
    show_default=True,
    help="Runtime to look at; auto: a board fits where one of its runtimes does.",
)
@click.option(
    "--optimize",
    type=click.Choice(["speed", "size"]),
    default="speed",
    show_default=True,
    help="What counts in the compiled runtime: fast kernels, or little code.",
)
@click.option(
    "--representative",
    type=_PATH(exists=True, dir_okay=False),
    help="Representative dataset (.npy or .npz) that calibrates the quantisation.",
)
@click.option("--allow-custom-code", is_flag=True, help="Execute code that the model's file carries.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write the verdicts as JSON.")
@click.option("--sarif", "sarif_file", metavar="FILE|-", help="Write them as SARIF 2.1.0, for code scanning.")
@click.option("--html", "html_file", metavar="FILE|-", help="Write them as a page with bars.")
def main(
    model: Path,
    names: tuple[str, ...],
    runtime: fitting.Wanted,
    optimize: Optimize,
    representative: Path | None,
    allow_custom_code: bool,
    json_file: str | None,
    sarif_file: str | None,
    html_file: str | None,
) -> None:
    """Say which boards a model fits, and what would make it fit where it does not."""
    places = (json_file, sarif_file, html_file)
    if places.count("-") > 1:
        raise click.UsageError("standard output ('-') can take one of --json, --sarif and --html")
    stream = sys.stderr if "-" in places else sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else int(os.environ.get("COLUMNS", 120)))
    try:
        fit = run(model, names, runtime, optimize, representative, allow_custom_code, Ui(console))
        _write(json_file, lambda: fit.model_dump_json(by_alias=True, indent=2) + "\n")
        _write(sarif_file, lambda: json.dumps(sarif.log(fit), indent=2) + "\n")
        _write(html_file, lambda: page(fit))
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    show(fit, console)
    if not fit.fits:
        sys.exit(DoesNotFitError.exit_code)


if __name__ == "__main__":
    main()
