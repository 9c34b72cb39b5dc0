"""The one command: train or take a model, convert it, emit, build and run firmware for a board.

This module is the command line and the order of the stages, nothing else. Exit codes: 0 done, 2 wrong use or
unreadable input, 3 does not fit the board, 4 outputs differ from the golden reference, 5 a tool is missing or failed,
6 accuracy or sparsity below what the recipe requires.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from convert import (
    accuracy,
    boards,
    budget,
    compiled,
    emit,
    golden,
    golden_worker,
    graph,
    quantize,
    report,
    smoke,
    tflm,
    toolchain,
    vectors,
)
from convert.cache import Cache, atomic_write, digest, digest_files
from convert.console import Ui
from convert.errors import DoesNotFitError, PipelineError, ToolError, UsageError
from convert.paths import BOARDS, ROOT

BUILD = ROOT / "build"

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Job:
    """What the user asked for."""

    board: boards.Board
    recipe: str
    model: Path | None
    runtime: toolchain.Wanted
    output: Path | None
    smoke: bool
    vectors: int
    tflm_dir: Path | None
    representative: Path | None
    allow_custom_code: bool
    timeout: float
    seed: int = 1


@dataclass(frozen=True)
class Source:
    """An int8 model and what is known about it."""

    name: str
    tflite: bytes
    accuracy: report.Accuracy = field(default_factory=report.Accuracy)
    samples: Callable[[], tuple[Floats, Labels]] | None = None  # test data: (n, *input shape), (n,)
    require: Callable[[float], None] | None = None  # raises AccuracyError for an int8 accuracy below the recipe's bar
    notes: tuple[str, ...] = ()


class Draft:
    """The report as it grows; written whatever happens once the model is known."""

    def __init__(self, value: report.Report, output: Path) -> None:
        self.value = value
        self.output = output

    def update(self, **changes: object) -> None:
        """Set fields of the report."""
        self.value = self.value.model_copy(update=changes)


def run(job: Job, ui: Ui) -> Draft:
    """Run all stages; raises PipelineError after writing what is known to report.json."""
    choice = _resolve(job, ui)
    source = _take(job, ui)
    g = graph.load(source.tflite)
    output = (job.output or BUILD / job.board.id / source.name).resolve()
    draft = Draft(_first_report(job, source, g), output)
    try:
        _produce(job, source, g, choice, draft, ui)
    except PipelineError as e:
        draft.update(failure=report.Failure(exit_code=e.exit_code, message=str(e)))
        raise
    finally:
        draft.update(stages=tuple(ui.stages))
        draft.value.write(output)
    return draft


def _produce(
    job: Job, source: Source, g: graph.Graph, choice: toolchain.Choice | ToolError, draft: Draft, ui: Ui
) -> None:
    atomic_write(draft.output / "model.tflite", source.tflite)
    test, labels = _vectors(job, source, g)
    reference = _golden(g, test, ui)
    draft.update(accuracy=_measure_accuracy(source, g, ui), peers=_peers(reference.arena))
    images = _generate(job, g, reference.arena, choice, ui, draft)
    _write(job, source, g, choice, test, reference, images, draft)
    if isinstance(choice, ToolError):
        raise choice
    draft.update(runtime=choice.runtime, environment=choice.environment.name, environment_reason=choice.reason)
    firmware = _build(job, g, choice, draft, ui)
    draft.update(artifacts=_artifacts(draft.output, firmware))
    if job.smoke:
        _smoke(job, g, choice, firmware, test, labels, reference, draft, ui)


def _resolve(job: Job, ui: Ui) -> toolchain.Choice | ToolError:
    """Choose environment and runtime first, so that a missing tool is known before a long training.

    A tool that is missing does not stop the emission: the error is kept and raised when the build's turn comes.
    """
    try:
        choice = toolchain.resolve(job.board, job.runtime, job.tflm_dir)
    except ToolError as e:
        ui.note(f"nothing can be built here, sources are still emitted: {e}")
        return e
    ui.note(choice.reason)
    return choice


# Where the model comes from


def _take(job: Job, ui: Ui) -> Source:
    return _import(job, job.model, ui) if job.model is not None else _train(job, ui)


def _train(job: Job, ui: Ui) -> Source:
    from training import recipe as recipes
    from training import train

    recipe = recipes.load(job.recipe)
    cache = Cache()
    with ui.stage("train") as stage:
        trained = train.run(recipe, cache, ui.console)
        stage.cached = all(cached for _, _, cached in trained.steps)
        stage.detail = f"{recipe.name}: {', '.join(name for name, _, _ in trained.steps)}"
    with ui.stage("quantise") as stage:
        key = digest(trained.key, job.seed, _versions("tensorflow", quantize))
        folder, stage.cached = cache.get("int8", key, partial(_quantize_trained, trained, job.seed))
        tflite = (folder / "model.tflite").read_bytes()
        stage.detail = f"int8 TFLite, {len(tflite):,} B"
    data = trained.dataset

    def samples() -> tuple[Floats, Labels]:
        return data().x_test, data().y_test

    def require(int8: float) -> None:
        train.check_requirements(recipe, trained.float_accuracy, int8, trained.sparsity)

    known = report.Accuracy(
        metric="accuracy", float_=trained.float_accuracy, pruned=trained.pruned_accuracy, sparsity=trained.sparsity
    )
    return Source(recipe.name, tflite, known, samples, require)


def _quantize_trained(trained: Any, seed: int, folder: Path) -> None:
    x = trained.dataset().x_train
    chosen = np.random.default_rng(seed).choice(len(x), min(len(x), 500), replace=False)
    (folder / "model.tflite").write_bytes(quantize.to_int8(trained.model(), x[chosen]))


def _import(job: Job, path: Path, ui: Ui) -> Source:
    from convert import keras_import

    with ui.stage("import") as stage:
        imported = keras_import.load(path, allow_custom_code=job.allow_custom_code)
        stage.detail = f"{path} ({imported.kind})"
    if imported.tflite is not None:
        return Source(path.stem, imported.tflite)
    note: str | None = None

    def convert(folder: Path) -> None:
        nonlocal note
        data, note = quantize.representative_from(job.representative, imported.keras_model, job.seed)
        (folder / "model.tflite").write_bytes(quantize.to_int8(imported.keras_model, data))
        (folder / "note.txt").write_text(note or "")

    with ui.stage("quantise") as stage:
        data_key = job.representative.read_bytes() if job.representative else b""
        key = digest(imported.source_sha256, data_key, job.seed, _versions("tensorflow", quantize, keras_import))
        folder, stage.cached = Cache().get("int8", key, convert)
        tflite = (folder / "model.tflite").read_bytes()
        stage.detail = f"int8 TFLite, {len(tflite):,} B"
    note = (folder / "note.txt").read_text()
    return Source(path.stem, tflite, notes=(note,) if note else ())


def _versions(package: str, *modules: ModuleType) -> str:
    """Key of the code that makes a cached result: a package's version and our modules' sources."""
    return digest(metadata.version(package), digest_files(Path(str(module.__file__)) for module in modules))


# What it must answer


def _vectors(job: Job, source: Source, g: graph.Graph) -> tuple[vectors.Vectors, Labels | None]:
    if source.samples is None:
        return vectors.computed(g, job.vectors), None
    x, y = source.samples()
    return vectors.from_samples(g, x, job.vectors), y[: job.vectors]


def _run_golden(g: graph.Graph, inputs: Bytes, ui: Ui) -> tuple[golden.Golden, bool]:
    """TFLite Micro's outputs and arena, cached by model, inputs and version."""

    def make(folder: Path) -> None:
        with ui.bar("TFLite Micro on the host") as progress:
            result = golden.run(g, inputs, progress=progress)
        np.save(folder / "outputs.npy", result.outputs)
        arena = {"total": result.arena.total, "head": result.arena.head, "tail": result.arena.tail}
        (folder / "arena.json").write_text(json.dumps(arena))

    key = digest(g.sha256, inputs.tobytes(), _versions("tflite-micro", golden, golden_worker))
    folder, cached = Cache().get("golden", key, make)
    arena = golden.ArenaUse(**json.loads((folder / "arena.json").read_text()))
    return golden.Golden(np.load(folder / "outputs.npy"), None, arena), cached


