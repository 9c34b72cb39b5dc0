"""Emulators: one module each, all with the same two functions.

`run(image: Path, board: Board, environment: Environment, timeout: float) -> Transcript` runs the ELF file `image` until
its closing line or for `timeout` seconds of wall time. A firmware that fails or hangs is no exception: its transcript
says so.

`connect(image: Path, board: Board, environment: Environment) -> Link` starts it and leaves it running, its serial port
in the caller's hands.

A module whose emulator and firmware count no instructions names one in COUNTED_BY that connects and counts.

ToolError where the emulator is missing or does not start.
"""

import re
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

CLOSING = ("#done ", "#error ")


@dataclass(frozen=True)
class Transcript:
    """What a firmware printed in an emulator."""

    emulator: str
    text: str  # the console, with '\n' line ends
    finished: bool  # a closing line came (#done or #error); False: the time ran out or the emulator ended early
    instructions: int | None  # of one inference_run() of vector 0, where the emulator or the firmware counts them
    seconds: float  # wall time
    cycles: int | None = None  # of the same inference, where the emulator's cycles are the hardware's

    @property
    def error(self) -> str | None:
        """The text of the firmware's #error line, or None."""
        return next((line[7:] for line in self.text.splitlines() if line.startswith("#error ")), None)


class Link(Protocol):
    """The serial port of a running firmware; a context manager that ends the emulation."""

    def write(self, data: bytes) -> None:
        """Send bytes, all values; ToolError where the emulation has ended."""

    def read(self, seconds: float) -> bytes:
        """What has come since the last call; waits at most `seconds` for a first byte, b"" where none came."""

    def __enter__(self) -> "Link":
        """The link itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the emulation."""


def closed(text: str) -> bool:
    """Whether a whole closing line is in the text of a console."""
    return any(line.startswith(CLOSING) for line in text.split("\n")[:-1])


def figure(text: str, name: str) -> int | None:
    """The figure in a line `#name <number>` of a console, or None where it was not printed."""
    found = re.search(rf"^\s*#{name} (\d+)\s*$", text, re.MULTILINE)
    return int(found[1]) if found else None
