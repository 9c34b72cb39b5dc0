"""What `convert/build.py` left in an output folder, and a line to its firmware: in an emulator, or on a port."""

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from convert import boards, toolchain
from convert.boards import Board, Environment
from convert.emulate import Link
from convert.errors import UsageError, one_of
from convert.paths import ROOT
from convert.samples import Samples
from convert.serial_client import Client
from convert.serial_port import open_port
from convert.serial_protocol import Info

EMULATOR = "emulator"  # the port's name for the board's emulator

# Emulators whose clock is the hardware's.
_TRUE_CLOCKS = ("simavr",)


@dataclass(frozen=True)
class Built:
    """A board's output folder and the environment of it that is meant."""

    output: Path
    board: Board
    environment: Environment
    runtime: str
    optimize: str
    command: str  # that makes it again

    def firmware(self, application: str) -> toolchain.Firmware:
        """Build an application for it; see toolchain.build."""
        log = self.output / f"pio-{application}.log"
        return toolchain.build(self.environment.name, self.output, log, application=application)

    @property
    def emulator(self) -> str:
        """Module of convert.emulate; UsageError where the environment has none."""
        if self.environment.emulator is None:
            able = [e.name for e in self.board.environments if e.emulator is not None]
            ways = [f"--environment {name}" for name in able] + ["--port with the board's serial port"]
            raise UsageError(f"environment {self.environment.name} has no emulator; take {' or '.join(ways)}")
        return self.environment.emulator

    def counting(self) -> "Built":
        """The same with the emulator that counts instructions, where its own does not (convert.emulate)."""
        module = importlib.import_module(f"convert.emulate.{self.emulator}")
        emulator = getattr(module, "COUNTED_BY", self.emulator)
        return replace(self, environment=self.environment.model_copy(update={"emulator": emulator}))

    def flash_command(self, application: str) -> str:
        """What puts an application on the board."""
        variables = f"TINYML_APPLICATION={application} TINYML_OUTPUT={_near(self.output)}"
        return f"{variables} pio run -e {self.environment.name} -t upload"


@dataclass
class Session:
    """An open line to a device that has said who it is."""

    client: Client
    info: Info
    link: Link
    emulator: str | None
    image: str  # hash of what runs, as far as it is known here

    @property
    def counts_from_outside(self) -> bool:
        """Whether the emulator counts inferences itself, one by one."""
        return hasattr(self.link, "counting")

    def count(self, on: bool) -> None:
        """Count the next inferences from outside, or do not."""
        if self.counts_from_outside:
            self.link.counting = on  # type: ignore[attr-defined]

    @property
    def counted(self) -> Any:
        """The last inference's count from outside (convert.emulate.unicorn_link.Count), or None."""
        return getattr(self.link, "counted", None)

    @property
    def clock_is_true(self) -> bool:
        """Whether the device's microseconds are those of hardware."""
        return self.emulator is None or self.emulator in _TRUE_CLOCKS