def _golden(g: graph.Graph, test: vectors.Vectors, ui: Ui) -> golden.Golden:
    with ui.stage("golden") as stage:
        result, stage.cached = _run_golden(g, test.inputs, ui)
        probe = vectors.fnv1a32(result.outputs[0].tobytes())
        stage.detail = (
            f"TFLite Micro on the host: {len(test.inputs)} vectors, probe 0x{probe:08x}, arena {result.arena.total:,} B"
        )
    return result


def _measure_accuracy(source: Source, g: graph.Graph, ui: Ui) -> report.Accuracy:
    if source.samples is None or source.require is None:
        return source.accuracy
    with ui.stage("accuracy") as stage:
        x, y = source.samples()
        result, stage.cached = _run_golden(g, vectors.quantize_inputs(g, x), ui)
        int8 = accuracy.top1(g, result.outputs, y)
        known = source.accuracy.model_copy(update={"int8": int8, "samples": len(y)})
        stage.detail = f"float {report.percent(known.float_)}, int8 {report.percent(int8)} on {len(y):,} samples"
    source.require(int8)
    return known


def _peers(measured: golden.ArenaUse) -> dict[str, dict[str, int | float | str | None]]:
    """What others need for the same model, measured in this run."""
    source = "measured by the tflite-micro wheel on this 64-bit host, reference kernels"
    return {
        "tflite_micro_host": {"arena": measured.total, "head": measured.head, "tail": measured.tail, "source": source}
    }


