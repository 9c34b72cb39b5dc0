"""Weights apart from the firmware: make an image for a firmware that is there, look at it, bring it onto a board.

Exit codes: 0 done, 2 wrong use, a model that needs new firmware or a file that is no whole image, 3 larger than a slot,
5 a tool or the device failed. docs/two_images.md.
"""

import importlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click

from convert import boards, graph, toolchain
from convert.cache import atomic_write
from convert.emulate import Link
from convert.errors import PipelineError, UsageError
from convert.paths import BOARDS
from convert.serial_client import Client
from convert.serial_port import open_port
from convert.split import build, client, ed25519, header

EMULATOR = "emulator"  # the port's name for the board's emulator

_FILE = partial(click.Path, path_type=Path, exists=True, dir_okay=False)
_FOLDER = partial(click.Path, path_type=Path, exists=True, file_okay=False)


def _failing(command: Callable[..., None]) -> Callable[..., None]:
    """The command with failures as one line and an exit code."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except PipelineError as e:
            click.echo(f"error: {e}", err=True)
            sys.exit(e.exit_code)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Weights apart from the firmware, as `build.py --split-weights` makes them."""


@main.command()
@click.option(
    "--firmware", type=_FOLDER(), required=True, help="Output folder of the split build that is on the board."
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="The new model: an int8 .tflite, or the output folder of a build.",
)
@click.option(
    "--sequence", type=click.IntRange(1, header.LARGEST_SEQUENCE), required=True, help="Above the present one."
)
@click.option("--sign", type=_FILE(), metavar="KEYFILE", help="Sign with this key.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default="weights.bin", show_default=True)
@_failing
def pack(firmware: Path, model: Path, sequence: int, sign: Path | None, output: Path) -> None:
    """Make a weights image for a firmware from another model of the same graph."""
    path = model / "model.tflite" if model.is_dir() else model
    try:
        data = path.read_bytes()
    except OSError as e:
        raise UsageError(f"{model} holds no model.tflite ({e.strerror}); give a .tflite or a build's output") from None
    features = build.features_of(model) if model.is_dir() else {}
    made = build.pack(build.load(firmware), graph.load(data), sequence, features, sign)
    atomic_write(output, made)
    click.echo(f"{output}: {len(made):,} B, {_words(header.read(made))}")


@main.command()
@click.argument("file", type=_FILE())
@click.option("--firmware", type=_FOLDER(), help="Also compare with this split build: graph hash, key, size.")
@_failing
def check(file: Path, firmware: Path | None) -> None:
    """Check an image as the firmware does, and show its header."""
    image = file.read_bytes()
    known = None if firmware is None else build.load(firmware)
    found = header.check(image, None if known is None else known.plan.hash, None if known is None else known.key)
    for name, value in (
        ("bytes", f"{len(image):,}"),
        ("sequence", found.sequence),
        ("model", f"{found.model.hex()} (first 16 digits of its SHA-256)"),
        ("graph", found.graph.hex()),
        ("crc", f"0x{found.crc:08x}"),
        ("signature", found.signature.hex() if found.kind == header.ED25519 else "none"),
    ):
        click.echo(f"{name:10}{value}")
    click.echo("whole" if known is None else f"whole, and for the firmware in {firmware}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_failing
def key(file: Path) -> None:
    """Make a key to sign with; the public half goes into the firmware, the file stays here."""
    if file.exists():
        raise UsageError(f"{file} exists, and a key that is overwritten is lost; name another file")
    secret = secrets.token_bytes(32)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.write(secret.hex() + "\n")
    click.echo(f"{file}: keep it secret; public key {ed25519.public_key(secret).hex()}")


@main.command()
@click.argument("file", type=_FILE())
@click.option("--port", required=True, metavar="PORT", help="/dev/ttyACM0, COM3, socket://HOST:PORT, ..., or emulator.")
@click.option("--firmware", type=_FOLDER(), help="With --port emulator: the split build that runs in it.")
@click.option("--baud", default=115200, show_default=True, help="Rate of a serial port.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that a request may take.")
@_failing
def send(file: Path, port: str, firmware: Path | None, baud: int, timeout: float) -> None:
    """Bring an image onto a board that runs `serve` of a split build."""
    image = file.read_bytes()
    header.check(image)
    with _link(port, firmware, baud) as link, click.progressbar(length=len(image), label="sending") as bar:
        after = client.send(Client(link, port, deadline=timeout), image, lambda at: bar.update(at - bar.pos))
    click.echo(f"{port} now runs model {after.model.hex()} from slot {after.present}, sequence number {after.sequence}")


@contextmanager
def _link(port: str, firmware: Path | None, baud: int) -> Iterator[Link]:
    if port != EMULATOR:
        with open_port(port, baud) as link:
            yield link
        return
    if firmware is None:
        raise UsageError("--port emulator runs a firmware; name the output folder of its split build with --firmware")
    board = boards.load(build.load(firmware).board, BOARDS)
    environment = board.tinyml.bare
    assert environment is not None  # build.check let no other one through
    built = toolchain.build(environment.name, firmware, firmware / "pio-serve.log", application="serve")
    module = importlib.import_module(f"convert.emulate.{environment.emulator}")
    with module.connect(built.elf, board, environment) as link:
        yield link


def _words(found: header.Header) -> str:
    signed = "signed" if found.kind == header.ED25519 else "not signed"
    return f"sequence number {found.sequence}, model {found.model.hex()}, graph {found.graph.hex()[:16]}, {signed}"


if __name__ == "__main__":
    main()
