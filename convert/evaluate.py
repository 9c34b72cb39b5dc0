"""Measure a model where it will run: send the test set to the firmware, in an emulator or on a board.

    python convert/evaluate.py --board nano33 --port emulator
    python convert/evaluate.py --board nano33 --port /dev/ttyACM0

`convert/build.py` comes first; what it left in its output folder is evaluated. Every answer is kept as it comes: an
interrupted run goes on where it was. Exit codes: 0 every byte equal to the golden reference, 2 wrong use, 3 the
firmware does not fit the board, 4 outputs differ, 5 a tool or the device failed.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import os

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from convert import built as builds
from convert import evaluation, families, samples, vectors
from convert.built import EMULATOR, Built, Session
from convert.cache import digest
from convert.errors import OutputsDifferError, PipelineError, UsageError
from convert.evaluation import Evaluation, Unit
from convert.samples import About, Samples
from convert.serial_protocol import Counters

Told = Callable[[int, int], None]
FOLDER = "evaluation"


@dataclass(frozen=True)
class Job:
    """What the user asked for."""

    port: str
    count: int | None  # samples; None: all
    counted: int  # inferences that an emulator counts from outside
    baud: int = 115200
    patience: float = 1.0  # seconds until a request is repeated
    timeout: float = 120.0  # seconds until it has failed
    fresh: bool = False


def evaluate(built: Built, test: Samples, job: Job, told: Told) -> Evaluation:
    """Send the samples, or those that are not answered yet; `told(done, total)` after each.

    Raises what `convert.built.connected` raises, and DeviceError where the device stops; what was answered is kept.
    """
    start = time.monotonic()
    chosen = test.spread(job.count)
    with builds.connected(
        built, test, job.port, "serve", baud=job.baud, patience=job.patience, timeout=job.timeout
    ) as session:
        unit, source, measured = _measure(session)
        folder = result_folder(built, job)
        who = (session.info.board, session.info.model_hash, session.info.runtime, session.image, unit, job.counted)
        log = evaluation.Log(folder / "answers.bin", digest(*who, chosen.inputs.tobytes()), test.outputs.shape[1])
        try:
            _send(session, chosen, log, job, measured, told)
            outputs, amounts = log.all()
        except BaseException:
            log.close()
            raise
        statistics = session.client.statistics
    found = evaluation.score(chosen, outputs)
    result = Evaluation(
        board=built.board.id,
        environment=built.environment.name,
        runtime=session.info.runtime,
        port=job.port,
        emulator=session.emulator,
        model=test.about.model,
        model_sha256=test.about.sha256,
        samples=len(chosen),
        of=len(test),
        labelled=test.labels is not None,
        accuracy_host=found.accuracy_host,
        accuracy_device=found.accuracy_device,
        differing=found.differing,
        differences=found.differences,
        classes=test.class_names if found.confusion else (),
        confusion=found.confusion,
        latency=evaluation.latency(amounts, unit, source) if unit is not None else None,
        line=evaluation.Line(requests=statistics.requests, repeated=statistics.repeated, damaged=statistics.damaged),
        seconds=round(time.monotonic() - start, 2),
    )
    result.write(folder)
    log.remove()
    return result


def result_folder(built: Built, job: Job) -> Path:
    """Where results go: below the output folder, the emulator's and the device's apart."""
    return (
        built.output / FOLDER / (built.environment.name if job.port == EMULATOR else f"{built.environment.name}-device")
    )


def _measure(session: Session) -> tuple[Unit | None, str, Callable[[int, int], int | None]]:
    """What an inference's figure is, where it is from, and the figure of (instructions, microseconds) of an answer."""
    where = f"in {session.emulator}" if session.emulator else "on the device"
    if session.counts_from_outside:
        return "instructions", f"counted by {session.emulator}", lambda _i, _u: _counted(session)
    if Counters.INSTRUCTIONS in session.info.counters:
        return "instructions", f"counted by the firmware {where}", lambda instructions, _: instructions
    if Counters.MICROSECONDS in session.info.counters and session.clock_is_true:
        return "microseconds", f"by the clock {where}", lambda _, microseconds: microseconds
    return None, "", lambda _i, _u: None


def _counted(session: Session) -> int | None:
    return None if session.counted is None else int(session.counted.instructions)


def _send(
    session: Session,
    chosen: Samples,
    log: evaluation.Log,
    job: Job,
    measured: Callable[[int, int], int | None],
    told: Told,
) -> None:
    about, n = chosen.about, len(chosen)
    done = 0 if about.sequence or job.fresh else len(log.records)
    if done == 0 and len(log.records):
        log.forget()
    told(done, n)
    if about.sequence:
        session.client.reset()
    counted = evaluation.counted_from_outside(n, job.counted, done)
    for k, outside in zip(range(done, n), counted, strict=True):
        session.count(outside)
        answer = session.client.infer(
            chosen.inputs[k].tobytes(), chosen.outputs.shape[1], reset=about.reset, again=not about.sequence
        )
        amount = (
            None if session.counts_from_outside and not outside else measured(answer.instructions, answer.microseconds)
        )
        log.add(amount, answer.outputs)
        told(k + 1, n)