# Emission


@dataclass(frozen=True)
class Image:
    """A runtime's generated sources and what they will need on the device, in bytes."""

    files: dict[str, str | bytes]
    arena: int
    weights: int


def _compiled(g: graph.Graph, _: golden.ArenaUse) -> Image:
    model = compiled.compile_model(g)
    return Image(dict(model.render()), model.arena_bytes, model.weight_bytes)


def _tflm(g: graph.Graph, measured: golden.ArenaUse) -> Image:
    arena = tflm.plan_arena(g, measured)
    return Image(dict(tflm.render(g, arena)), arena.bytes, len(g.data))


_RUNTIMES = {"compiled": _compiled, "tflm": _tflm}


def _generate(
    job: Job,
    g: graph.Graph,
    measured: golden.ArenaUse,
    choice: toolchain.Choice | ToolError,
    ui: Ui,
    draft: Draft,
) -> dict[str, Image]:
    """Sources of every runtime that the board's environments offer; only the chosen one's refusal is an error."""
    wanted = job.runtime if isinstance(choice, ToolError) else choice.runtime
    images: dict[str, Image] = {}
    with ui.stage("generate") as stage:
        for name in sorted({r for e in job.board.environments for r in e.runtimes}):
            try:
                images[name] = _RUNTIMES[name](g, measured)
            except UsageError as e:
                if name == wanted:
                    raise
                note = f"no sources for the {name} runtime: {e}"
                ui.note(note)
                draft.update(notes=(*draft.value.notes, note))
        stage.detail = "; ".join(f"{name}: arena {i.arena:,} B, weights {i.weights:,} B" for name, i in images.items())
    return images


