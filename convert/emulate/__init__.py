"""Emulators: one module each, all with `run(image, board, timeout) -> Transcript`."""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from convert.boards import Board
from convert.errors import UsageError, one_of

CLOSING = ("#done ", "#error ")


@dataclass(frozen=True)
class Transcript:
    """What a firmware printed in an emulator."""

    emulator: str
    text: str  # the console, with '\n' line ends
    finished: bool  # a closing line came (#done or #error); False: the time ran out or the emulator ended early
    instructions: int | None  # of one inference_run() of vector 0, where the emulator or the firmware counts them
    seconds: float  # wall time

    @property
    def error(self) -> str | None:
        """The text of the firmware's #error line, or None."""
        return next((line[7:] for line in self.text.splitlines() if line.startswith("#error ")), None)


def closed(text: str) -> bool:
    """Whether a whole closing line is in the text of a console."""
    return any(line.startswith(CLOSING) for line in text.split("\n")[:-1])


def names() -> list[str]:
    """Names of the emulators, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def run(name: str, image: Path, board: Board, timeout: float) -> Transcript:
    """Run the ELF file `image` in emulator `name` for at most `timeout` seconds of wall time.

    A firmware that fails or hangs is no exception: see Transcript. Raises UsageError for an unknown emulator and
    ToolError where the emulator is missing or does not start.
    """
    if name not in names():
        raise UsageError(f"unknown emulator {name!r} in boards/{board.id}.json; allowed are {one_of(names())}")
    module = importlib.import_module(f"convert.emulate.{name}")
    return cast(Transcript, module.run(image, board, timeout))