def _near(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def find(
    board_name: str, output: Path | None, recipe: str | None, model: Path | None, environment: str | None
) -> Built:
    """The output folder of a board: the one given, that of a recipe or model, or the last one that was built.

    Raises UsageError, with the command to run, where there is none.
    """
    board = boards.load(board_name)
    command = f"python convert/build.py --board {board.id}"
    root = ROOT / "build" / board.id
    if recipe is not None:
        command += f" --recipe {recipe}"
        output = output or root / Path(recipe).stem
    elif model is not None:
        command += f" --model {model}"
        output = output or root / model.stem
    if output is not None and output.resolve().parent != root:
        command += f" --output {output}"
    elif output is None:
        output = _active(root, command)
    output = output.resolve()
    try:
        report = json.loads((output / "report.json").read_text())
        manifest = json.loads((output / "generated" / "build.json").read_text())
    except (OSError, ValueError):
        raise UsageError(f"nothing is built in {_near(output)}; run: {command}") from None
    if manifest["board"] != board.id:
        raise UsageError(f"{_near(output)} was built for board {manifest['board']}, not {board.id}; run: {command}")
    return _chosen(board, output, environment or report["environment"], manifest, command)


def _active(root: Path, command: str) -> Path:
    try:
        return ROOT / str(json.loads((root / "active.json").read_text())["output"])
    except (OSError, ValueError, KeyError):
        raise UsageError(f"nothing was built for board {root.name} yet; run: {command}") from None


def _chosen(board: Board, output: Path, name: str | None, manifest: dict[str, Any], command: str) -> Built:
    if name is None:
        raise UsageError(f"no environment could be built in {_near(output)}; name one with --environment")
    found = next((e for e in board.environments if e.name == name), None)
    if found is None or name not in manifest["runtimes"]:
        names = one_of([e.name for e in board.environments if e.name in manifest["runtimes"]])
        raise UsageError(f"board {board.id} has no environment {name!r}; allowed are {names}")
    return Built(output, board, found, manifest["runtimes"][name], manifest["optimize"], command)


@contextmanager
def connected(
    built: Built, samples: Samples, port: str, application: str, *, baud: int, patience: float, timeout: float
) -> Iterator[Session]:
    """Talk to the application, in the board's emulator (where it is built first) or on a port.

    Raises ToolError or DeviceError where nothing answers, and UsageError where another model does.
    """
    emulator = built.emulator if port == EMULATOR else None
    if emulator is not None:
        firmware = built.firmware(application)
        module = importlib.import_module(f"convert.emulate.{emulator}")
        link: Link = module.connect(firmware.elf, built.board, built.environment)
        image = hashlib.sha256(firmware.elf.read_bytes()).hexdigest()
    else:
        link, image = open_port(port, baud), ""
    with link:
        client = Client(link, emulator or port, patience=patience, deadline=timeout)
        info = client.hello()
        _check(built, samples, port, application, info)
        yield Session(client, info, link, emulator, image)


def _check(built: Built, samples: Samples, port: str, application: str, info: Info) -> None:
    flash = f"flash it with: {built.flash_command(application)}"
    if info.board != built.board.id:
        raise UsageError(f"the firmware on {port} is for board {info.board}, not {built.board.id}; {flash}")
    if info.model_hash != samples.about.sha256[:16]:
        raise UsageError(
            f"the firmware on {port} runs model {info.model!r} ({info.model_hash}), not {samples.about.model!r} "
            f"({samples.about.sha256[:16]}) of {_near(built.output)}; {flash}"
        )
    sizes = samples.inputs.shape[1], samples.outputs.shape[1]
    if (info.input_bytes, info.output_bytes) != sizes:
        raise UsageError(
            f"the firmware on {port} takes {info.input_bytes} and gives {info.output_bytes} bytes, the model "
            f"{sizes[0]} and {sizes[1]}; {flash}"
        )


# Command line

_PATH = partial(click.Path, path_type=Path)


def common(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name an output folder and a port."""
    for option in reversed(
        (
            click.option("--board", required=True, metavar="NAME", help="Board; build.py --list-boards shows them."),
            click.option(
                "--port",
                default=EMULATOR,
                show_default=True,
                metavar="PORT",
                help="emulator, /dev/ttyACM0, COM3, socket://HOST:PORT, ...; never guessed.",
            ),
            click.option("--recipe", metavar="NAME|FILE", help="The output of this recipe.  [default: the last one]"),
            click.option("--model", type=_PATH(), help="The output of this model file."),
            click.option("--output", type=_PATH(file_okay=False), help="The output folder itself."),
            click.option("--environment", metavar="NAME", help="Another environment than the one that was built."),
            click.option("--baud", default=115200, show_default=True, help="Rate of a serial port."),
            click.option("--timeout", default=120.0, show_default=True, help="Seconds that one inference may take."),
        )
    ):
        command = option(command)
    return command