def _write(
    job: Job,
    source: Source,
    g: graph.Graph,
    choice: toolchain.Choice | ToolError,
    test: vectors.Vectors,
    reference: golden.Golden,
    images: dict[str, Image],
    draft: Draft,
) -> None:
    names = {"board": job.board.id, "model": source.name, "model_sha256": g.sha256}
    files: dict[str, str | bytes] = {"common/model_config.h": emit.render("common/model_config.h.j2", names)}
    files |= {f"common/{name}": text for name, text in vectors.render_vectors(g, test).items()}
    for runtime, image in images.items():
        files |= {f"{runtime}/{name}": content for name, content in image.files.items()}
    files["build.json"] = json.dumps(_build_json(job, source, choice, test, images), indent=2) + "\n"
    emit.write_tree(draft.output / "generated", files)
    smoke.save_golden(draft.output, test.inputs, reference.outputs)
    active = json.dumps({"output": _relative(draft.output)}) + "\n"
    atomic_write(BUILD / job.board.id / "active.json", active)


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def _build_json(
    job: Job,
    source: Source,
    choice: toolchain.Choice | ToolError,
    test: vectors.Vectors,
    images: dict[str, Image],
) -> dict[str, object]:
    """What PlatformIO's scripts read; an environment that was not chosen gets the asked-for runtime or its default."""
    runtimes = {e.name: job.runtime if job.runtime in e.runtimes else e.runtimes[0] for e in job.board.environments}
    if not isinstance(choice, ToolError):
        runtimes[choice.environment.name] = choice.runtime
    return {
        "schema": 1,
        "board": job.board.id,
        "model": source.name,
        "runtimes": runtimes,
        "tflm_dir": None if job.tflm_dir is None else str(job.tflm_dir.resolve()),
        "memory": {name: {"arena": image.arena, "weights": image.weights} for name, image in images.items()},
        "vector_bytes": test.stored_bytes,
    }


# Building and running


def _widest(g: graph.Graph) -> str:
    """Where the activations need the most memory, for the message that they do not fit."""
    live = [
        sum(g.tensors[i].nbytes for i, (first, last) in g.lifetimes.items() if first <= op.index <= last)
        for op in g.operators
    ]
    peak = max(range(len(live)), key=live.__getitem__)
    op = g.operators[peak]
    shape = "x".join(map(str, g.tensors[op.outputs[0]].shape))
    return f"The widest point is operator {peak} ({op.name}, output {shape}) with {live[peak]:,} B of live tensors."


def _check_fit(messages: list[str], g: graph.Graph) -> None:
    if messages:
        raise DoesNotFitError(" ".join([*messages, _widest(g)]))


def _memory(ram: budget.Memory, flash: budget.Memory, stack_reserve: int) -> dict[str, int]:
    by_name = {part.name: part.bytes for part in (*ram.parts, *flash.parts)}
    return {
        "arena": by_name["arena"],
        "arena_budget": ram.budget - (ram.used - by_name["arena"]),
        "stack_reserve": stack_reserve,
        "ram_budget": ram.budget,
        "weights": by_name["weights"],
        "vectors": by_name["test vectors"],
        "flash_budget": flash.budget,
    }


def _build(job: Job, g: graph.Graph, choice: toolchain.Choice, draft: Draft, ui: Ui) -> toolchain.Firmware:
    manifest = job.board.model_dump(mode="json")
    generated = json.loads((draft.output / "generated" / "build.json").read_text())
    name, reserve = choice.environment.name, job.board.tinyml.stack_reserve
    with ui.stage("fit") as stage:
        ram, flash = budget.estimate(manifest, generated, name)
        draft.update(memory=report.Memory(**_memory(ram, flash, reserve)))
        _check_fit(budget.before_build(manifest, generated, name), g)
        stage.detail = (
            f"before the build: RAM {ram.used:,} of {ram.budget:,} B, flash {flash.used:,} of {flash.budget:,} B"
        )
    with ui.stage("build") as stage:
        firmware = toolchain.build(name, draft.output)
        ram, flash = budget.measure(manifest, generated, name, firmware.flash, firmware.static_ram)
        code = next(part.bytes for part in flash.parts if part.name == "code")
        linked = {"static_ram": firmware.static_ram, "code": code, "flash": firmware.flash}
        draft.update(memory=report.Memory(**_memory(ram, flash, reserve), **linked))
        _check_fit(budget.after_link(manifest, generated, name, firmware.flash, firmware.static_ram), g)
        stage.detail = f"{name}: flash {firmware.flash:,} B, static RAM {firmware.static_ram:,} B"
    return firmware


