"""The one command: train or take a model, convert it, emit, build and run firmware for a board.

This module is the command line and the order of the stages, nothing else. Exit codes: 0 done, 2 wrong use or
unreadable input, 3 does not fit the board, 4 outputs differ from the golden reference, 5 a tool is missing or failed,
6 accuracy or sparsity below what the recipe requires.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
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

from convert import (
    accuracy,
    boards,
    budget,
    compiled,
    energy,
    families,
    golden,
    graph,
    latency,
    listing,
    live,
    plan,
    project,
    report,
    smoke,
    tflm,
    tflm_compress,
    toolchain,
    variants,
)
from convert import source as sources
from convert import vectors as test_vectors
from convert.binary import family as binary
from convert.binary.family import BINARY
from convert.cache import Cache, atomic_write, digest
from convert.compiled import avr, device, host
from convert.compiled.formats import choose
from convert.compress import MAX_INSTRUCTIONS, NONE, Compress
from convert.console import Ui
from convert.errors import PipelineError, ToolError, UsageError
from convert.paths import BOARDS, ROOT
from convert.samples import About, Samples
from convert.source import Floats, Labels, Source
from convert.split import build as splits
from convert.trees import family as trees
from convert.trees.family import TREE

BUILD = ROOT / "build"
# The board's JSON and the generated build.json, as convert.budget takes them.
Limits = tuple[Mapping[str, Any], Mapping[str, Any]]

_REPRESENTATIVE_SAMPLES = 500  # of the training set, drawn with the recipe's seed


@dataclass(frozen=True)
class Job:
    """What the user asked for."""

    board: boards.Board
    recipe: str
    model: Path | None
    runtime: toolchain.Wanted
    environment: str | None
    output: Path | None
    smoke: bool
    vectors: int
    tflm_dir: Path | None
    representative: Path | None
    allow_custom_code: bool
    timeout: float
    optimize: compiled.Optimize = "speed"
    asked: Compress | None = None  # how weights are stored; None: as the recipe says
    compress: Compress = NONE  # what `run` finds of that
    split: splits.Split | None = None  # None: weights are part of the firmware
    seed: int = 1


class Draft:
    """The report as it grows; written whatever happens once the model is known."""

    def __init__(self, value: report.Report, output: Path) -> None:
        self.value = value
        self.output = output

    def update(self, **changes: object) -> None:
        """Set fields of the report."""
        self.value = self.value.model_copy(update=changes)

    def warn(self, text: str, ui: Ui) -> None:
        """Say something that the user should not miss, and keep it as a note."""
        ui.note(text)
        self.update(notes=(*self.value.notes, text))


def run(job: Job, ui: Ui) -> Draft:
    """Run all stages; once the model is known, a PipelineError leaves this after the report was written."""
    job = replace(job, runtime=_wanted(job), compress=_stored(job))
    choice = _resolve(job, ui)
    _check_compress(job, choice)
    if job.split is not None:
        job.split.check(job.compress)
        known = (None, job.runtime) if isinstance(choice, ToolError) else (choice.environment, choice.runtime)
        splits.check(job.board, *known)
    source = _import(job, job.model, ui) if job.model is not None else _train(job, ui)
    g = source.family.read(source.data)
    first = report.Report(
        board=job.board.id,
        board_name=job.board.name,
        runtime=None if job.runtime == "auto" else job.runtime,
        environment=None,
        reference=source.family.judge,
        model=report.model_of(source.name, g),
        accuracy=source.accuracy,
        layers=report.layers_of(g),
        notes=source.notes,
    )
    draft = Draft(first, (job.output or BUILD / job.board.id / source.name).resolve())
    try:
        _produce(job, source, g, choice, draft, ui)
    except PipelineError as e:
        draft.update(failure=report.Failure(exit_code=e.exit_code, message=str(e)))
        raise
    finally:
        draft.update(stages=tuple(ui.stages))
        draft.value.write(draft.output)
    return draft


def _produce(
    job: Job, source: Source, g: graph.Graph, choice: toolchain.Choice | ToolError, draft: Draft, ui: Ui
) -> None:
    if not isinstance(choice, ToolError):
        toolchain.check_numbers(job.board, choice.environment, g)
    atomic_write(draft.output / source.family.file, source.data)
    test, labels = _vectors(job, source, g)
    reference = _golden(source, g, test, draft, ui)
    _measure_accuracy(source, g, test, reference, draft, ui)
    limits = job.board.model_dump(mode="json"), _emit(job, source, g, choice, test, reference, draft, ui)
    if isinstance(choice, ToolError):
        _fit(job, g, limits, job.board.environments[0].name, draft, ui)
        raise choice
    _fit(job, g, limits, choice.environment.name, draft, ui)
    draft.update(runtime=choice.runtime, environment=choice.environment.name, environment_reason=choice.reason)
    firmware = _build(job, source, g, limits, choice.environment.name, draft, ui)
    if job.smoke:
        _smoke(job, source, g, choice, firmware, test, labels, reference, draft, ui)


def _wanted(job: Job) -> toolchain.Wanted:
    """The runtime to look for: families that no .tflite holds have one of their own."""
    from training import recipe as recipes

    if job.model is not None:
        own, what = families.of_file(job.model), f"{job.model} is"
    else:
        recipe = recipes.load(job.recipe)
        own, what = families.of_state(recipes.state(recipe)), f"recipe {job.recipe} makes"
        recipes.check_firmware(recipe)
    if own is None:
        return "compiled" if job.split is not None and job.runtime == "auto" else job.runtime
    if job.split is not None:
        raise UsageError(f"{what} {own.what}, whose weights are part of the firmware; leave --split-weights out")
    if job.asked not in (None, NONE):
        raise UsageError(f"{what} {own.what}, whose weights have a form of their own; leave --compress out")
    if job.runtime != "auto" or job.tflm_dir is not None:
        raise UsageError(f"{what} {own.what}, which runs in a runtime of its own; leave --runtime and --tflm-dir out")
    return own.runtime


def _stored(job: Job) -> Compress:
    """How weights are to be stored: as the command line says, else the recipe."""
    from training import recipe as recipes

    if job.asked is not None or job.model is not None:
        return job.asked or NONE
    firmware = recipes.load(job.recipe).firmware
    return Compress(firmware.compress, firmware.max_instructions)


def _check_compress(job: Job, choice: toolchain.Choice | ToolError) -> None:
    """UsageError, before a long training, for weight formats that the runtime does not have."""
    runtime = job.runtime if isinstance(choice, ToolError) else choice.runtime
    check = {"compiled": choose.check, "tflm": tflm_compress.check_mode}.get(runtime)
    if check is not None:
        check(job.compress.mode)


def _resolve(job: Job, ui: Ui) -> toolchain.Choice | ToolError:
    """Choose environment and runtime first, so that a missing tool is known before a long training.

    A tool that is missing does not stop the emission: the error is kept and raised when the build's turn comes.
    """
    try:
        choice = toolchain.resolve(job.board, job.runtime, job.tflm_dir, job.environment)
    except ToolError as e:
        ui.note(f"nothing can be built here, sources are still emitted: {e}")
        return e
    ui.note(choice.reason)
    return choice


def _import(job: Job, path: Path, ui: Ui) -> Source:
    if (own := families.of_file(path)) is not None:
        return families.from_file(path, own)
    return sources.from_file(path, job.representative, job.allow_custom_code, job.seed, ui)


def _train(job: Job, ui: Ui) -> Source:
    from training import backend, binary_deploy, train
    from training import recipe as recipes

    recipe = recipes.load(job.recipe)
    _check_format(job, [found for step in recipe.compress if (found := getattr(step, "format", None))])
    cache = Cache()
    with ui.stage("train") as stage:
        trained = train.run(recipe, cache, ui.console)
        stage.cached = all(cached for _, _, cached in trained.steps)
        stage.detail = f"{recipe.name}: {', '.join(name for name, _, _ in trained.steps)}"

    family = families.of_runtime(job.runtime)  # as _wanted found

    def convert() -> tuple[bytes, str]:
        x = trained.dataset().x_train
        if family is TREE:
            weights = import_module(f"training.architectures.{recipe.model.architecture}").parameters(trained.model())
            return trees.from_trained(recipe.model.architecture, weights, len(trained.dataset().class_names), x), ""
        count = min(len(x), _REPRESENTATIVE_SAMPLES)
        chosen = np.random.default_rng(recipe.seed).choice(len(x), count, replace=False)
        model = trained.model()
        if family is BINARY:
            found = binary.from_trained(binary_deploy.parts(model), x[chosen], binary_deploy.scores(model, x[chosen]))
            return found, ""
        return variants.to_tflite(model, x[chosen], backend.scheme(model)), ""

    def samples() -> tuple[Floats, Labels]:
        return trained.dataset().x_test, trained.dataset().y_test

    def features(g: graph.Graph) -> Mapping[str, str]:
        data = trained.dataset()
        if family is not sources.TFLITE:  # the applications read int8 scores
            return {}
        return live.files(g, data.preprocessed, data.class_names) if data.preprocessed is not None else {}

    def require(int8: float) -> None:
        train.check_requirements(recipe, trained.float_accuracy, int8, trained.sparsity)

    data, _ = sources.quantized(ui, cache, digest(trained.key, _REPRESENTATIVE_SAMPLES), convert, family)
    known = report.Accuracy(
        metric="accuracy", float_=trained.float_accuracy, pruned=trained.pruned_accuracy, sparsity=trained.sparsity
    )
    return Source(
        recipe.name,
        data,
        known,
        samples,
        lambda: trained.dataset().class_names,
        require=require,
        family=family,
        features=features,
    )


def _check_format(job: Job, formats: list[str]) -> None:
    """UsageError, before a long training, for a recipe whose last format no firmware executes."""
    form = formats[-1] if formats else "int8"
    if form in ("float16", "dynamic") or (form == "float32" and job.runtime == "compiled"):
        able = "tflm" if form == "float32" else "neither tflm nor compiled"
        raise UsageError(
            f'recipe {job.recipe} makes a model with format = "{form}", which tf.lite executes and of the firmware\'s '
            f"runtimes {able}; take format int8 or int16x8 for firmware"
        )


def _vectors(job: Job, source: Source, g: graph.Graph) -> tuple[test_vectors.Vectors, Labels | None]:
    if source.samples is None:
        return test_vectors.computed(g, job.vectors), None
    x, y = source.samples()
    chosen = test_vectors.spread(len(x), job.vectors)
    return test_vectors.from_samples(g, x[chosen]), y[chosen]


def _ask(source: Source, g: graph.Graph, inputs: npt.NDArray[np.uint8], ui: Ui, *, apart: bool) -> sources.Answers:
    with ui.bar(f"{source.family.judge} on the host") as progress:
        return source.family.ask(g, inputs, progress, apart)


def _golden(source: Source, g: graph.Graph, test: test_vectors.Vectors, draft: Draft, ui: Ui) -> sources.Answers:
    with ui.stage("golden") as stage:
        result = _ask(source, g, test.inputs, ui, apart=test.apart)
        stage.cached = result.cached
        measured = f"probe 0x{test_vectors.fnv1a32(result.outputs[0].tobytes()):08x}"
        if result.arena is not None:
            measured += f", arena {result.arena.total:,} B"
            draft.update(peers=report.peers_of(result.arena))
        stage.detail = f"{source.family.judge} on the host: {len(test.inputs)} vectors, {measured}"
    return result


def _measure_accuracy(
    source: Source, g: graph.Graph, test: test_vectors.Vectors, reference: sources.Answers, draft: Draft, ui: Ui
) -> None:
    """Measure the whole test set where there is one; keep it, or the test vectors, for an evaluation on the device."""
    if source.samples is None or source.require is None:
        _keep_samples(source, g, test.inputs, reference.outputs, None, test.apart).save(draft.output)
        return
    with ui.stage("accuracy") as stage:
        x, y = source.samples()
        inputs = test_vectors.quantize_inputs(g, x)
        result = _ask(source, g, inputs, ui, apart=True)
        stage.cached = result.cached
        int8 = accuracy.top1(g, result.outputs, y)
        known = source.accuracy.model_copy(update={"int8": int8, "samples": len(y)})
        stage.detail = f"float {report.percent(known.float_)}, int8 {report.percent(int8)} on {len(y):,} samples"
    draft.update(accuracy=known)
    _keep_samples(source, g, inputs, result.outputs, y, True).save(draft.output)
    source.require(int8)


def _keep_samples(
    source: Source,
    g: graph.Graph,
    inputs: npt.NDArray[np.uint8],
    outputs: npt.NDArray[np.uint8],
    labels: Labels | None,
    apart: bool,
) -> Samples:
    scores = g.tensors[g.outputs[0]].dtype.name if len(g.outputs) == 1 else None
    classes = source.classes() if source.classes is not None else ()
    about = About(source.name, g.sha256, scores, classes, g.has_state and apart, g.has_state and not apart)
    return Samples(about, inputs, outputs, None if labels is None else np.asarray(labels, np.int64))


def _emit(
    job: Job,
    source: Source,
    g: graph.Graph,
    choice: toolchain.Choice | ToolError,
    test: test_vectors.Vectors,
    reference: sources.Answers,
    draft: Draft,
    ui: Ui,
) -> Mapping[str, Any]:
    """Write the project for all runtimes; returns its build.json."""
    # An environment that was not chosen gets the asked-for runtime, or its default one.
    runtimes = {e.name: job.runtime if e.runs(job.runtime) else e.runtimes[0] for e in job.board.environments}
    wanted: str = job.runtime
    if not isinstance(choice, ToolError):
        wanted = runtimes[choice.environment.name] = choice.runtime
    if not isinstance(choice, ToolError) and choice.runtime == "tflm" and choice.environment.framework == "arduino":
        for text in tflm.check_arduino(g):
            draft.warn(text, ui)
    with ui.stage("generate") as stage:
        features = source.features(g) if source.features is not None else {}
        made: dict[str, project.Image] = {}
        apart: dict[str, Any] = {}
        if job.split is not None:
            made["compiled"], slots = splits.produce(
                job.board, g, job.optimize, job.compress, features, job.split, draft.output
            )
            apart = {"split": slots}
        found = project.images(
            job.board,
            g,
            reference.arena,
            wanted,
            job.optimize,
            lambda text: draft.warn(text, ui),
            job.compress,
            job.tflm_dir,
            made,
        )
        if (image := found.get(wanted)) is not None:
            draft.update(compression=image.compression)
        manifest = project.build_json(job.board, source.name, runtimes, found, test, job.optimize, job.tflm_dir)
        manifest |= {"reference": source.family.judge, "file": source.family.file, **apart}
        project.write(draft.output / "generated", g, test, found, manifest, features)
        smoke.save_golden(draft.output, test.inputs, reference.outputs)
        place = draft.output.relative_to(ROOT) if draft.output.is_relative_to(ROOT) else draft.output
        atomic_write(BUILD / job.board.id / "active.json", json.dumps({"output": place.as_posix()}) + "\n")
        stage.detail = "; ".join(f"{name}: arena {i.arena:,} B, weights {i.weights:,} B" for name, i in found.items())
        stage.detail += "".join(f"; {splits.WEIGHTS} {known['image_bytes']:,} B" for known in apart.values())
    return manifest


def _fit(job: Job, g: graph.Graph, limits: Limits, environment: str, draft: Draft, ui: Ui) -> None:
    board, manifest = limits
    with ui.stage("fit") as stage:
        ram, flash = budget.estimate(board, manifest, environment)
        needs = plan.memory(ram, flash, job.board.tinyml.stack_reserve, manifest, environment)
        draft.update(memory=report.Memory(**needs))
        plan.check(budget.before_build(board, manifest, environment), g)
        used = f"RAM {ram.used:,} of {ram.budget:,} B, flash {flash.used:,} of {flash.budget:,} B"
        stage.detail = f"before the build: {used}"


def _build(
    job: Job, source: Source, g: graph.Graph, limits: Limits, name: str, draft: Draft, ui: Ui
) -> toolchain.Firmware:
    board, manifest = limits
    with ui.stage("build") as stage:
        firmware = toolchain.build(name, draft.output)
        ram, flash = budget.measure(board, manifest, name, firmware.flash, firmware.static_ram)
        linked = {"static_ram": firmware.static_ram, "flash": firmware.flash}
        needs = plan.memory(ram, flash, job.board.tinyml.stack_reserve, manifest, name)
        draft.update(memory=report.Memory(**needs, **linked))
        plan.check(budget.after_link(board, manifest, name, firmware.flash, firmware.static_ram), g)
        stage.detail = f"{name}: flash {firmware.flash:,} B, static RAM {firmware.static_ram:,} B"
    paths = {"model": draft.output / source.family.file, "generated": draft.output / "generated"}
    paths |= {"elf": firmware.elf, "image": firmware.image, "page": draft.output / report.PAGE}
    draft.update(artifacts={key: path.relative_to(draft.output).as_posix() for key, path in paths.items()})
    return firmware


def _smoke(
    job: Job,
    source: Source,
    g: graph.Graph,
    choice: toolchain.Choice,
    firmware: toolchain.Firmware,
    test: test_vectors.Vectors,
    labels: Labels | None,
    reference: sources.Answers,
    draft: Draft,
    ui: Ui,
) -> None:
    if choice.environment.emulator is None:
        draft.warn(f"environment {choice.environment.name} has no emulator: the firmware was built and not run", ui)
        return
    with ui.stage("smoke") as stage:
        transcript = smoke.emulate(firmware.elf, job.board, choice.environment, job.timeout)
        result = smoke.parse(transcript, reference.outputs.shape[1])
        different = smoke.mismatches(result.outputs, reference.outputs)
        draft.update(
            smoke=smoke.section(transcript, result, reference.outputs),
            **_spent(job, choice, result.instructions, transcript.cycles),
            memory=draft.value.memory.model_copy(update={"stack": result.stack}),
        )
        if labels is not None and len(labels):
            known = {"device": accuracy.top1(g, result.outputs[1:], labels), "device_samples": len(labels)}
            draft.update(accuracy=draft.value.accuracy.model_copy(update=known))
        judge = source.family.judge
        smoke.compare(result, reference.outputs, _locate(job, source, g, test, different), judge)
        stage.detail = f"{transcript.emulator}: {len(result.outputs)} vectors, every byte equal to {judge}"


def _spent(job: Job, choice: toolchain.Choice, instructions: int | None, cycles: int | None) -> dict[str, object]:
    """Latency and energy of an inference; the boards' cycles an instruction are those of the compiled runtime."""
    time = latency.of(job.board, instructions if choice.runtime == "compiled" else None, cycles)
    return {"latency": time, "energy": energy.of(job.board, time)}


