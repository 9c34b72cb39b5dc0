"""Measures .tflite models with the compiled runtime on an emulated Cortex-M4, beside what is known of others.

    python benchmarks/run.py MODEL.tflite... [--family] [--recipes] [--tflm-dir TREE] [--output DIR]

Prints a summary and a line a layer; writes benchmarks.md, .json, .csv and, where a peer's figures are known,
benchmarks.png. Exit codes: 0 done, 2 wrong use, 4 outputs differ from TFLite Micro's, 5 a tool is missing or failed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
from rich.console import Console
from rich.table import Table

from benchmarks import chart, peers
from benchmarks.measure import CONFIGURATIONS, Configuration, measure, reference
from benchmarks.result import (
    LAYER_COLUMNS,
    SUMMARY_COLUMNS,
    Result,
    as_csv,
    as_json,
    as_markdown,
    layer_cells,
    ratio,
    summary_rows,
)
from convert import graph, vectors
from convert.cache import atomic_write
from convert.console import Ui
from convert.errors import OutputsDifferError, PipelineError, UsageError
from convert.paths import ROOT


def _models(files: tuple[Path, ...], family: bool, recipes: bool) -> Iterator[tuple[str, bytes]]:
    for path in files:
        yield path.stem, path.read_bytes()
    if family or recipes:
        from benchmarks import models

        if family:
            for name in models.FAMILY:
                yield name, models.tflite(name)
        if recipes:
            yield from models.recipes().items()


def _measure(
    name: str, data: bytes, chosen: tuple[Configuration, ...], tree: Path | None, output: Path, ui: Ui
) -> Result:
    g = graph.load(data)
    with ui.stage("reference") as stage:
        probe, expected = reference(g)
        fnv = f"0x{vectors.fnv1a32(expected.tobytes()):08x}"
        stage.detail = f"{name}: TFLite Micro on the host, probe {fnv}"
    measured = []
    for configuration in chosen:
        with ui.stage("measure") as stage:
            m = measure(g, configuration, probe, expected)
            stage.detail = f"{name}, {configuration.name}: {m.instructions:,} instructions"
        measured.append(m)
    tflm = peers.recorded(g)
    if tree is not None:
        with ui.stage("peer") as stage:
            tflm = peers.measured(name, g, tree, output / "tflm")
            stage.detail = f"{name}, TFLite Micro from {tree}: {tflm.instructions:,} instructions"
    published = tuple(peers.published(name, g))
    return Result(name, g.sha256, g.macs, len(data), fnv, tuple(measured), tflm, published)


def _show(result: Result, console: Console) -> None:
    """The layers of the first configuration, then all configurations and peers."""
    best = result.best
    table = Table(title=f"{result.name}, {best.configuration.name}", title_justify="left", title_style="bold")
    for column in LAYER_COLUMNS:
        left = column in LAYER_COLUMNS[:3]
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for layer in best.layers:
        table.add_row(*layer_cells(layer))
    rate = f"{best.instructions / best.macs:.2f}" if best.macs else ""
    table.add_section()
    table.add_row(
        "all", "", "", f"{best.macs:,}", f"{best.instructions:,}", rate, f"{best.cycles:,}", f"{best.weights:,}", ""
    )
    console.print(table)
    summary = Table(title_justify="left")
    for number, column in enumerate(SUMMARY_COLUMNS[1:]):
        summary.add_column(column, justify="left" if number in (0, 6, 11) else "right", overflow="fold")
    for row in summary_rows(result):
        summary.add_row(*row[1:], style="red" if row[-1].startswith("DIFF") else None)
    console.print(summary)
    if result.tflm is not None:
        console.print(
            f"against TFLite Micro + CMSIS-NN: instructions {ratio(best.instructions, result.tflm.instructions)}, "
            f"arena {ratio(best.arena, result.tflm.arena)}, code {ratio(best.code, result.tflm.code)}\n"
        )


_FILE_WIDTH = 200  # columns where no terminal gives them
_PATH = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="MODEL.tflite...", nargs=-1, type=_PATH)
@click.option("--family", is_flag=True, help="Also seven networks of other kinds, with random weights.")
@click.option("--recipes", is_flag=True, help="Also the recipes' models, as far as they were built here.")
@click.option("--quick", is_flag=True, help="Only the first configuration: Cortex-M4's kernels, for speed.")
@click.option(
    "--tflm-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="TFLite Micro source tree to measure the same models with.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / "build" / "benchmarks",
    help="Output folder.  [default: build/benchmarks]",
)
def main(
    files: tuple[Path, ...], family: bool, recipes: bool, quick: bool, tflm_dir: Path | None, output: Path
) -> None:
    """Measure models with the compiled runtime on an emulated Cortex-M4."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_WIDTH)
    ui = Ui(console)
    results: list[Result] = []
    chosen = CONFIGURATIONS[:1] if quick else CONFIGURATIONS
    try:
        for name, data in _models(files, family, recipes):
            try:
                results.append(_measure(name, data, chosen, tflm_dir, output, ui))
            except UsageError as e:
                ui.note(f"{name}: {e}")
                g = graph.load(data)
                results.append(Result(name, g.sha256, g.macs, len(data), None, (), None, (), refused=str(e)))
                continue
            _show(results[-1], console)
        if not results:
            raise UsageError("no models: pass .tflite files, --family or --recipes")
        texts = {"md": as_markdown(results), "json": as_json(results), "csv": as_csv(results)}
        for suffix, text in texts.items():
            atomic_write(output / f"benchmarks.{suffix}", text)
        drawn = chart.draw(results, output / "benchmarks.png")
        console.print(f"written: {output}/benchmarks.{{{','.join(texts)}{',png' if drawn else ''}}}", highlight=False)
        wrong = [r.name for r in results if not r.equal]
        if wrong:
            raise OutputsDifferError(f"outputs differ from TFLite Micro's: {', '.join(wrong)}")
    except PipelineError as e:
        console.print(f"[red]error:[/] {e}", soft_wrap=True, highlight=False)
        sys.exit(e.exit_code)


if __name__ == "__main__":
    main()