def _artifacts(output: Path, firmware: toolchain.Firmware) -> dict[str, str]:
    paths = {
        "model": output / "model.tflite",
        "generated": output / "generated",
        "elf": firmware.elf,
        "image": firmware.image,
        "page": output / report.PAGE,
    }
    return {name: path.relative_to(output).as_posix() for name, path in paths.items()}


def _smoke(
    job: Job,
    g: graph.Graph,
    choice: toolchain.Choice,
    firmware: toolchain.Firmware,
    test: vectors.Vectors,
    labels: Labels | None,
    reference: golden.Golden,
    draft: Draft,
    ui: Ui,
) -> None:
    if choice.environment.emulator is None:
        note = f"environment {choice.environment.name} has no emulator: the firmware was built and not run"
        ui.note(note)
        draft.update(notes=(*draft.value.notes, note))
        return
    with ui.stage("smoke") as stage:
        transcript = smoke.emulate(firmware.elf, job.board, choice.environment, job.timeout)
        result = smoke.parse(transcript, reference.outputs.shape[1])
        different = smoke.mismatches(result.outputs, reference.outputs)
        draft.update(
            smoke=report.Smoke(
                emulator=transcript.emulator,
                passed=not different and len(result.outputs) == len(reference.outputs),
                vectors=len(result.outputs),
                mismatches=len(different),
                instructions_per_inference=result.instructions,
                probe_fnv=f"0x{vectors.fnv1a32(result.outputs[0].tobytes()):08x}",
            ),
            memory=draft.value.memory.model_copy(update={"stack": result.stack}),
        )
        if labels is not None:
            device = accuracy.top1(g, result.outputs[1:], labels)
            known = {"device": device, "device_samples": len(labels)}
            draft.update(accuracy=draft.value.accuracy.model_copy(update=known))
        smoke.compare(result, reference.outputs, _locate(g, test, different))
        stage.detail = f"{transcript.emulator}: {len(result.outputs)} vectors, every byte equal to TFLite Micro"


def _locate(g: graph.Graph, test: vectors.Vectors, different: list[smoke.Mismatch]) -> str:
    """Which layer differs first, from the same sources compiled for the host; "" where nothing differs."""
    if not different:
        return ""
    from convert.compiled import host

    vector = test.inputs[different[0].vector : different[0].vector + 1]
    try:
        expected = golden.run(g, vector, layers=True).layers or {}
        _, actual = host.run(compiled.compile_model(g), vector, layers=True)
    except PipelineError as e:
        return f"(The layer could not be located: {e})"
    for op in g.operators:
        for tensor in op.outputs:
            if actual is not None and tensor in actual and not np.array_equal(actual[tensor], expected[tensor]):
                return f"The compiled runtime differs on the host too, first in operator {op.index} ({op.name})."
    return "On the host the compiled runtime agrees in every layer, so compiler, port or emulator is at fault."


def _first_report(job: Job, source: Source, g: graph.Graph) -> report.Report:
    def layer(op: graph.Operator) -> report.Layer:
        weights = sum(g.tensors[i].nbytes for i in op.inputs if i >= 0 and g.tensors[i].data is not None)
        out = g.tensors[op.outputs[0]]
        return report.Layer(
            index=op.index,
            operator=op.name,
            output=out.shape,
            macs=g.macs_of(op),
            weight_bytes=weights,
            output_bytes=sum(g.tensors[i].nbytes for i in op.outputs),
        )

    return report.Report(
        board=job.board.id,
        board_name=job.board.name,
        runtime=None if job.runtime == "auto" else job.runtime,
        environment=None,
        model=report.Model(
            name=source.name, sha256=g.sha256, macs=g.macs, parameters=g.parameters, tflite_bytes=len(g.data)
        ),
        accuracy=source.accuracy,
        layers=tuple(layer(op) for op in g.operators),
        notes=source.notes,
    )