# Where the kernels of a target run apart from any board, and what to call it.
_HOST: tuple[str, ModuleType] = ("on the host", host)
_NEAREST: Mapping[str, tuple[str, ModuleType]] = {
    "cortex_m4": ("in QEMU's bare Cortex-M4", device),
    "avr": ("in simavr", avr),
}


def _locate(
    job: Job, source: Source, g: graph.Graph, test: test_vectors.Vectors, different: list[smoke.Mismatch]
) -> str:
    """Which layer differs first, from the same kernels apart from the board's port; "" where nothing differs."""
    if not different:
        return ""
    last = different[0].vector
    vectors = test.inputs[last if test.apart or not g.has_state else 0 : last + 1]
    if source.family.locate is not None:
        return source.family.locate(g, vectors)
    try:
        expected = golden.run(g, vectors, layers=True).layers or {}
        place, machine = _NEAREST.get(job.board.target, _HOST)
        if machine is not host and not machine.available():
            place, machine = _HOST
        target: compiled.Target = "portable" if machine is host else job.board.target
        model = compiled.compile_model(g, target, job.optimize, job.compress)
        _, actual = machine.run(model, vectors, layers=True)
    except PipelineError as e:
        return f"(The layer could not be located: {e})"
    for op in g.operators:
        for tensor in op.outputs:
            if actual is not None and tensor in actual and not np.array_equal(actual[tensor], expected[tensor]):
                return f"The compiled runtime differs {place} too, first in operator {op.index} ({op.name})."
    return f"The compiled runtime agrees in every layer {place}, so compiler, port or emulator is at fault."


