"""Smoke test: run a built image in its board's emulator and compare every output byte with the golden reference.

Also a script, for `pio run -e ENV -t smoke`: `python convert/smoke.py --output OUTPUT --environment ENV`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import importlib
import io
import json

import click
import numpy as np
import numpy.typing as npt

from convert import boards, report
from convert.cache import atomic_write
from convert.emulate import Transcript, figure
from convert.errors import OutputsDifferError, PipelineError, ToolError, UsageError
from convert.vectors import fnv1a32

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """What a firmware printed: outputs (n, output bytes) and figures; unknown is None."""

    outputs: Bytes
    arena: int | None
    stack: int | None
    instructions: int | None


@dataclass(frozen=True)
class Mismatch:
    """The first differing byte of a vector."""

    vector: int
    byte: int
    expected: int
    actual: int

    def __str__(self) -> str:
        return f"vector {self.vector}, output byte {self.byte} is {self.actual} and should be {self.expected}"


def parse(transcript: Transcript, output_bytes: int) -> Run:
    """Read the console protocol.

    Raises ToolError where the firmware reported an error, stopped early or printed something else.
    """
    if transcript.error is not None:
        raise ToolError(f"the firmware stopped in {transcript.emulator} with: {transcript.error}")
    outputs: list[Bytes] = []
    for line in transcript.text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "#vector":
            outputs.append(_vector(line, rest, len(outputs), output_bytes))
    if figure(transcript.text, "done") != len(outputs):
        raise ToolError(
            f"the firmware did not finish in {transcript.emulator}: {len(outputs)} vectors after "
            f"{transcript.seconds:.1f} s, no closing line. Its last output was: {_tail(transcript.text)}"
        )
    instructions = transcript.instructions
    return Run(
        np.stack(outputs) if outputs else np.zeros((0, output_bytes), np.uint8),
        figure(transcript.text, "arena"),
        figure(transcript.text, "stack"),
        figure(transcript.text, "instructions") if instructions is None else instructions,
    )


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return repr(lines[-1][:120]) if lines else "nothing"


def _vector(line: str, rest: str, expected: int, output_bytes: int) -> Bytes:
    index, _, digits = rest.partition(" ")
    try:
        raw = bytes.fromhex(digits)
        if int(index) == expected and len(raw) == output_bytes:
            return np.frombuffer(raw, np.uint8)
    except ValueError:
        pass
    raise ToolError(
        f"the firmware printed {line[:80]!r} where the {output_bytes} output bytes of vector {expected} were expected"
    )


def mismatches(actual: Bytes, golden: Bytes) -> list[Mismatch]:
    """The first differing byte of each vector that differs; arrays of shape (n, output bytes)."""
    found = []
    for k in np.flatnonzero((actual != golden[: len(actual)]).any(axis=1)).tolist():
        byte = int(np.argmax(actual[k] != golden[k]))
        found.append(Mismatch(k, byte, int(golden[k, byte]), int(actual[k, byte])))
    return found


def compare(run: Run, golden: Bytes, where: str = "", judge: str = report.TFLM) -> None:
    """Raise OutputsDifferError unless all vectors ran and every byte is equal to what `judge` said.

    `where` names the layer, if known.
    """
    if len(run.outputs) != len(golden):
        raise OutputsDifferError(f"the firmware ran {len(run.outputs)} of {len(golden)} test vectors")
    found = mismatches(run.outputs, golden)
    if found:
        raise OutputsDifferError(
            f"{len(found)} of {len(golden)} vectors differ from {judge} on the host; "
            f"first: {found[0]}. {where}".rstrip()
        )


def section(transcript: Transcript, run: Run, golden: Bytes) -> report.Smoke:
    """What the report says of a run."""
    different = len(mismatches(run.outputs, golden))
    return report.Smoke(
        emulator=transcript.emulator,
        passed=different == 0 and len(run.outputs) == len(golden),
        vectors=len(run.outputs),
        mismatches=different,
        instructions_per_inference=run.instructions,
        cycles_per_inference=transcript.cycles,
        probe_fnv=f"0x{fnv1a32(run.outputs[0].tobytes()):08x}",
    )


def emulate(image: Path, board: boards.Board, environment: boards.Environment, timeout: float) -> Transcript:
    """Run an image in its environment's emulator.

    Raises UsageError for an environment that has none.
    """
    if environment.emulator is None:
        raise UsageError(f"environment {environment.name!r} of {board.name} has no emulator")
    module = importlib.import_module(f"convert.emulate.{environment.emulator}")
    transcript: Transcript = module.run(image, board, environment, timeout)
    return transcript


def save_golden(output: Path, inputs: Bytes, outputs: Bytes) -> None:
    """Keep vectors and golden outputs beside the generated sources, for later smoke tests."""
    for name, array in (("inputs", inputs), ("outputs", outputs)):
        atomic_write(output / "golden" / f"{name}.npy", _npy(array))


def _npy(array: Bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def load_golden(output: Path) -> Bytes:
    """The golden outputs (n, output bytes) that `save_golden` kept."""
    path = output / "golden" / "outputs.npy"
    if not path.is_file():
        raise UsageError(f"no golden outputs in {output}; run python convert/build.py first")
    golden: Bytes = np.load(path)
    return golden


@click.command()
@click.option("--output", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--environment", required=True, help="PlatformIO environment whose image is run.")
@click.option("--image", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--timeout", default=120.0, show_default=True, help="Seconds of wall time.")
def main(output: Path, environment: str, image: Path, timeout: float) -> None:
    """Run a built image in its emulator and compare its outputs with the golden reference."""
    try:
        build = json.loads((output / "generated" / "build.json").read_text())
        board = boards.load(build["board"])
        entry = next(e for e in board.environments if e.name == environment)
        golden = load_golden(output)
        run = parse(emulate(image, board, entry, timeout), golden.shape[1])
        judge = build.get("reference", report.TFLM)
        compare(run, golden, judge=judge)
    except PipelineError as e:
        click.echo(f"smoke: {e}", err=True)
        sys.exit(e.exit_code)
    click.echo(
        f"smoke: {len(golden)} vectors, every byte equal to {judge}; probe 0x{fnv1a32(golden[0].tobytes()):08x}, "
        f"{run.instructions or 'unknown'} instructions an inference"
    )


if __name__ == "__main__":
    main()
