"""Flash a board with the firmware that was built for it last.

    python convert/upload.py --board nano33
    python convert/upload.py --board uno --port /dev/ttyACM0

Looks for everything first (what was generated, platform or registry, tool, port, probe, drive) and says within seconds
what is missing; then `pio run -e ENVIRONMENT -t upload` does the work. PlatformIO alone tries its registry for a
minute and ends without a message. Exit codes: 0 done, 2 wrong use, 5 something is missing or failed.
"""

import sys
from pathlib import Path

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import json
import os
import subprocess

import click

from convert import boards, flash, toolchain
from convert.boards import Board, Environment
from convert.errors import PipelineError, ToolError, UsageError, one_of
from convert.paths import BOARDS, ROOT

_REGISTRY_SECONDS = 2.0


def folder_of(board: Board, output: Path | None) -> Path:
    """What convert/build.py wrote last for the board, or `output`. Raises UsageError where there is nothing."""
    found = output
    pointer = ROOT / "build" / board.id / "active.json"
    if found is None and pointer.is_file():
        found = ROOT / json.loads(pointer.read_text())["output"]
    if found is None or not (found / "generated" / "build.json").is_file():
        where = f"{output} holds nothing generated" if output else f"nothing is generated yet for board {board.id}"
        raise UsageError(f"{where}; run: python convert/build.py --board {board.id}")
    return found.resolve()


def flashable(board: Board) -> list[Environment]:
    """The board's environments that can flash it, official first."""
    return [e for e in board.environments if e == board.tinyml.official or e.upload is not None]


def environment_of(board: Board, output: Path, name: str | None) -> Environment:
    """The named environment, or else the one whose image was built and tested, or the first that can flash.

    Raises UsageError for an unknown name and for a board that is an emulator.
    """
    able = flashable(board)
    if not able:
        raise UsageError(f"{board.name} is an emulator, there is nothing to upload to; try a board such as nano33")
    if name is not None:
        named = [e for e in able if e.name == name]
        if not named:
            allowed = one_of([e.name for e in able])
            raise UsageError(f"board {board.id} cannot be flashed from environment {name!r}; allowed are {allowed}")
        return named[0]
    try:
        built = json.loads((output / "report.json").read_text())["environment"]
    except (OSError, ValueError, KeyError):
        built = None
    return next((e for e in able if e.name == built), able[0])


def check(board: Board, environment: Environment, output: Path, port: str | None, tool: str | None) -> None:
    """Raise ToolError or UsageError, within seconds, for what the upload would lack."""
    manifest = json.loads((BOARDS / f"{board.id}.json").read_text())
    if environment == board.tinyml.official:
        if not toolchain.installed(environment) and not toolchain.registry_has(
            environment.platform, seconds=_REGISTRY_SECONDS
        ):
            others = [e.name for e in flashable(board) if e != environment]
            other = f", or without one flash {one_of(others)} with --environment" if others else ""
            raise ToolError(
                f"environment {environment.name} flashes through platform {environment.platform}, "
                f"which is not installed, and PlatformIO's registry does not answer within {_REGISTRY_SECONDS:.0f} s; "
                f"with a network run the same again{other}"
            )
        return
    stem = output / "pio" / environment.name / "firmware"
    flash.plan(manifest, environment.model_dump(), stem, port, tool)


@click.command(help=__doc__)
@click.option("--board", required=True, metavar="NAME", help="A file of boards/.")
@click.option("--environment", metavar="NAME", help="One of the board's; default: the one that was built last.")
@click.option("--port", metavar="PORT", help="Serial port, boot drive, or the beginning of a debug probe's id.")
@click.option("--tool", metavar="NAME", help=f"Another tool than the board's usual one: {one_of(list(flash.TOOLS))}.")
@click.option("--output", type=click.Path(path_type=Path), help="What convert/build.py wrote, if not the last.")
@click.option("--check-only", is_flag=True, help="Look for everything, flash nothing.")
def main(
    board: str, environment: str | None, port: str | None, tool: str | None, output: Path | None, check_only: bool
) -> None:
    """Flash a board; see the module."""
    try:
        target = boards.load(board)
        folder = folder_of(target, output)
        chosen = environment_of(target, folder, environment)
        check(target, chosen, folder, port, tool)
        if check_only:
            click.echo(f"environment {chosen.name} can be flashed")
            return
        settings = {"TINYML_OUTPUT": str(folder), "PLATFORMIO_BUILD_DIR": str(folder / "pio")}
        settings |= {"TINYML_UPLOAD_TOOL": tool} if tool else {}
        command = [sys.executable, "-m", "platformio", "run", "-e", chosen.name, "-t", "upload", "-d", str(ROOT)]
        status = subprocess.call(
            [*command, *(["--upload-port", port] if port else [])],
            cwd=ROOT,
            env={**os.environ, "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true", **settings},
        )
        if status != 0:
            raise ToolError(f"PlatformIO could not upload environment {chosen.name}; its messages stand above")
    except PipelineError as e:
        click.echo(f"Error: {e}", err=True)
        sys.exit(e.exit_code)


if __name__ == "__main__":
    main()