# Command line


def _compress(mode: str | None, max_instructions: float | None) -> Compress | None:
    """What the command line says of weights; None where it leaves that to the recipe."""
    if mode is None:
        if max_instructions is not None:
            raise UsageError("--max-instructions bounds --compress auto, which is not given")
        return None
    if max_instructions is not None and mode != "auto":
        raise UsageError(f"--max-instructions bounds --compress auto and says nothing with --compress {mode}")
    return Compress(mode, max_instructions or MAX_INSTRUCTIONS)


def _split(wanted: bool, key: Path | None, slot_bytes: int | None, any_weights: bool) -> splits.Split | None:
    if wanted:
        return splits.Split(key, slot_bytes, any_weights)
    if key is not None or slot_bytes is not None or any_weights:
        raise UsageError(
            "--sign, --slot-bytes and --any-weights say how weights lie apart from the firmware; add --split-weights"
        )
    return None


_PATH = partial(click.Path, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--board", "board_name", metavar="NAME", help="Board to build for; --list-boards shows them.")
@click.option("--recipe", metavar="NAME|FILE", help="Recipe that trains the model.  [default: fashion]")
@click.option("--model", type=_PATH(), help="Take this instead: .keras, .h5, SavedModel, .tflite, .tree or .bits.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "tflm", "compiled"]),
    default="auto",
    show_default=True,
    help="TFLite Micro's interpreter, or plain C generated from the model.",
)
@click.option(
    "--environment",
    metavar="NAME",
    help="One of the board's environments.  [default: the official one where it can be built, else the bare]",
)
@click.option(
    "--optimize",
    type=click.Choice(["speed", "size"]),
    default="speed",
    show_default=True,
    help="What counts in the compiled runtime: fast kernels, or little code.",
)
@click.option(
    "--compress",
    metavar="auto|none|FORMAT",
    help="How weights are stored: what takes the least flash, layer by layer, plain, or one format.  "
    "[default: the recipe's, else none]",
)
@click.option(
    "--max-instructions",
    type=click.FloatRange(0, min_open=True),
    metavar="RATIO",
    help=f"What --compress auto may make of an inference's instructions.  [default: the recipe's, else "
    f"{MAX_INSTRUCTIONS:g}]",
)
@click.option(
    "--split-weights",
    is_flag=True,
    help="Weights in an image of their own, which can be replaced without the firmware.",
)
@click.option(
    "--sign",
    type=_PATH(exists=True, dir_okay=False),
    metavar="KEYFILE",
    help="With --split-weights: the firmware takes no weights but those signed with this key.",
)
@click.option(
    "--slot-bytes",
    type=click.IntRange(1),
    help="With --split-weights: bytes of a slot.  [default: the image's and 25 %]",
)
@click.option(
    "--any-weights", is_flag=True, help="With --split-weights: only kernels that take whatever weights come later."
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
@click.option("--json", "as_json", is_flag=True, help="With --list-boards: as JSON.")
def main(
    board_name: str | None,
    recipe: str | None,
    model: Path | None,
    runtime: toolchain.Wanted,
    environment: str | None,
    optimize: compiled.Optimize,
    compress: str | None,
    max_instructions: float | None,
    split_weights: bool,
    sign: Path | None,
    slot_bytes: int | None,
    any_weights: bool,
    output: Path | None,
    no_smoke: bool,
    vector_count: int,
    representative: Path | None,
    allow_custom_code: bool,
    tflm_dir: Path | None,
    timeout: float,
    show_boards: bool,
    as_json: bool,
) -> None:
    """Train or take a model, convert it, and build firmware for a board that is proven to answer like it."""
    # Without a terminal (a log, a pipe) the lines need not be folded at 80.
    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", 120)))
    if as_json and not show_boards:
        raise click.UsageError("--json goes with --list-boards; a build writes report.json into its output folder")
    if show_boards:
        try:
            listing.show(console, as_json, BOARDS)
        except PipelineError as e:
            click.echo(f"error: {e}", err=True)
            sys.exit(e.exit_code)
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
            environment=environment,
            output=output,
            smoke=not no_smoke,
            vectors=vector_count,
            tflm_dir=tflm_dir,
            representative=representative,
            allow_custom_code=allow_custom_code,
            timeout=timeout,
            optimize=optimize,
            asked=_compress(compress, max_instructions),
            split=_split(split_weights, sign, slot_bytes, any_weights),
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