def _check_labels(path: Path, labels: samples.Labels, scores: int | None) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise UsageError(f"{path}: labels go down to {low}; the first class is 0")
    if scores is None:
        raise UsageError(f"{path} has labels, and the model has more than one output; leave y out")
    if high >= scores:
        raise UsageError(f"{path}: labels go up to {high}; the model gives {scores} scores")


def own_data(built: Built, path: Path) -> Samples:
    """A test set of the user's: .npz with x (n, *input shape), real values or the model's own type, and labels y (n,).

    The golden outputs are asked of TFLite Micro here, or of the reference of the model's family. Raises UsageError for
    what does not fit the model.
    """
    family = families.of_runtime(built.runtime)
    g = family.read((built.output / family.file).read_bytes())
    try:
        with np.load(path, allow_pickle=False) as file:
            x = file["x"]
            y = np.asarray(file["y"], np.int64) if "y" in file.files else None
    except (OSError, ValueError, KeyError) as e:
        raise UsageError(f"{path} is no .npz with the arrays x and y: {e}") from e
    if not len(x) or (y is not None and y.shape != (len(x),)):
        raise UsageError(
            f"{path}: x has shape {x.shape} and y {None if y is None else y.shape}; a label a sample is needed"
        )
    tensors = vectors.input_tensors(g)
    if len(tensors) == 1 and x.dtype == tensors[0].dtype and x.dtype.kind != "f":
        inputs = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
    else:
        inputs = vectors.quantize_inputs(g, np.asarray(x, np.float32))
    if inputs.shape[1] != sum(t.nbytes for t in tensors):
        raise UsageError(f"{path}: samples of shape {x.shape[1:]} do not fit the model's input {tensors[0].shape[1:]}")
    found = family.ask(g, inputs, lambda _done, _total: None, True)
    scores = g.tensors[g.outputs[0]].dtype.name if len(g.outputs) == 1 else None
    about = About(built.output.name, g.sha256, scores, (), g.has_state)
    if y is not None:
        _check_labels(path, y, g.tensors[g.outputs[0]].elements if scores is not None else None)
    return Samples(about, inputs, found.outputs, y)


def show(result: Evaluation, folder: Path, console: Console) -> None:
    """Print the summary."""
    matrix = result.matrix()
    if matrix is not None:
        console.print(matrix)
    facts = Table.grid(padding=(0, 2))
    for label, text in result.facts():
        facts.add_row(label, escape(text), style="red" if "DIFFER" in text else "")
    console.print(facts)
    for d in result.differences[:3]:
        console.print(
            f"  sample {d.sample}: output byte {d.byte} is {d.actual} and should be {d.expected}", style="red"
        )
    near = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    console.print(
        f"results: {near / evaluation.FILE}, {evaluation.PAGE}", soft_wrap=True, highlight=False, markup=False
    )


_PATH = partial(click.Path, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@builds.common
@click.option(
    "--samples", "count", type=click.IntRange(1), help="So many of the test set, spread over it.  [default: all]"
)
@click.option("--data", type=_PATH(exists=True, dir_okay=False), help="Another test set: .npz with x and labels y.")
@click.option(
    "--counted",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Inferences that an emulator counts from outside, which takes its time.",
)
@click.option("--fresh", is_flag=True, help="Forget what an interrupted run has kept.")
def main(
    board: str,
    port: str,
    recipe: str | None,
    model: Path | None,
    output: Path | None,
    environment: str | None,
    baud: int,
    timeout: float,
    count: int | None,
    data: Path | None,
    counted: int,
    fresh: bool,
) -> None:
    """Send a test set to the firmware on a board, or in its emulator, and compare every byte that comes back."""
    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", 120)))
    if model is not None and recipe is not None:
        raise click.UsageError("--model and --recipe exclude each other")
    try:
        built = builds.find(board, output, recipe, model, environment)
        test = own_data(built, data) if data is not None else samples.load(built.output, built.command)
        job = Job(port, count, counted, baud, timeout=timeout, fresh=fresh)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task(f"{test.about.model} on {built.environment.name}", total=None)
            result = evaluate(built, test, job, lambda done, total: bar.update(task, completed=done, total=total))
        show(result, result_folder(built, job), console)
        if not result.equal:
            raise OutputsDifferError(
                f"{result.differing} of {result.samples} samples differ from the golden reference; run "
                f"{built.command} for its smoke test, which names the layer"
            )
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; what was answered is kept, the same command goes on from there", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