# Command line


def list_boards(console: Console) -> None:
    """Print the boards with their limits and environments."""
    table = Table("board", "name", "core", "clock", "flash", "RAM", "environments", "emulator")
    for name in boards.names():
        board = boards.load(name)
        emulators = [e.emulator for e in board.environments if e.emulator]
        table.add_row(
            name,
            board.name,
            board.build.cpu,
            f"{board.build.clock_hz // 1_000_000} MHz",
            f"{board.upload.maximum_size:,} B",
            f"{board.upload.maximum_ram_size:,} B",
            ", ".join(f"{e.name} ({', '.join(e.runtimes)})" for e in board.environments),
            ", ".join(emulators) or "none",
        )
    console.print(table)


_PATH = partial(click.Path, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--board", "board_name", metavar="NAME", help="Board to build for; --list-boards shows them.")
@click.option("--recipe", metavar="NAME|FILE", help="Recipe that trains the model.  [default: fashion]")
@click.option("--model", type=_PATH(), help="Take this model instead: .keras, .h5, a SavedModel folder or .tflite.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "tflm", "compiled"]),
    default="auto",
    show_default=True,
    help="TFLite Micro's interpreter, or plain C generated from the model.",
)
@click.option("--output", type=_PATH(file_okay=False), help="Output folder.  [default: build/BOARD/MODEL]")
@click.option("--no-smoke", is_flag=True, help="Do not run the firmware in the emulator.")
@click.option(
    "--vectors",
    "vector_count",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Test vectors that the firmware runs besides the probe.",
)
@click.option(
    "--representative",
    type=_PATH(exists=True, dir_okay=False),
    help="Representative dataset (.npy or .npz) that calibrates --model's quantisation.",
)
@click.option(
    "--allow-custom-code", is_flag=True, help="Execute code that --model's file carries. Only if you trust it."
)
@click.option("--tflm-dir", type=_PATH(exists=True, file_okay=False), help="TFLite Micro source tree to build in.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds of wall time that the emulator may take.")
@click.option("--list-boards", "show_boards", is_flag=True, help="Show the boards and exit.")
def main(
    board_name: str | None,
    recipe: str | None,
    model: Path | None,
    runtime: toolchain.Wanted,
    output: Path | None,
    no_smoke: bool,
    vector_count: int,
    representative: Path | None,
    allow_custom_code: bool,
    tflm_dir: Path | None,
    timeout: float,
    show_boards: bool,
) -> None:
    """Train or take a model, convert it, and build firmware for a board that is proven to answer like it."""
    # Without a terminal (a log, a pipe) the lines need not be folded at 80.
    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", 120)))
    if show_boards:
        list_boards(console)
        return
    if board_name is None:
        raise click.UsageError(f"--board is missing; allowed are {', '.join(boards.names())} (see --list-boards)")
    if model is not None and recipe is not None:
        raise click.UsageError("--model and --recipe exclude each other: take a model, or train one")
    try:
        job = Job(
            board=boards.load(board_name, BOARDS),
            recipe=recipe or "fashion",
            model=model,
            runtime=runtime,
            output=output,
            smoke=not no_smoke,
            vectors=vector_count,
            tflm_dir=tflm_dir,
            representative=representative,
            allow_custom_code=allow_custom_code,
            timeout=timeout,
        )
        draft = run(job, Ui(console))
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; finished stages are kept, the same command goes on from there", err=True)
        sys.exit(130)
    report.show(draft.value, draft.output, console)


if __name__ == "__main__":
    main()
