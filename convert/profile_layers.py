"""A line a layer: what each takes in an emulator (instructions) or on a board (microseconds).

    python convert/profile_layers.py --board nano33
    python convert/profile_layers.py --board uno --port /dev/ttyACM0

`convert/build.py` comes first; what it left in its output folder is measured. On a board the application `profile` must
have been flashed; the message of a missing one says how.
"""

import sys
from pathlib import Path

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import os

import click
from rich.console import Console

from convert import built as builds
from convert import layers, samples
from convert.errors import PipelineError, ToolError

FOLDER = "profile"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@builds.common
def main(
    board: str,
    port: str,
    recipe: str | None,
    model: Path | None,
    output: Path | None,
    environment: str | None,
    baud: int,
    timeout: float,
) -> None:
    """Run one inference and print what each layer takes, with a CSV and a picture of it."""
    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", 120)))
    try:
        built = builds.find(board, output, recipe, model, environment)
        test = samples.load(built.output, built.command)
        known = layers.operators(built)
        built = built.counting() if port == builds.EMULATOR else built
        application = layers.application(built, port)
        with builds.connected(built, test, port, application, baud=baud, patience=1.0, timeout=timeout) as session:
            measured = layers.measure(session, known, test)
            result = layers.profile(built, session, known, measured, test)
        folder = (
            built.output / FOLDER / (built.environment.name if session.emulator else f"{built.environment.name}-device")
        )
        result.write(folder)
        console.print(result.table())
        console.print(f"{result.title}: {result.how}", highlight=False)
        console.print(result.sum_text, highlight=False, style="" if result.agrees else "red")
        console.print(f"latency of the board: {result.latency or 'unknown'}", highlight=False)
        near = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        files = f"{layers.FILE}, {layers.TABLE}, {layers.PICTURE}, {layers.DRAWING}"
        console.print(f"results in {near}: {files}", soft_wrap=True, highlight=False, markup=False)
        if not result.agrees:
            raise ToolError(
                f"the layers do not add up to the inference: {result.sum_text}; the counter is not to be trusted"
            )
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
